"""Measures by name: `pnr`, `pnr(ties=ignore)`, `ndcg_exp@10`, `map`, …

A name is a measure, its options in parentheses, and where it has one a cut-off after `@`, see `mmsearch.metrics.names`.
Measures that differ have different names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property, partial
from typing import Any, get_args

import numpy as np

from mmsearch.errors import ConfigError
from mmsearch.metrics import ranking
from mmsearch.metrics.names import Choice, parse, read_options
from mmsearch.metrics.pnr import PnrCounts, Ties, Weights, count_pairs, pair_accuracy, ratio_of_part
from mmsearch.metrics.ranking import Ranking
from mmsearch.metrics.scored import Float64, Scored
from mmsearch.metrics.statistic import Statistic, mean_of

#: What is reported unless other measures are asked for.
DEFAULT_MEASURES = ("pnr", "ndcg_exp@10", "map", "recall@10")


@dataclass(frozen=True, eq=False)
class Table:
    """A scored table with what several measures share, computed once.

    Args:
        scored: the rows.
        relevant: least grade that makes a document relevant, for the measures that know only relevant and not.
        max_grade: top of the grade scale for ERR; None = the highest grade in the table.
    """

    scored: Scored
    relevant: int = 1
    max_grade: int | None = None

    @cached_property
    def pairs(self) -> PnrCounts:
        """Pair counts for PNR."""
        return count_pairs(self.scored)

    @cached_property
    def ranking(self) -> Ranking:
        """The ranked lists."""
        return Ranking.of(self.scored)


def _pnr(
    name: str, table: Table, k: int | None, *, ties: Ties = "half", min_gap: int = 1, weights: Weights = "none"
) -> Statistic:
    pairs = table.pairs.select(min_gap=min_gap)
    counts = pairs.per_query(weights).astype(np.float64)
    found = Statistic(name, counts, partial(ratio_of_part, ties=ties), int(counts.any(axis=1).sum()), pairs.totals)
    return _if_scored(found, table)


def _pair_accuracy(
    name: str, table: Table, k: int | None, *, ties: Ties = "half", min_gap: int = 1, weights: Weights = "none"
) -> Statistic:
    counts = table.pairs.select(min_gap=min_gap).per_query(weights)
    return _if_scored(mean_of(name, pair_accuracy(counts.astype(np.float64), ties)), table)


def _if_scored(found: Statistic, table: Table) -> Statistic:
    """Give a measure of pairs as it is, or undefined where no document of any pair has a score: all pairs are then
    tied, and the figure would be the one of chance."""
    rows = table.scored
    with_pairs = np.flatnonzero(found.counts.any(axis=1))
    scored = np.isin(rows.query[rows.judged & rows.retrieved], with_pairs).any()
    return found if scored else replace(found, combine=_undefined)


def _undefined(sums: Float64) -> Float64:
    return np.full(sums.shape[:-1], np.nan)


def _graded(values: Callable[[Ranking, int | None], Float64], name: str, table: Table, k: int | None) -> Statistic:
    return mean_of(name, values(table.ranking, k))


def _binary(
    values: Callable[[Ranking, int, int | None], Float64],
    name: str,
    table: Table,
    k: int | None,
    *,
    relevant: int | None = None,
) -> Statistic:
    return mean_of(name, values(table.ranking, relevant or table.relevant, k))


def _auc(name: str, table: Table, k: int | None, *, relevant: int | None = None) -> Statistic:
    return _if_scored(mean_of(name, ranking.auc(table.scored, relevant or table.relevant)), table)


def _err(name: str, table: Table, k: int | None, *, max_grade: int | None = None) -> Statistic:
    return mean_of(name, ranking.err(table.ranking, k, max_grade=max_grade or table.max_grade))


@dataclass(frozen=True, slots=True)
class _Measure:
    build: Callable[..., Statistic]
    has_cut: bool
    options: Mapping[str, Choice]


_PAIRS: dict[str, Choice] = {"ties": get_args(Ties), "min_gap": int, "weights": get_args(Weights)}
_RELEVANT: dict[str, Choice] = {"relevant": int}
_MEASURES: dict[str, _Measure] = {
    "pnr": _Measure(_pnr, False, _PAIRS),
    "pair_accuracy": _Measure(_pair_accuracy, False, _PAIRS),
    "auc": _Measure(_auc, False, _RELEVANT),
    "ndcg_exp": _Measure(partial(_graded, ranking.ndcg_exp), True, {}),
    "ndcg_linear": _Measure(partial(_graded, ranking.ndcg_linear), True, {}),
    "map": _Measure(partial(_binary, ranking.average_precision), True, _RELEVANT),
    "mrr": _Measure(partial(_binary, ranking.reciprocal_rank), True, _RELEVANT),
    "recall": _Measure(partial(_binary, ranking.recall), True, _RELEVANT),
    "precision": _Measure(partial(_binary, ranking.precision), True, _RELEVANT),
    "err": _Measure(_err, True, {"max_grade": int}),
}
#: Every measure; all but the first three may carry a cut-off.
MEASURES = tuple(_MEASURES)


def check_measures(names: Sequence[str]) -> None:
    """Check names of measures before any work is done.

    Raises:
        ConfigError: a name is unknown, has a cut-off or an option that it may not have, or there is none.
    """
    if not names:
        raise ConfigError(f"there is no measure to compute; known: {', '.join(MEASURES)}")
    for name in names:
        _find(name)


def compute(name: str, table: Table) -> Statistic:
    """Give a measure of a table.

    Raises:
        ConfigError: the name is unknown, or the measure cannot take the grades of this table.
    """
    measure, k, options = _find(name)
    try:
        return measure.build("".join(name.split()), table, k, **options)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error


def _find(name: str) -> tuple[_Measure, int | None, dict[str, Any]]:
    parts = parse(name)
    measure = _MEASURES.get(parts.measure) if parts else None
    if parts is None or measure is None:
        bare = parts.measure if parts else name
        near = ("ndcg_exp", "ndcg_linear") if bare == "ndcg" else get_close_matches(bare, MEASURES, n=1)
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(MEASURES)}"
        raise ConfigError(f"{name}: no such measure; {hint}")
    if parts.k is not None and not measure.has_cut:
        raise ConfigError(f"{name}: '{parts.measure}' looks at whole lists and takes no cut-off")
    if parts.measure == "pnr" and "average=macro" in parts.options:
        raise ConfigError(f"{name}: a mean of ratios has no bound; the macro average is the measure 'pair_accuracy'")
    return measure, parts.k, read_options(name, parts.options, measure.options)
