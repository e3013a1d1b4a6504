"""Whether loading hides behind compute, and how many videos a second the loader gives.

    python tests/benchmark/loading.py [--videos 192] [--side 224] [--threads 2 4]

A corpus is prepared of videos with a cover and 8 frames each, pictures of clouds of all sizes, whose JPEGs are about as
long as those of photos. Three things are measured:

- loading alone: processor seconds of batches made one after another, by part, and videos a second when batches are
  made ahead in so many threads;
- a stage as it is trained (`training.fit`, a ViT on covers and frames, all four spaces): the share of time waited for
  batches, of the log of the run, its first line left out;
- a device that computes beside the processor as a GPU does (its step sleeps): the share waited, by threads, when it
  takes 0.8 times the videos a second that one thread gives, and 1.5 times. Cores that others use show here.

The last line is one JSON object, about the stage.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ |= {"OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.table import Table

from mmsearch.data.prepare import prepare
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.models.inputs import InputMaker
from mmsearch.models.settings import ModelSettings
from mmsearch.text import Tokenizer
from training.batches import PairBatches, made_ahead
from training.config import FitSettings
from training.fit import fit
from training.meter import Meter
from training.pairs import title_pairs
from training.tasks import ContrastiveSettings

TARGET = 0.05
SPEEDS = (0.8, 1.5)
FRAMES = 8
PICTURES = 48  # different ones; videos share them
WORDS = [
    "a cat",
    "who sleeps",
    "on",
    "the red sofa",
    "while",
    "two dogs",
    "play",
    "厨房",
    "里的",
    "绿色小机器人",
    "海边",
]


def make_picture(side: int, random: np.random.Generator) -> Image.Image:
    """Give clouds of all sizes: a spectrum that falls as those of photos do."""
    pixels = np.full((side, side, 3), 128.0)
    size = 4
    while size <= side:
        noise = random.normal(0, 60 * (4 / size) ** 0.8, (size, size, 3)).astype(np.float32)
        layers = [Image.fromarray(noise[..., c]).resize((side, side), Image.Resampling.BICUBIC) for c in range(3)]
        pixels += np.stack([np.asarray(layer) for layer in layers], -1)
        size *= 2
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def make_corpus(folder: Path, videos: int, side: int) -> Path:
    """Prepare a corpus of videos with all modalities."""
    random = np.random.default_rng(0)
    for number in range(PICTURES):
        make_picture(side, random).save(folder / f"{number}.jpg", quality=95)
    with (folder / "videos.jsonl").open("w", encoding="utf-8") as out:
        for number in range(videos):
            pictures = [f"{n}.jpg" for n in random.integers(PICTURES, size=1 + FRAMES)]
            texts = {"title": 12, "account": 2, "cover_ocr": 6, "content_ocr": 20, "asr": 60}
            row = {name: " ".join(random.choice(WORDS, size)) for name, size in texts.items()}
            row |= {"doc_id": f"v{number:05d}", "cover": pictures[0], "frames": pictures[1:]}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    settings = PrepareSettings(num_frames=FRAMES, image_size=side, num_workers=1)
    prepare(folder / "videos.jsonl", folder / "corpus", settings)
    return folder / "corpus"


def settings_of(corpus: Path, run: Path, side: int, steps: int, batch: int) -> FitSettings:
    """Give a run of one stage with a small model, so that its compute hides as little as any would."""
    text = {"width": 96, "depth": 1, "heads": 2, "max_length": 96}
    image = {"image_size": side, "args": {"patch_size": 32, "embed_dim": 96, "depth": 2, "num_heads": 2}}
    model = {
        "dim": 64,
        "num_frames": FRAMES,
        "document": {"image": image, "text": text, "frames": {"depth": 1}, "fusion": {"depth": 1, "heads": 2}},
        "query": {"teacher": text | {"depth": 12}},
    }
    stage = {
        "name": "titles",
        "task": {"type": "contrastive", "pairs": "titles"},
        "steps": steps,
        "batch_size": batch,
    }
    run_settings = {"dir": run, "device": "cpu", "num_threads": 1, "log_every": 2}
    return FitSettings.model_validate(
        {"run": run_settings, "data": {"corpus": corpus}, "model": model, "stages": [stage]}
    )


def make_batches(corpus: PreparedCorpus, settings: FitSettings) -> PairBatches:
    """Give batches of titles and their videos."""
    pairs = title_pairs(corpus, set())
    tokenizer = Tokenizer.train(pairs.queries, vocab_size=500)
    maker = InputMaker(ModelSettings.model_validate(settings.model.model_dump()), tokenizer)
    stage = settings.stages[0]
    task = stage.task
    if not isinstance(task, ContrastiveSettings):
        raise TypeError(task)
    return PairBatches(corpus, pairs, maker, task, batch_size=stage.batch_size, seed=0)


def parts_of_loading(batches: PairBatches, steps: int, corpus: PreparedCorpus) -> dict[str, float]:
    """Give processor seconds a video: to read it from the disk, and to make tensors of what was read."""
    begin = time.process_time()
    groups = [corpus.read_row_group(number) for number in range(len(corpus.row_groups))]
    read = (time.process_time() - begin) / sum(map(len, groups))
    size = len(batches(0))
    begin = time.process_time()
    for step in range(1, steps + 1):
        batches(step)
    return {"reading": read, "making": (time.process_time() - begin) / steps / size}


def throughput(batches: PairBatches, steps: int, threads: int) -> tuple[float, float]:
    """Give videos a second of the clock and of the processor, with nothing else to do."""
    begin, spent = time.perf_counter(), time.process_time()
    videos = sum(len(batch) for batch in made_ahead(batches, range(steps), threads))
    return videos / (time.perf_counter() - begin), videos / (time.process_time() - spent)


def wait_share(batches: PairBatches, steps: int, threads: int, rate: float) -> float:
    """Give the share of time that a device of so many videos a second waits."""
    meter = Meter(torch.device("cpu"))
    for batch in meter.waited(made_ahead(batches, range(steps + 1), threads)):
        size = len(batch)
        meter.step(size, lambda size=size: time.sleep(size / rate))  # type: ignore[misc]
    return meter.flush()["wait_share"]


def stage_waits(settings: FitSettings) -> list[dict[str, float]]:
    """Train, and give the lines of the log with rates, the first one left out."""
    fit(settings)
    with (settings.run.dir / "metrics.jsonl").open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [row for row in rows if "wait_share" in row][1:]


def measure(videos: int, side: int, threads: list[int], steps: int, batch: int) -> dict[str, Any]:
    """Give everything that is shown."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = make_corpus(folder, videos, side)
        corpus = PreparedCorpus.open(made)
        settings = settings_of(made, folder / "run", side, steps, batch)
        batches = make_batches(corpus, settings)
        size = sum(len(p) for v in corpus.read(range(32)) for p in (v.cover or b"", *v.frames)) / 32 / (1 + FRAMES)
        parts = parts_of_loading(batches, steps, corpus)
        rounds = [{n: throughput(batches, steps, n) for n in threads} for _ in range(3)]
        alone = {n: [statistics.median(found[n][i] for found in rounds) for i in (0, 1)] for n in threads}
        device = {s: {n: wait_share(batches, steps, n, s * alone[1][0]) for n in threads} for s in SPEEDS}
        lines = stage_waits(settings)
    return {"jpeg": size, "parts": parts, "alone": alone, "device": device, "lines": lines}


