"""Measures by name: `pnr`, `ndcg_exp@10`, `map`, …

A name is a measure and, where it has one, a cut-off after `@`. Measures that differ have different names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, partial

import numpy as np

from mmsearch.errors import ConfigError
from mmsearch.metrics import ranking
from mmsearch.metrics.pnr import PnrCounts, Weights, count_pairs, pair_accuracy, ratio
from mmsearch.metrics.ranking import Ranking
from mmsearch.metrics.scored import Float64, Scored
from mmsearch.metrics.statistic import Statistic, mean_of

#: What is reported unless other measures are asked for.
DEFAULT_MEASURES = ("pnr", "ndcg_exp@10", "map", "recall@10")

_NAME = re.compile(r"([a-z_]+)(?:@([1-9][0-9]{0,5}))?")


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


def _pooled(
    combine: Callable[[Float64], Float64], weights: Weights, name: str, table: Table, _: int | None
) -> Statistic:
    counts = table.pairs.per_query(weights).astype(np.float64)
    return Statistic(name, counts, combine, int(counts.any(axis=1).sum()))


def _per_query(values: Callable[[Table, int | None], Float64], name: str, table: Table, k: int | None) -> Statistic:
    return mean_of(name, values(table, k))


def _macro(table: Table, _: int | None) -> Float64:
    return pair_accuracy(table.pairs.per_query().astype(np.float64))


def _auc(table: Table, _: int | None) -> Float64:
    return ranking.auc(table.scored, table.relevant)


_Build = Callable[[str, Table, "int | None"], Statistic]
_WITHOUT_CUT: dict[str, _Build] = {
    "pnr": partial(_pooled, ratio, "none"),
    "pnr_ties_ignored": partial(_pooled, partial(ratio, ties="ignore"), "none"),
    "pnr_ties_discordant": partial(_pooled, partial(ratio, ties="discordant"), "none"),
    "pnr_weighted": partial(_pooled, ratio, "grade_gap"),
    "pair_accuracy": partial(_per_query, _macro),
    "auc": partial(_per_query, _auc),
}
_WITH_CUT: dict[str, _Build] = {
    "ndcg_exp": partial(_per_query, lambda t, k: ranking.ndcg_exp(t.ranking, k)),
    "ndcg_linear": partial(_per_query, lambda t, k: ranking.ndcg_linear(t.ranking, k)),
    "map": partial(_per_query, lambda t, k: ranking.average_precision(t.ranking, t.relevant, k)),
    "mrr": partial(_per_query, lambda t, k: ranking.reciprocal_rank(t.ranking, t.relevant, k)),
    "recall": partial(_per_query, lambda t, k: ranking.recall(t.ranking, t.relevant, k)),
    "precision": partial(_per_query, lambda t, k: ranking.precision(t.ranking, t.relevant, k)),
    "err": partial(_per_query, lambda t, k: ranking.err(t.ranking, k, max_grade=t.max_grade)),
}
#: Every measure; those in the second line may carry a cut-off.
MEASURES = (*_WITHOUT_CUT, *_WITH_CUT)


def check_measures(names: Sequence[str]) -> None:
    """Check names of measures before any work is done.

    Raises:
        ConfigError: a name is unknown, or has a cut-off and may not.
    """
    for name in names:
        _find(name)


def compute(name: str, table: Table) -> Statistic:
    """Give a measure of a table.

    Raises:
        ConfigError: the name is unknown, or the measure cannot take the grades of this table.
    """
    build, k = _find(name)
    try:
        return build(name, table, k)
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from error


def _find(name: str) -> tuple[_Build, int | None]:
    parts = _NAME.fullmatch(name)
    if parts and parts[2] is None and parts[1] in MEASURES:
        return (_WITHOUT_CUT | _WITH_CUT)[parts[1]], None
    if parts and parts[1] in _WITH_CUT:
        return _WITH_CUT[parts[1]], int(parts[2])
    if parts and parts[1] in _WITHOUT_CUT:
        raise ConfigError(f"{name}: '{parts[1]}' looks at whole lists and takes no cut-off")
    bare = parts[1] if parts else name
    near = ("ndcg_exp", "ndcg_linear") if bare == "ndcg" else get_close_matches(bare, MEASURES, n=1)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(MEASURES)}"
    raise ConfigError(f"{name}: no such measure; {hint}")
