"""A training step of ours beside one of open_clip's own training loop, for the same CLIP.

    python tests/benchmark/training_step.py [--steps 12] [--device cuda --precision bf16 --full]

One CLIP is made by open_clip with random weights and written down; our model reads it through its settings
(`type: open_clip` for pictures and for text) and trains the teacher alone in the space `cover`, without augmentation.
open_clip's side is `open_clip_train.train.train_one_epoch` itself, with the optimizer and the schedule of its `main`;
ours is what the loop of a stage does in a step. Both see the same numbers in the same batches, AdamW, clipping, rates
and precision, and take turns step by step: the batches of open_clip's loop come from an iterator that runs our step in
between. The first losses must be equal and so must the floating-point operations (open_clip squares scores twice, we
once). Each has AdamW as its own loop makes it: on a CPU ours is torch's fused kernel. Ours normalises the pixels within
its step, open_clip gets them normalised. On a CPU seconds are the processor's, on one thread; on a GPU the clock's.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1"}

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from safetensors.torch import save_file
from torch import Tensor

from mmsearch.models import MatchModel, ModelSettings
from mmsearch.models.inputs import DocumentInputs, TextInputs
from mmsearch.models.pretrained import load_pretrained
from mmsearch.torchvision_guard import guard_torchvision
from training.augment import AugmentSettings
from training.engines.plain import PlainEngine
from training.flops import count_flops
from training.freezing import Freezing
from training.learner import ChunkedLearner
from training.optim import OptimSettings
from training.reach import unreached
from training.tasks import ContrastiveSettings, PairBatch

guard_torchvision()  # before open_clip, which imports it
open_clip: Any = import_module("open_clip")
cosine_lr: Any = import_module("open_clip_train.scheduler").cosine_lr
train_one_epoch: Any = import_module("open_clip_train.train").train_one_epoch

TARGET = 1.05
WARM_UP = 3
#: How far the first losses may be apart; open_clip takes its loss in bf16, we in fp32.
SAME = {"fp32": 1e-5, "bf16": 2e-2}
TEXT_SIZES = ("context_length", "vocab_size")
FRAMES = 8  # of every video; the space `cover` does not read them
#: The task of a CLIP: the teacher alone, on covers alone, as they are.
TASK = ContrastiveSettings(spaces=["cover"], student_weight=0, distil_weight=0, augment=AugmentSettings())


#: A CLIP that trains in about half a second a step of 32 pairs on one core.
SMALL = {
    "embed_dim": 256,
    "vision_cfg": {"image_size": 112, "width": 256, "layers": 4, "patch_size": 16},
    "text_cfg": {"width": 256, "heads": 4, "layers": 4, "context_length": 32, "vocab_size": 8000},
}
Given = tuple[PairBatch, tuple[Tensor, Tensor]]


def make_clip(config: dict[str, Any]) -> Any:
    """Give a CLIP of open_clip with random weights."""
    torch.manual_seed(0)
    return open_clip.CLIP(**config, output_dict=True)


def make_ours(clip: Any, config: dict[str, Any], device: torch.device) -> MatchModel:
    """Give our model with the weights of a CLIP; what does not learn here is small."""
    dim, vision, text = config["embed_dim"], config["vision_cfg"], config["text_cfg"]
    with tempfile.TemporaryDirectory() as folder:
        weights = str(Path(folder) / "clip.safetensors")
        save_file({name: t.detach().cpu().contiguous() for name, t in clip.state_dict().items()}, weights)
        tower = {"type": "open_clip", "weights": weights, "embed_dim": dim}
        document = {
            "image": tower | {"image_size": vision["image_size"], "vision": vision},
            "text": {"width": 64, "depth": 1, "heads": 2, "max_length": 96},
            "frames": {"depth": 1},
            "fusion": {"depth": 1, "heads": 2},
        }
        query = {"teacher": tower | {"text": text}, "student_depth": 1, "pool": "last", "tie_embeddings": False}
        lengths = {"query": text["context_length"]}
        settings = {"dim": dim, "num_frames": FRAMES, "lengths": lengths, "document": document, "query": query}
        model = MatchModel(ModelSettings.model_validate(settings), text["vocab_size"], ["cover"])
        load_pretrained(model)
    return model.to(device).train()


def make_batches(count: int, size: int, config: dict[str, Any], model: MatchModel) -> list[Given]:
    """Give batches of random pictures and texts; the last token of a text has the largest id, as CLIP finds it."""
    random = np.random.default_rng(0)
    side, length, vocab = config["vision_cfg"]["image_size"], *map(config["text_cfg"].get, TEXT_SIZES)
    places = torch.arange(length)
    batches = []
    for _ in range(count):
        pixels = torch.from_numpy(random.integers(0, 256, (size, 3, side, side), np.uint8))
        lengths = torch.from_numpy(random.integers(3, length + 1, (size, 1)))
        ids = torch.from_numpy(random.integers(1, vocab - 1, (size, length)))
        ids = torch.where(places < lengths, ids, 0).scatter(1, lengths - 1, vocab - 1)
        normalised = model.document.image.normalised(pixels.to(model.device)).cpu()
        batches.append((our_batch(pixels, TextInputs(ids, places < lengths)), (normalised, ids)))
    return batches


def our_batch(pixels: Tensor, texts: TextInputs) -> PairBatch:
    """Give a batch as the loader makes it for a stage of covers: it has room for frames, and none are there."""
    frames = torch.zeros(len(pixels), FRAMES, *pixels.shape[1:], dtype=torch.uint8)
    itself = torch.eye(len(pixels), dtype=torch.bool)
    videos = DocumentInputs(pixels, itself.any(0), frames, torch.zeros(frames.shape[:2], dtype=torch.bool), {})
    return PairBatch(TASK, [""] * len(pixels), texts, videos, 0, itself, itself, itself.any(0))


class OurLoop:
    """What `training.loop.StageLoop` does in a step."""

    def __init__(self, model: MatchModel, optim: OptimSettings, steps: int, precision: Any) -> None:
        learner = ChunkedLearner(model, precision)
        Freezing(learner, [], [], unreached(model, [TASK])).train_mode()
        self._engine = PlainEngine(learner, optim)
        self._optim, self._steps, self._done = optim, steps, 0
        self.losses: list[Tensor] = []

    def step(self, given: Given) -> None:
        """Do one."""
        batch, _ = given
        torch.manual_seed(self._done)
        rate = self._optim.rate(self._done, self._steps)
        losses = self._engine.step(batch, [rate * scale for scale in self._engine.scales])
        if not torch.isfinite(losses["grad_norm"]):
            raise SystemExit("the gradient is not finite")
        self._done += 1
        self.losses.append(losses["loss"].detach())


class NotedLoss(open_clip.ClipLoss):
    """open_clip's loss, which remembers what it gave."""

    def __init__(self) -> None:
        super().__init__()
        self.losses: list[Tensor] = []

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Give the loss."""
        found = super().forward(*args, **kwargs)
        self.losses.append(found["contrastive_loss"].detach())
        return found


class TheirLoop:
    """open_clip's training of one epoch, with what its `main` makes for it."""

    def __init__(self, clip: Any, optim: OptimSettings, steps: int, device: torch.device, precision: str) -> None:
        self._clip, self._loss = clip, NotedLoss()
        kinds: dict[bool, list[Tensor]] = {True: [], False: []}
        for name, p in clip.named_parameters():
            kinds[p.ndim < 2 or any(part in name for part in ("bn", "ln", "bias", "logit_scale"))].append(p)
        decays = {True: 0.0, False: optim.weight_decay}
        groups = [{"params": found, "weight_decay": decays[bare]} for bare, found in kinds.items()]
        self._optimizer = torch.optim.AdamW(groups, lr=optim.lr, betas=optim.betas)
        scheduler = cosine_lr(self._optimizer, optim.lr, optim.warmup_steps, steps)
        self._scheduler = lambda _: scheduler(len(self.losses))  # it counts epochs of one length; ours are two
        self._args = SimpleNamespace(
            device=str(device),
            precision={"fp32": "fp32", "bf16": "amp_bf16"}[precision],
            distill=False,
            accum_freq=1,
            skip_scheduler=False,
            horovod=False,
            grad_clip_norm=optim.clip_norm,
            log_every_n_steps=1 << 30,
            rank=0,
            local_rank=0,
            world_size=1,
            batch_size=1,
            wandb=False,
        )

    @property
    def losses(self) -> list[Tensor]:
        """Losses of all steps so far."""
        return self._loss.losses

    def epoch(self, batches: Any) -> None:
        """Train on batches that come from a loader: iterable, with `num_batches` and `num_samples`."""
        data = {"train": SimpleNamespace(set_epoch=lambda _: None, dataloader=batches)}
        train_one_epoch(
            self._clip, data, self._loss, 0, self._optimizer, None, self._scheduler, None, self._args, tb_writer=None
        )


