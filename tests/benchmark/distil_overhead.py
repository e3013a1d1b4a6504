"""What training the student costs beside the teacher, against the share of operations that it adds.

    python tests/benchmark/distil_overhead.py [--steps 12] [--batch 16] [--device cuda --precision bf16 --full]

The same model on the same batches, in turn step by step: the teacher alone (12 layers, all four spaces), and teacher
and 3-layer student together with the distance between them, as `distillation: joint` trains. Two copies of the model
do it, each with an optimizer of its own, through the engine of training. The extra time, as a share of the teacher's
alone, is set beside the extra floating-point operations of forward and backward as the same share
(`training.flops`, on `torch.utils.flop_counter`). On a CPU seconds are those of the processor, on one thread; on a GPU
the clock's, when the GPU has finished. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1"}

import torch
from rich.console import Console
from rich.table import Table

from mmsearch.models import MatchModel, ModelSettings
from mmsearch.models.inputs import DocumentInputs, TextInputs
from mmsearch.types import TEXTS
from training.engines.plain import PlainEngine
from training.flops import count_flops
from training.freezing import Freezing
from training.learner import ChunkedLearner
from training.optim import OptimSettings
from training.reach import unreached
from training.tasks import ContrastiveSettings, PairBatch

ALLOWANCE = 0.05
WARM_UP = 2
VOCABULARY = 4000
WAYS = {
    "teacher": ContrastiveSettings(student_weight=0, distil_weight=0),
    "both": ContrastiveSettings(),
}


def sizes(*, full: bool) -> ModelSettings:
    """Give a model whose document tower and teacher dominate: the model's own defaults, or one for a single core."""
    if full:
        return ModelSettings()
    text = {"width": 128, "heads": 4}
    image = {"image_size": 96, "args": {"patch_size": 16, "embed_dim": 192, "depth": 4, "num_heads": 3}}
    lengths = {"query": 16, "title": 16, "account": 4, "cover_ocr": 8, "content_ocr": 16, "asr": 32}
    document = {
        "image": image,
        "text": text | {"depth": 2, "max_length": 32},
        "frames": {"depth": 1, "heads": 4},
        "fusion": {"depth": 2, "heads": 4},
    }
    settings = {"dim": 128, "num_frames": 4, "lengths": lengths, "document": document, "query": {"teacher": text}}
    return ModelSettings.model_validate(settings)


def make_batch(size: int, settings: ModelSettings, task: ContrastiveSettings) -> PairBatch:
    """Give a batch of random videos that have everything, and queries."""
    random = torch.Generator().manual_seed(0)
    side, frames = settings.document.image.image_size, settings.num_frames

    def pixels(*shape: int) -> torch.Tensor:
        return torch.randint(256, (*shape, 3, side, side), generator=random, dtype=torch.uint8)

    def text(length: int) -> TextInputs:
        shape = (size, length)
        return TextInputs(torch.randint(VOCABULARY, shape, generator=random), torch.ones(shape, dtype=torch.bool))

    documents = DocumentInputs(
        cover=pixels(size),
        has_cover=torch.ones(size, dtype=torch.bool),
        frames=pixels(size, frames),
        has_frame=torch.ones(size, frames, dtype=torch.bool),
        texts={modality: text(getattr(settings.lengths, modality.value)) for modality in TEXTS},
    )
    itself = torch.eye(size, dtype=torch.bool)
    queries = text(settings.lengths.query)
    return PairBatch(task, [""] * size, queries, documents, 0, itself, itself, itself.any(0))


def make_step(model: MatchModel, task: ContrastiveSettings, batch: PairBatch, precision: Any) -> Callable[[], object]:
    """Give a training step."""
    learner = ChunkedLearner(model, precision)
    Freezing(learner, [], [], unreached(model, [task])).train_mode()
    engine = PlainEngine(learner, OptimSettings())

    def step() -> object:
        torch.manual_seed(0)  # the same crops and hidden modalities
        return engine.step(batch, [1e-4 * scale for scale in engine.scales])

    return step


def clock_of(device: torch.device) -> Callable[[], float]:
    """Give what tells seconds: of this process's threads, or of the clock once the GPU has finished."""
    if device.type == "cpu":
        return time.process_time

    def finished() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return finished


def measure(
    settings: ModelSettings, size: int, steps: int, device: torch.device, precision: str
) -> tuple[dict[str, list[float]], dict[str, int]]:
    """Give, by way, the seconds of every step and the operations of one."""
    torch.manual_seed(0)
    model = MatchModel(settings, VOCABULARY)
    ways = {
        way: make_step(copy.deepcopy(model).to(device), task, make_batch(size, settings, task), precision)
        for way, task in WAYS.items()
    }
    flops = {way: count_flops(step)[1] for way, step in ways.items()}
    now = clock_of(device)
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(WARM_UP + steps):
        for way, step in ways.items():
            begin = now()
            step()
            if number >= WARM_UP:
                seconds[way].append(now() - begin)
    return seconds, flops


def show(seconds: dict[str, list[float]], flops: dict[str, int], device: torch.device, precision: str) -> None:
    """Print the table, and the line for programs."""
    table = Table(title=f"a training step, {device}, {precision}, {len(seconds['both'])} of each in turn")
    for column in ("", "s a step", "fastest", "slowest", "10^9 operations"):
        table.add_column(column, justify="right")
    for way, found in seconds.items():
        times = (f"{s:.4f}" for s in (statistics.median(found), min(found), max(found)))
        table.add_row(way, *times, f"{flops[way] / 1e9:,.2f}")
    Console(width=110).print(table)
    extra = sorted(b / a - 1 for a, b in zip(seconds["teacher"], seconds["both"], strict=True))
    cost = statistics.median(seconds["both"]) / statistics.median(seconds["teacher"]) - 1
    share = flops["both"] / flops["teacher"] - 1
    line = {
        "name": "distil_overhead",
        "value": round(cost, 4),
        "unit": f"extra time / time of the teacher alone, {device} {precision}",
        "ratio": round((1 + cost) / (1 + share), 4),
        "value_of_steps": [round(extra[int(len(extra) * q)], 4) for q in (0.25, 0.5, 0.75)],
        "against": f"extra operations / operations of the teacher alone: {share:.4f}",
        "target": round(share + ALLOWANCE, 4),
        "met": cost <= share + ALLOWANCE,
    }
    print(json.dumps(line))


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument(
        "--full",
        action="store_true",
        help="the model's default sizes: ViT-tiny at 224 pixels, 12 layers of 768 for queries",
    )
    given = parser.parse_args()
    device = torch.device(given.device)
    found = measure(sizes(full=given.full), given.batch, given.steps, device, given.precision)
    show(*found, device, given.precision)


if __name__ == "__main__":
    main()
