"""The queries on which one feature wins and loses most against another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmsearch.errors import ConfigError
from mmsearch.metrics import count_pairs
from mmsearch.metrics.inputs import Input
from mmsearch.metrics.scored import Float64
from mmsearch.report.catalogue import Catalogue, Entry
from mmsearch.report.scores import Scores
from mmsearch.report.settings import ReportSettings


@dataclass(frozen=True, slots=True)
class Ranked:
    """A video of a ranking: its place from 1, grade, score (None = missing), and what to show of it."""

    place: int
    doc_id: str
    grade: int
    score: float | None
    entry: Entry


@dataclass(frozen=True, slots=True)
class Example:
    """A query on which two features differ.

    Args:
        query: its text.
        num_pairs: pairs of its videos with different grades.
        right: pairs that the baseline and the challenger order right (tied ones count half).
        baseline: the best videos by the baseline.
        challenger: the best videos by the challenger.
    """

    query: str
    num_pairs: int
    right: tuple[float, float]
    baseline: tuple[Ranked, ...]
    challenger: tuple[Ranked, ...]


@dataclass(frozen=True, slots=True)
class WinsAndLosses:
    """The challenger against the baseline, query by query; biggest wins and losses first."""

    baseline: str
    challenger: str
    num_better: int
    num_worse: int
    num_equal: int
    wins: tuple[Example, ...]
    losses: tuple[Example, ...]


def wins_and_losses(scores: Scores, catalogue: Catalogue, settings: ReportSettings) -> WinsAndLosses | None:
    """Give the wins and losses of the challenger; None when there is one feature only.

    Raises:
        ConfigError: the index has no such feature.
    """
    baseline, challenger = _chosen(scores, settings)
    if baseline is challenger:
        return None
    a, b = (count_pairs(one.scored).per_query().astype(np.float64) for one in (baseline, challenger))
    right_a, right_b = (counts[:, 0] + counts[:, 2] / 2 for counts in (a, b))
    gain = right_b - right_a
    order = np.argsort(-gain, kind="stable").tolist()
    wins = [i for i in order if gain[i] > 0][: settings.num_examples]
    losses = [i for i in reversed(order) if gain[i] < 0][: settings.num_examples]
    entries = _entries(catalogue, (baseline, challenger), [*wins, *losses], settings.videos_per_example)

    def example(query: int) -> Example:
        best = [_best(one, query, settings.videos_per_example, entries) for one in (baseline, challenger)]
        right = (float(right_a[query]), float(right_b[query]))
        return Example(baseline.scored.queries[query], int(a[query].sum()), right, best[0], best[1])

    better, worse = int((gain > 0).sum()), int((gain < 0).sum())
    examples = [tuple(map(example, queries)) for queries in (wins, losses)]
    return WinsAndLosses(baseline.name, challenger.name, better, worse, len(gain) - better - worse, *examples)


def _chosen(scores: Scores, settings: ReportSettings) -> tuple[Input, Input]:
    first = scores.counterpart or scores.of("perception") or scores.mains[0]
    usual = {"baseline": first, "challenger": scores.chief}
    found = []
    for role, default in usual.items():
        name = getattr(settings, role)
        chosen = default if name is None else scores.of(name)
        if chosen is None:
            known = ", ".join(one.name for one in (*scores.inputs, *scores.others))
            raise ConfigError(f"{role}: there is no feature '{name}' in the index; there are: {known}")
        found.append(chosen)
    return found[0], found[1]


def _order(one: Input, query: int) -> list[int]:
    """Give the rows of a query, best first; missing scores last, ties in the order of the judgments."""
    rows = np.flatnonzero(one.scored.query == query)
    scores: Float64 = one.scored.scores[rows]
    return [int(row) for row in rows[np.argsort(-scores, kind="stable")]]


def _entries(catalogue: Catalogue, inputs: Sequence[Input], queries: Sequence[int], count: int) -> dict[str, Entry]:
    rows = [(one, row) for one in inputs for query in queries for row in _order(one, query)[:count]]
    return catalogue.entries(list(dict.fromkeys(one.scored.doc_ids[row] for one, row in rows)))


def _best(one: Input, query: int, count: int, entries: Mapping[str, Entry]) -> tuple[Ranked, ...]:
    scored, found = one.scored, []
    for place, row in enumerate(_order(one, query)[:count], 1):
        score = float(scored.scores[row]) if scored.retrieved[row] else None
        doc_id = scored.doc_ids[row]
        found.append(Ranked(place, doc_id, int(scored.grades[row]), score, entries[doc_id]))
    return tuple(found)