class Turns:
    """A loader for open_clip's loop that runs our step after each of its, and measures both."""

    def __init__(self, batches: list[Given], steps: int, other: Callable[[Given], None], now: Callable[[], float]):
        self._batches, self._other, self._now = batches, other, now
        self.num_batches = steps
        self.num_samples = steps * len(batches[0][0])
        self.theirs: list[float] = []
        self.ours: list[float] = []

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for number in range(self.num_batches):
            given = self._batches[number % len(self._batches)]
            begin = self._now()
            yield given[1]
            between = self._now()
            self._other(given)
            self.theirs.append(between - begin)
            self.ours.append(self._now() - between)


def clock_of(device: torch.device) -> Callable[[], float]:
    """Give what tells seconds: of this process's threads, or of the clock once the GPU has finished."""
    if device.type == "cpu":
        return time.process_time

    def finished() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return finished


def measure(
    config: dict[str, Any], size: int, steps: int, device: torch.device, precision: str
) -> tuple[Turns, dict[str, Any]]:
    """Give the seconds of both sides step by step, and what shows that they do the same work."""
    clip = make_clip(config).to(device)
    model = make_ours(clip, config, device)
    batches = make_batches(4, size, config, model)
    optim = OptimSettings(lr=1e-4, weight_decay=0.1, warmup_steps=4, final_lr_share=0)
    ours = OurLoop(model, optim, steps + WARM_UP + 1, precision)
    theirs = TheirLoop(clip, optim, steps + WARM_UP + 1, device, precision)
    alone = Turns(batches, 1, lambda _: None, time.perf_counter)
    flops = [count_flops(work)[1] for work in (lambda: ours.step(batches[0]), lambda: theirs.epoch(alone))]
    turns = Turns(batches, steps + WARM_UP, ours.step, clock_of(device))
    theirs.epoch(turns)
    gaps = [abs(float(a) / float(b) - 1) for a, b in zip(ours.losses, theirs.losses, strict=True)]
    return turns, {"flops": flops, "first": gaps[0], "largest": max(gaps), "loss": float(ours.losses[0])}


