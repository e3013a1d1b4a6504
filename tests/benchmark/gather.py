"""What gathered negatives cost: the contrastive loss by rectangles of the batch, beside one by its full square.

    python tests/benchmark/gather.py [--local 512] [--codes 4]

For 1, 2 and 4 gloo processes with the same number of pairs each (seed 0; some pairs not learned, some with a second
positive), every process gathers the vectors of all, takes its loss and goes backward, in two ways. `rectangles`: its
own queries against all videos and its own videos against all queries, as training does. `square`: all queries against
all videos. What is measured is the peak of what the first process allocates for it, forward and backward, by the
profiler of torch; its own vectors and the masks come with the batch. The mean loss of the ranks and the gradient of the
first one's vectors must equal those of a single process with the same global batch. From 2 to 4 processes linear growth
doubles the peak at most; a square makes it four times as high. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

os.environ |= {"OMP_NUM_THREADS": "1", "KINETO_LOG_LEVEL": "99"}

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from mmsearch.losses.contrastive import info_nce, info_nce_rows
from mmsearch.matching import PolySettings, poly_scores
from mmsearch.nn.distributed import gather, rank, sum_over_ranks, world_size

WORLDS = (1, 2, 4)
WIDTH = 64
MIB = 1 << 20
TARGET_DIFFERENCE, TARGET_GROWTH = 1e-5, 2.1


@dataclass(frozen=True)
class Batch:
    """A whole batch: unit vectors, and which pairs are learned."""

    queries: Tensor
    codes: Tensor
    positives: Tensor
    rows: Tensor


@dataclass(frozen=True)
class Share:
    """What one rank has before its loss: its vectors, and which columns its rows ignore."""

    queries: Tensor
    codes: Tensor
    own: Tensor
    ignored_videos: Tensor
    ignored_queries: Tensor
    whole: Batch


def make_batch(size: int, num_codes: int) -> Batch:
    """Give a batch in which one pair in five is not learned and one query in ten has a second positive."""
    random = torch.Generator().manual_seed(0)
    queries = F.normalize(torch.randn(size, WIDTH, generator=random), dim=-1)
    codes = F.normalize(torch.randn(size, num_codes, WIDTH, generator=random), dim=-1)
    positives = torch.eye(size, dtype=torch.bool)
    some = torch.rand(size, generator=random) < 0.1
    positives[some, torch.randint(size, (int(some.sum()),), generator=random)] = True
    return Batch(queries, codes, positives, torch.rand(size, generator=random) < 0.8)


def share_of(whole: Batch) -> Share:
    """Give this rank's share."""
    own = torch.arange(len(whole.rows)).chunk(world_size())[rank()]
    others = whole.positives & ~torch.eye(len(whole.rows), dtype=torch.bool) | torch.diag(~whole.rows)
    queries, codes = (part[own].requires_grad_() for part in (whole.queries, whole.codes))
    return Share(queries, codes, own, others[own], others[:, own].T, whole)


def score(queries: Tensor, codes: Tensor) -> Tensor:
    """Give scaled scores, as in training."""
    return 20 * poly_scores(queries, codes, PolySettings())


def by_rectangles(share: Share) -> Tensor:
    """Give W times this rank's part of the loss."""
    queries, codes = gather(share.queries), gather(share.codes)
    count = sum_over_ranks(share.whole.rows[share.own].sum())
    to_videos = info_nce_rows(score(share.queries, codes), share.own, share.ignored_videos)
    to_queries = info_nce_rows(score(queries, share.codes).T, share.own, share.ignored_queries)
    return world_size() * (to_videos.sum() + to_queries.sum()) / (2 * count)


def by_square(share: Share) -> Tensor:
    """Give the loss of the whole batch, the same on every rank."""
    logits = score(gather(share.queries), gather(share.codes))
    return info_nce(logits, share.whole.positives, rows=share.whole.rows)


WAYS: dict[str, Callable[[Share], Tensor]] = {"rectangles": by_rectangles, "square": by_square}


