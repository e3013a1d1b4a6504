"""One process of a ZeRO run over a small model; `test_zero_engine.py` starts it, and imports what it runs."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

from mmsearch.nn.distributed import rank, world_size
from training.engines.plain import PlainEngine
from training.engines.zero import DeepSpeedEngine
from training.engines.zero_settings import DeepSpeedSettings
from training.learner import ChunkedLearner
from training.optim import OptimSettings
from training.representations import Representations

ROWS, STEPS, SAVED_AFTER = 8, 4, 2
OPTIM = OptimSettings(clip_norm=0.5, weight_decay=0.1)


class Tower(nn.Module):
    """Odd sizes, a layer that runs twice, a position read outside a module of its own."""

    def __init__(self, embed):
        super().__init__()
        self.embed = embed
        self.position = nn.Parameter(torch.randn(1, 5, 16) * 0.1)
        self.layer, self.norm = nn.Linear(16, 16), nn.LayerNorm(16)
        self.head = nn.Linear(16, 7)

    def forward(self, ids):
        tokens = self.embed(ids) + self.position
        for _ in range(2):
            tokens = self.norm(tokens + torch.relu(self.layer(tokens)))
        return F.normalize(self.head(tokens.mean(1)), dim=-1)


class SmallModel(nn.Module):
    """Two towers that share their embeddings, temperatures of shape [1], a frozen layer, and what no batch reaches."""

    def __init__(self):
        super().__init__()
        self.query = Tower(nn.Embedding(53, 16))
        self.video = Tower(self.query.embed)
        self.frozen = nn.Linear(7, 7).requires_grad_(False)
        self.unused = nn.LayerNorm(5)
        # the first is over its bound from the first step on
        self.log_scale = nn.ParameterDict({"cover": nn.Parameter(torch.full((1,), 2.0)), "frames": torch.ones(1)})
        self.register_buffer("count", torch.arange(3))

    @property
    def device(self):
        return self.query.position.device

    def bound_scales(self):
        for parameter in self.log_scale.values():
            parameter.clamp_(max=1.9)


@dataclass(frozen=True)
class SmallBatch:
    queries: torch.Tensor
    videos: torch.Tensor

    names = ()

    def __len__(self):
        return len(self.queries)

    def chunks(self, size):
        size = size or len(self)
        return [SmallBatch(q, v) for q, v in zip(self.queries.split(size), self.videos.split(size), strict=True)]

    def embed(self, model):
        codes = model.frozen(model.video(self.videos)).unsqueeze(1)
        return Representations({"teacher/cover": model.query(self.queries), "codes/cover": codes}, {})

    def losses(self, model, own):
        query, codes = own.vectors["teacher/cover"], own.vectors["codes/cover"].squeeze(1)
        near = F.softplus(-model.log_scale["cover"].exp() * (query * codes).sum(-1)).mean()
        far = F.softplus((query * codes.roll(1, 0)).sum(-1)).mean()
        return {"loss": near + 0.0 * far, "far": far}


@dataclass(frozen=True)
class PoisonedBatch(SmallBatch):
    """Its loss is not a number, on the last rank only."""

    def losses(self, model, own):
        return {"loss": super().losses(model, own)["loss"] * (float("nan") if rank() == world_size() - 1 else 1.0)}


def make_learner(precision="fp32"):
    torch.manual_seed(0)
    return ChunkedLearner(SmallModel(), precision)


def global_batch(step):
    generator = torch.Generator().manual_seed(step)
    return SmallBatch(*(torch.randint(0, 53, (ROWS, 5), generator=generator) for _ in range(2)))


def own_batch(step):
    whole, size = global_batch(step), ROWS // world_size()
    here = slice(rank() * size, (rank() + 1) * size)
    return SmallBatch(whole.queries[here], whole.videos[here])


def make_engine(job):
    learner = make_learner(job.get("precision", "fp32"))
    if "zero" not in job:
        return PlainEngine(learner, OPTIM, chunk_size=job.get("chunk_size"))
    return DeepSpeedEngine(learner, OPTIM, DeepSpeedSettings(**job["zero"]), chunk_size=job.get("chunk_size"))


def steps(engine, first, last):
    """Give loss and gradient norm of the global batch, step by step."""
    found = []
    for step in range(first, last):
        rates = [1e-2 * (1 + number) / (1 + step) for number in range(len(engine.scales))]
        losses = engine.step(own_batch(step), rates)
        loss = losses["loss"].detach().float().clone()
        if world_size() > 1:
            dist.all_reduce(loss)
        found.append([float(loss) / world_size(), float(losses["grad_norm"])])
    return found


def save(engine, folder):
    weights, moments = engine.weights(), engine.moments()
    if rank() == 0:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(weights, folder / "model.safetensors")
        save_file(moments, folder / "optimizer.safetensors")


def load(engine, folder):
    engine.load(load_file(folder / "model.safetensors"), load_file(folder / "optimizer.safetensors"))


def run(job):
    """Run a job: from the start, saving on the way, or from the folder `start`; to the folder `out`."""
    engine, out = make_engine(job), Path(job["out"])
    first = 0
    if "start" in job:
        load(engine, Path(job["start"]))
        first = SAVED_AFTER
    found = steps(engine, first, SAVED_AFTER) if first < SAVED_AFTER else []
    if not first:
        save(engine, out / "middle")
    found += steps(engine, SAVED_AFTER, STEPS)
    save(engine, out / "end")
    if job.get("poisoned"):
        batch = own_batch(0)
        losses = engine.step(PoisonedBatch(batch.queries, batch.videos), [1.0 for _ in engine.scales])
        assert not torch.isfinite(losses["grad_norm"])
        save(engine, out / "poisoned")
    if rank() == 0:
        (out / "figures.json").write_text(json.dumps(found))
    if "zero" in job:
        engine.close()


if __name__ == "__main__":
    torch.set_num_threads(1)
    jobs, meeting = json.loads(Path(sys.argv[1]).read_text()), sys.argv[2]
    if "RANK" in os.environ:
        number, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=number, world_size=count)
    for job in jobs:
        run(job)
    if dist.is_initialized():
        dist.destroy_process_group()