def show(turns: Turns, same: dict[str, Any], device: torch.device, precision: str) -> None:
    """Print the table, and the line for programs; stop when the two did not do the same work."""
    ours, theirs = turns.ours[WARM_UP:], turns.theirs[WARM_UP:]
    ratios = sorted(a / b for a, b in zip(ours, theirs, strict=True))
    medians = {"ours": statistics.median(ours), "open_clip_train": statistics.median(theirs)}
    table = Table(title=f"a training step of the same CLIP, {device}, {precision}, {len(turns.ours)} steps in turn")
    for column in ("", "s a step", "fastest", "slowest", "10^9 operations"):
        table.add_column(column, justify="right")
    for (side, median), seconds, flops in zip(medians.items(), (ours, theirs), same["flops"], strict=True):
        table.add_row(side, *(f"{s:.4f}" for s in (median, min(seconds), max(seconds))), f"{flops / 1e9:,.1f}")
    Console(width=110).print(table)
    print(f"first loss {same['loss']:.6f}, off by {same['first']:.1e}; largest difference {same['largest']:.1e}")
    if abs(same["flops"][0] / same["flops"][1] - 1) > 1e-3 or same["first"] > SAME[precision]:
        raise SystemExit("the two do not do the same work")
    ratio = medians["ours"] / medians["open_clip_train"]
    line = {
        "name": "training_step",
        "value": round(medians["ours"], 5),
        "unit": f"s a step, {device} {precision}",
        "ratio": round(ratio, 4),
        "ratio_of_steps": [round(ratios[int(len(ratios) * q)], 4) for q in (0.25, 0.5, 0.75)],
        "against": f"open_clip_train.train.train_one_epoch {open_clip.__version__}, the same CLIP",
        "target": TARGET,
        "met": ratio <= TARGET,
    }
    print(json.dumps(line))


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=sorted(SAME), default="fp32")
    parser.add_argument("--full", action="store_true", help="ViT-B-32 itself, at 224 pixels")
    given = parser.parse_args()
    device = torch.device(given.device)
    config = open_clip.get_model_config("ViT-B-32") if given.full else SMALL
    turns, same = measure(config, given.batch, given.steps, device, given.precision)
    show(turns, same, device, given.precision)


if __name__ == "__main__":
    main()
