"""How fast PNR is: beside a script of two nested loops, and beside one NumPy broadcast a query.

    python tests/benchmark/pnr.py [--rounds 7]

The rows are always the same (seed 0): judged lists of three kinds, short ones as in the public short-video benchmark,
middling and long ones; lengths vary, grades are 0 to 2, one score in ten is rounded so that some are tied. Each way of
counting starts from the form that it likes best, made beforehand: the loops from a list of (grade, score) for every
query, the broadcast from two arrays for every query, ours from the columns. What is timed is processor time on one core
to concordant, discordant and tied pairs, in turn, median of the rounds. All must agree to the last pair. The loops see
one query in ten. The last line is one JSON object, about the rows of all three kinds together.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from dataclasses import dataclass

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from mmsearch.metrics import Scored, count_pairs

#: Mean documents of a query, and queries.
KINDS = ((8, 20_000), (50, 5_000), (500, 200))
LOOP_SHARE = 10
TARGET_LOOPS, TARGET_BROADCAST, TARGET_PAIRS = 50.0, 5.0, 10e6
WAYS = ("ours", "broadcast", "loops")

Counts = tuple[int, int, int]
Arrays = list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]
Lists = list[list[tuple[int, float]]]


@dataclass(frozen=True)
class Rows:
    """The same rows in three forms, and the first queries as columns, for checking the loops."""

    columns: Scored
    first: Scored
    arrays: Arrays
    lists: Lists


def make_rows(length: int, num_queries: int) -> Rows:
    """Give lists whose lengths are Poisson distributed, with scores that know a little of the grades."""
    rng = np.random.default_rng(0)
    lengths = np.maximum(2, rng.poisson(length, num_queries))
    number = int(lengths.sum())
    grades = rng.choice(3, number, p=[0.45, 0.35, 0.2])
    scores = grades * 0.3 + rng.normal(0.0, 1.0, number)
    scores = np.where(rng.random(number) < 0.1, np.round(scores, 1), scores)
    ends = np.cumsum(lengths)
    arrays = [(grades[end - size : end], scores[end - size : end]) for size, end in zip(lengths, ends, strict=True)]
    some = num_queries // LOOP_SHARE
    lists = [list(zip(g.tolist(), s.tolist(), strict=True)) for g, s in arrays[:some]]
    return Rows(as_columns(arrays), as_columns(arrays[:some]), arrays, lists)


def as_columns(arrays: Arrays) -> Scored:
    """Give the rows of some queries as one table."""
    query = np.repeat(np.arange(len(arrays)), [len(grades) for grades, _ in arrays])
    grades, scores = (np.concatenate(column) for column in zip(*arrays, strict=True))
    return Scored(tuple(map(str, range(len(arrays)))), query, ("d",) * len(query), grades, scores)


def loops(lists: Lists) -> Counts:
    """Two nested loops over every list, comparing grades and scores pair by pair."""
    concordant = discordant = tied = 0
    for rows in lists:
        for i in range(len(rows)):
            for j in range(i + 1, len(rows)):
                if rows[i][0] == rows[j][0]:
                    continue
                if (rows[i][0] > rows[j][0] and rows[i][1] > rows[j][1]) or (
                    rows[i][0] < rows[j][0] and rows[i][1] < rows[j][1]
                ):
                    concordant += 1
                elif rows[i][1] == rows[j][1]:
                    tied += 1
                else:
                    discordant += 1
    return concordant, discordant, tied


def broadcast(arrays: Arrays) -> Counts:
    """Each query by itself: all differences of grades and of scores as two square arrays."""
    concordant = discordant = tied = 0
    for grades, scores in arrays:
        better = grades[:, None] > grades[None, :]
        gaps = (scores[:, None] - scores[None, :])[better]
        concordant += int((gaps > 0).sum())
        discordant += int((gaps < 0).sum())
        tied += int((gaps == 0).sum())
    return concordant, discordant, tied


def measure(rows: Rows, rounds: int) -> tuple[int, dict[str, float]]:
    """Give the number of pairs and the median seconds for all of them by way, after a check that all agree."""
    totals = count_pairs(rows.columns).totals
    some = count_pairs(rows.first).totals
    if totals != broadcast(rows.arrays) or some != loops(rows.lists):
        raise SystemExit("they do not agree on the pairs")
    share = sum(totals) / sum(some)
    times: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        started = time.process_time()
        count_pairs(rows.columns)
        counted = time.process_time()
        broadcast(rows.arrays)
        broadcasted = time.process_time()
        loops(rows.lists)
        looped = time.process_time()
        spent = (counted - started, broadcasted - counted, (looped - broadcasted) * share)
        for way, seconds in zip(WAYS, spent, strict=True):
            times[way].append(seconds)
    return sum(totals), {way: statistics.median(values) for way, values in times.items()}


def show(found: dict[str, tuple[int, dict[str, float]]]) -> None:
    """Print the table, and the line for programs."""
    table = Table(title="judged pairs counted, millions a second on one core")
    for column in ("documents a query", *WAYS, "× broadcast", "× loops"):
        table.add_column(column, justify="right")
    pairs = sum(number for number, _ in found.values())
    together = {way: sum(spent[way] for _, spent in found.values()) for way in WAYS}
    for name, (number, spent) in (found | {"together": (pairs, together)}).items():
        rates = [f"{1e-6 * number / spent[way]:,.1f}" for way in WAYS]
        table.add_row(name, *rates, *(f"{spent[way] / spent['ours']:,.0f}" for way in WAYS[1:]))
    Console(width=100).print(table)
    over = {way: together[way] / together["ours"] for way in WAYS[1:]}
    slowest = min(number / spent["ours"] for number, spent in found.values())
    line = {
        "name": "pnr_judged_pairs_per_second_per_core",
        "value": round(slowest),
        "unit": "pairs/s, slowest kind of list",
        "ratio": round(over["loops"], 1),
        "against": f"nested Python loops on the same rows; {over['broadcast']:.1f} x a NumPy broadcast a query",
        "target": TARGET_PAIRS,
        "met": slowest >= TARGET_PAIRS and over["loops"] >= TARGET_LOOPS and over["broadcast"] >= TARGET_BROADCAST,
    }
    print(json.dumps(line))


def main() -> None:
    """Measure and show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    show({f"about {length}": measure(make_rows(length, queries), rounds) for length, queries in KINDS})


if __name__ == "__main__":
    main()
