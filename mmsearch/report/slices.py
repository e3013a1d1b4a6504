"""PNR of parts of the judgments: groups of queries, and pairs of videos that have or lack a modality.

Letters: Q queries, N judged rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmsearch.metrics import Result, Scored, Statistic, bootstrap_intervals, count_pairs
from mmsearch.metrics.inputs import Input
from mmsearch.metrics.pnr import ratio_of_part
from mmsearch.metrics.results import Pairs
from mmsearch.metrics.scored import Bools, Float64
from mmsearch.report.markup import is_chinese
from mmsearch.types import Modality

_LATIN = re.compile("[A-Za-z]")
#: By feature, the results of all slices.
Sliced = dict[str, list[Result]]


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How intervals are drawn."""

    resamples: int
    seed: int


def language(query: str) -> str:
    """Give `zh` for a query with a Chinese character, `en` for one with a Latin letter, `other` for the rest."""
    if is_chinese(query):
        return "zh"
    return "en" if _LATIN.search(query) else "other"


def query_groups(queries: Sequence[str]) -> dict[str, Bools]:
    """Group queries by language, and those of a language by length in thirds: which queries are in it, [Q].

    Length counts characters of Chinese queries and words of others. A language with fewer than three different lengths
    is not divided.
    """
    languages = np.array([language(query) for query in queries])
    lengths = np.array(
        [
            len("".join(q.split())) if tongue == "zh" else len(q.split())
            for q, tongue in zip(queries, languages, strict=True)
        ]
    )
    groups: dict[str, Bools] = {"all queries": np.ones(len(queries), np.bool_)}
    tongues = [tongue for tongue in ("zh", "en", "other") if (languages == tongue).any()]
    for tongue in tongues:
        groups[tongue] = languages == tongue
    for tongue in tongues:
        groups |= _thirds(tongue, groups[tongue], lengths)
    return groups


def _thirds(tongue: str, members: Bools, lengths: np.ndarray[tuple[int], np.dtype[np.int64]]) -> dict[str, Bools]:
    own = lengths[members]
    if len(np.unique(own)) < 3:
        return {}
    unit = "characters" if tongue == "zh" else "words"
    bounds = np.unique(np.quantile(own, [1 / 3, 2 / 3], method="lower"))
    part = np.searchsorted(bounds, lengths)
    found = {}
    for number in np.unique(part[members]):
        inside = members & (part == number)
        low, high = int(lengths[inside].min()), int(lengths[inside].max())
        found[f"{tongue}, {low} {unit}" if low == high else f"{tongue}, {low}–{high} {unit}"] = inside
    return found


def by_group(inputs: Sequence[Input], groups: Mapping[str, Bools], bootstrap: Bootstrap) -> Sliced:
    """Give the PNR of every feature in every group of queries."""
    parts = {}
    for one in inputs:
        counts = count_pairs(one.scored).per_query().astype(np.float64)
        parts[one.name] = {name: counts * inside[:, None] for name, inside in groups.items()}
    return measure_counts(parts, bootstrap)


def by_presence(inputs: Sequence[Input], modalities: Mapping[str, frozenset[Modality]], bootstrap: Bootstrap) -> Sliced:
    """Give the PNR of every feature over the pairs of which both, one, or neither of the videos has a modality.

    The three parts of a modality add up to all pairs; they hold different pairs, and may be easier or harder for that
    alone. A video that is not in `modalities` lacks everything.
    """
    parts: dict[str, dict[str, Float64]] = {}
    for one in inputs:
        counts = count_pairs(one.scored).per_query().astype(np.float64)
        parts[one.name] = {}
        for modality in Modality:
            has = np.array([modality in modalities.get(doc_id, ()) for doc_id in one.scored.doc_ids], np.bool_)
            both, neither = (
                count_pairs(rows_of(one.scored, rows)).per_query().astype(np.float64) for rows in (has, ~has)
            )
            found = {"both": both, "one": counts - both - neither, "neither": neither}
            parts[one.name] |= {f"{modality}: {which}": part for which, part in found.items()}
    return measure_counts(parts, bootstrap)


def rows_of(scored: Scored, kept: Bools) -> Scored:
    """Give some rows of a table, without renumbering its queries; kept [N]."""
    doc_ids = tuple(doc_id for doc_id, keep in zip(scored.doc_ids, kept.tolist(), strict=True) if keep)
    return Scored(scored.queries, scored.query[kept], doc_ids, scored.grades[kept], scored.scores[kept])


def measure_counts(parts: Mapping[str, Mapping[str, Float64]], bootstrap: Bootstrap) -> Sliced:
    """Give PNR with intervals for concordant, discordant and tied pairs of every query, [Q, 3], by feature and slice.

    All slices see the same bootstrap samples. A slice without any pair has no PNR (NaN); neither has a sample that
    happens to draw none of its queries, which is left out of the interval: a small slice is no bad one.
    """
    statistics = {
        feature: [
            Statistic(name, counts, ratio_of_part, int(counts.any(axis=1).sum())) for name, counts in slices.items()
        ]
        for feature, slices in parts.items()
    }
    flat = [statistic for those in statistics.values() for statistic in those]
    intervals = iter(bootstrap_intervals(flat, resamples=bootstrap.resamples, seed=bootstrap.seed))
    return {
        feature: [
            Result(s.name, s.value, next(intervals), s.num_queries, Pairs(*(int(n) for n in s.counts.sum(axis=0))))
            for s in those
        ]
        for feature, those in statistics.items()
    }