def with_peak(loss_of: Callable[[Share], Tensor], share: Share) -> tuple[Tensor, int]:
    """Give a loss after its backward pass, and the most bytes that both held at a time, counted from nothing."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        loss = loss_of(share)
        loss.backward()
    events = [event for event in found.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = accumulate(event.nbytes() for event in sorted(events, key=lambda event: event.start_ns()))
    return loss.detach(), max(held)


def be_a_rank(number: int, ranks: int, local: int, num_codes: int, folder: Path) -> None:
    """Measure as one rank; the first one writes down what it found."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/store", rank=number, world_size=ranks)
    whole = make_batch(ranks * local, num_codes)
    found: dict[str, Tensor] = {}
    for way, loss_of in WAYS.items():
        share = share_of(whole)
        loss, peak = with_peak(loss_of, share)
        found[f"{way}/peak"] = torch.tensor(peak)
        found[f"{way}/loss"] = sum_over_ranks(loss) / ranks
        found[f"{way}/gradient"] = share.queries.grad / ranks
    if number == 0:
        save_file(found, folder / "found.safetensors")
    dist.destroy_process_group()


def measure(ranks: int, local: int, num_codes: int) -> dict[str, tuple[int, float]]:
    """Give, by way, the peak and the larger of the relative differences of loss and gradient from one process."""
    with tempfile.TemporaryDirectory() as folder:
        mp.spawn(be_a_rank, (ranks, local, num_codes, Path(folder)), nprocs=ranks)
        found = load_file(Path(folder) / "found.safetensors")
    whole = make_batch(ranks * local, num_codes)
    queries = whole.queries.clone().requires_grad_()
    loss = info_nce(score(queries, whole.codes), whole.positives, rows=whole.rows)
    (gradient,) = torch.autograd.grad(loss, queries)
    expected = {"loss": loss.detach(), "gradient": gradient[:local]}
    return {
        way: (
            int(found[f"{way}/peak"]),
            max(float((found[f"{way}/{name}"] - value).norm() / value.norm()) for name, value in expected.items()),
        )
        for way in WAYS
    }


def show(found: dict[int, dict[str, tuple[int, float]]], local: int) -> None:
    """Print the table, and the line for programs."""
    table = Table(title=f"peak of the loss of one process, MiB; {local} pairs a process")
    for column in ("processes", "pairs", *WAYS, "square / rectangles", "difference from one process"):
        table.add_column(column, justify="right")
    for ranks, ways in found.items():
        peaks = [ways[way][0] for way in WAYS]
        cells = [f"{peak / MIB:,.1f}" for peak in peaks]
        table.add_row(
            str(ranks), f"{ranks * local:,}", *cells, f"{peaks[1] / peaks[0]:.2f}", f"{ways['rectangles'][1]:.1e}"
        )
    Console(width=110).print(table)
    growth = {way: found[WORLDS[-1]][way][0] / found[WORLDS[-2]][way][0] for way in WAYS}
    difference = max(ways["rectangles"][1] for ways in found.values())
    line = {
        "name": "gather_loss_memory_growth",
        "value": round(growth["rectangles"], 3),
        "unit": "peak with 4 processes / peak with 2, same pairs a process",
        "ratio": round(found[WORLDS[-1]]["square"][0] / found[WORLDS[-1]]["rectangles"][0], 2),
        "against": f"the full square with 4 processes, which grows {growth['square']:.2f} x from 2 to 4",
        "target": TARGET_GROWTH,
        "difference": difference,
        "met": growth["rectangles"] <= TARGET_GROWTH and difference <= TARGET_DIFFERENCE,
    }
    print(json.dumps(line))


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--local", type=int, default=512)
    parser.add_argument("--codes", type=int, default=4)
    given = parser.parse_args()
    show({ranks: measure(ranks, given.local, given.codes) for ranks in WORLDS}, given.local)


if __name__ == "__main__":
    main()