def show(found: dict[str, Any], side: int) -> None:
    """Print the tables, and the line for programs."""
    parts, alone = found["parts"], found["alone"]
    per_core = 1 / sum(parts.values())
    print(
        f"loading alone, {1 + FRAMES} pictures of {side} px a video, {found['jpeg'] / 1000:.1f} kB each: "
        f"{1000 * parts['reading']:.2f} ms of a core a video to read, {1000 * parts['making']:.2f} ms to decode, "
        f"tokenise and stack; {per_core:,.0f} videos/s a core"
    )
    table = Table(title="batches made ahead in threads")
    for column in ("threads", "videos/s", "videos/s of processor", *(f"device at {s} x waits" for s in SPEEDS)):
        table.add_column(column, justify="right")
    for threads, rates in alone.items():
        waits = [f"{found['device'][speed][threads]:.1%}" for speed in SPEEDS]
        table.add_row(str(threads), *(f"{rate:,.0f}" for rate in rates), *waits)
    Console(width=110).print(table)
    waits = [line["wait_share"] for line in found["lines"]]
    rates = [line["samples_per_s"] for line in found["lines"]]
    waited = statistics.median(waits)
    print(f"a stage on the CPU: {statistics.median(rates):,.1f} videos/s; waits by line of the log: {waits}")
    line = {
        "name": "loading_wait_share",
        "value": float(f"{waited:.2g}"),
        "unit": "waiting / (waiting + steps), median of the log",
        "ratio": round(per_core / statistics.median(rates), 1),
        "against": "videos/s of the stage: so many times what it takes is what a core loads",
        "videos_per_s_per_core": round(per_core),
        "target": TARGET,
        "met": waited < TARGET,
    }
    print(json.dumps(line))


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=int, default=192)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--threads", type=int, nargs="+", default=[2], help="beside 1")
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--batch", type=int, default=32)
    given = parser.parse_args()
    show(measure(given.videos, given.side, [1, *given.threads], given.steps, given.batch), given.side)


if __name__ == "__main__":
    main()
