"""Systems compared with each other: differences with intervals, p-values for all of them at once, and power."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from mmsearch.errors import ConfigError
from mmsearch.metrics.results import Evaluation
from mmsearch.metrics.significance import (
    Interval,
    detectable_difference,
    holm,
    percentile_interval,
    randomisation_tests,
)

#: Swaps for every comparison of a family, so that the least possible p-value stays below 0.05 after Holm's rule.
_SWAPS_PER_COMPARISON = 200


@dataclass(frozen=True, slots=True)
class Contrast:
    """Two systems by one measure on the same queries.

    Args:
        measure: its name.
        a: name of one system.
        b: name of the other.
        difference: the measure of `a` minus that of `b`.
        interval: 95 % percentile interval of the difference, queries drawn again for both at once.
        p_value: of Fisher's randomisation test, two-sided, for this comparison alone.
        p_holm: the same, corrected for all comparisons of the family.
        detectable: least true difference that these queries show with power 0.8, see `detectable_difference`.
        num_queries: queries that have a say.
        family_size: comparisons that `p_holm` is corrected for.
        family: which ones these are, in words.
    """

    measure: str
    a: str
    b: str
    difference: float
    interval: Interval
    p_value: float
    p_holm: float
    detectable: float
    num_queries: int
    family_size: int = 1
    family: str = "this one"

    @property
    def is_significant(self) -> bool:
        """Whether the difference stands at the level 0.05 among all comparisons."""
        return self.p_holm <= 0.05

    @property
    def queries_needed(self) -> float:
        """Give how many such queries would show a true difference of the size found (power 0.8); infinite for none."""
        if self.difference == 0 or not math.isfinite(self.detectable):
            return math.inf
        return self.num_queries * (self.detectable / self.difference) ** 2


def contrast(
    evaluations: Sequence[Evaluation],
    which: str = "all",
    *,
    measures: int | None = None,
    permutations: int = 10_000,
    seed: int = 0,
) -> list[Contrast]:
    """Compare evaluations by their measures. One without any score (`Evaluation.has_scores`) is compared with nothing.

    Args:
        evaluations: with the same measures, resamples and seed, over the same judged queries in the same order.
        which: the name of an evaluation: each other one with it; else `all` pairs; or `best`: the one that is best by
            the first measure with each other one.
        measures: by how many of the measures, from the first; None = by all.
        permutations: random swaps of the randomisation test; raised to 200 for each comparison where that is more.
        seed: of the random numbers.

    Returns:
        For every pair, its measures. The family of Holm's rule is all of them; with `best` it is the comparisons of
        all pairs, since the best was chosen by looking at the same numbers.

    Raises:
        ConfigError: `which` is no such thing.
        ValueError: the evaluations are over different numbers of queries.
    """
    is_chosen = which in [evaluation.name for evaluation in evaluations]
    if not is_chosen and which not in ("all", "best"):
        names = ", ".join(evaluation.name for evaluation in evaluations)
        raise ConfigError(f"cannot compare with '{which}'; write all, best, none, or one of: {names}")
    evaluations = [evaluation for evaluation in evaluations if evaluation.has_scores]
    shown = _pairs(evaluations, which)
    if not shown:
        return []
    family = shown if is_chosen else list(combinations(range(len(evaluations)), 2))
    systems = [evaluation.statistics[:measures] for evaluation in evaluations]
    permutations = max(permutations, _SWAPS_PER_COMPARISON * len(family) * len(systems[0]))
    found = randomisation_tests(systems, family, permutations=permutations, seed=seed)
    adjusted = np.reshape(holm([p for row in found for p in row]), (len(family), -1)).tolist()
    at = {frozenset(pair): row for row, pair in enumerate(family)}
    told = f"each other with '{which}'" if is_chosen else f"all pairs of {len(evaluations)}"
    told += f", by {len(systems[0])} measures" if len(systems[0]) > 1 else ""
    whole = (len(family) * len(systems[0]), told)
    return [
        _contrast(evaluations[i], evaluations[j], measure, found[row][measure], adjusted[row][measure], whole)
        for i, j in shown
        for row in [at[frozenset((i, j))]]
        for measure in range(len(systems[0]))
    ]


def _contrast(
    a: Evaluation, b: Evaluation, measure: int, p_value: float, p_holm: float, family: tuple[int, str]
) -> Contrast:
    of_a, of_b = a.results[measure], b.results[measure]
    differences = a.samples[measure] - b.samples[measure]
    return Contrast(
        of_a.name,
        a.name,
        b.name,
        of_a.value - of_b.value,
        percentile_interval(differences),
        p_value,
        p_holm,
        detectable_difference(differences),
        max(of_a.num_queries, of_b.num_queries),
        *family,
    )


def _pairs(evaluations: Sequence[Evaluation], which: str) -> list[tuple[int, int]]:
    """Give the pairs that are shown, by place; none where the named one has no score or stands alone."""
    names = [evaluation.name for evaluation in evaluations]
    if which in names:
        return [(i, names.index(which)) for i, name in enumerate(names) if name != which]
    if which == "best" and names:
        values = [evaluation.results[0].value for evaluation in evaluations]
        best = max(range(len(values)), key=lambda i: (not math.isnan(values[i]), values[i]))
        return [(best, i) for i in range(len(names)) if i != best]
    return list(combinations(range(len(names)), 2)) if which == "all" else []
