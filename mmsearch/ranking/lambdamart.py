"""LambdaMART by LightGBM, on top of a linear ranker: the one file that knows the library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmsearch.errors import ConfigError, DataError
from mmsearch.extras import require
from mmsearch.metrics import Scored, Table, compute
from mmsearch.metrics.ranking import MAX_EXPONENTIAL_GRADE
from mmsearch.metrics.scored import Float64, Int64
from mmsearch.ranking.linear import LinearRanker, fit_linear
from mmsearch.ranking.settings import Gain, RankSettings
from mmsearch.ranking.table import FeatureTable

#: Rows of a query, at most: a limit of LightGBM.
MAX_DOCS_PER_QUERY = 10_000
#: How LightGBM keeps the values.
_DATA = {"max_bin": 255, "feature_pre_filter": False, "verbosity": -1}


@dataclass(frozen=True, slots=True)
class Fit:
    """A fitted ranker.

    Args:
        text: the trees, as LightGBM writes them.
        linear: what they start from; None = nothing.
        num_rounds: number of trees.
        curve: the measure on the validation queries after each tree that was tried.
    """

    text: str
    linear: LinearRanker | None
    num_rounds: int
    curve: tuple[float, ...]


def gain_of(grade: int, gain: Gain) -> float:
    """Give what a grade is worth."""
    return float(2**grade - 1 if gain == "exponential" else grade)


def fit_trees(
    train: FeatureTable, validation: FeatureTable, names: Sequence[str], settings: RankSettings, seed: int
) -> Fit:
    """Fit LambdaMART (Burges 2010, From RankNet to LambdaRank to LambdaMART, MSR-TR-2010-82) on some features.

    Trees are added until the measure on the validation queries has not risen for `patience` of them; those up to the
    best one are kept. With `linear` they correct a linear ranker of the same features: the score is the sum of both.
    The same tables, settings and seed give the same ranker, whatever the number of threads.

    Args:
        train: graded pairs to learn from; queries of one grade teach nothing and are left out.
        validation: graded pairs that say when to stop.
        names: the features, at least one.
        settings: how to learn.
        seed: of the draws of rows and features.

    Raises:
        ConfigError: the measure cannot take these grades, or a grade is too high for the gain 2^grade - 1.
        DataError: a query has more documents than LightGBM takes, or no query has two grades.
    """
    lightgbm = require("lightgbm", extra="rank")
    usable = train.part(train.has_pairs)
    _check_tables(usable, validation)
    _check_measure(validation.rows, settings)
    levels = np.unique(np.concatenate([usable.rows.grades, validation.rows.grades]))
    gains = _gains(levels.tolist(), settings.gain)
    start = fit_linear(usable, names, l2=settings.linear_l2, seed=seed) if settings.linear else None
    data = _dataset(usable, names, levels, start)
    seen = validation.matrix(names)
    curve: list[float] = []
    booster = lightgbm.train(
        _parameters(settings, seed) | {"label_gain": gains, "lambdarank_truncation_level": _depth(usable, settings)},
        data,
        num_boost_round=settings.max_rounds,
        valid_sets=[_dataset(validation, names, levels, start, data)],
        feval=lambda scores, _: _measure(validation.rows, _known(seen, scores), settings, curve),
        callbacks=[lightgbm.early_stopping(settings.patience, verbose=False)],
    )
    rounds = max(1, booster.best_iteration)
    return Fit(booster.model_to_string(num_iteration=rounds), start, rounds, tuple(curve))


class Trees:
    """Fitted trees, and the linear ranker that they correct. Safe for threads.

    Args:
        text: the trees, as LightGBM writes them.
        linear: what they start from; None = nothing.

    Raises:
        DataError: LightGBM cannot read the text.
    """

    def __init__(self, text: str, linear: LinearRanker | None) -> None:
        lightgbm = require("lightgbm", extra="rank")
        try:
            self._booster: Any = lightgbm.Booster(model_str=text)
        except lightgbm.basic.LightGBMError as error:
            raise DataError(f"LightGBM cannot read the trees: {error}") from error
        self._linear = linear

    @property
    def names(self) -> tuple[str, ...]:
        """The features, in the order of the columns."""
        return tuple(self._booster.feature_name())

    def score(self, values: Float64) -> Float64:
        """Give the score of every row of [rows, features]: higher = better, without a bound; NaN is a missing value.

        A row of which all are missing has no score: NaN.
        """
        if not len(values):
            return np.zeros(0)
        scores = self._booster.predict(values, num_threads=1)
        return _known(values, scores if self._linear is None else self._linear.score(values) + scores)

    def contributions(self, values: Float64) -> Float64:
        """Give what each feature adds to the score of each row, up to a constant, [rows, features].

        Of the trees it is the SHAP value (arXiv:1802.03888).
        """
        found = np.asarray(self._booster.predict(values, pred_contrib=True, num_threads=1), np.float64)[:, :-1]
        return found if self._linear is None else found + self._linear.contributions(values)


def _dataset(
    table: FeatureTable, names: Sequence[str], levels: Int64, start: LinearRanker | None, like: Any = None
) -> Any:
    """Give a data set of LightGBM; of the validation: cut into bins `like` the other one."""
    values = table.matrix(names)
    return require("lightgbm", extra="rank").Dataset(
        values,
        np.searchsorted(levels, table.rows.grades),
        group=table.group_sizes,
        init_score=None if start is None else start.score(values),
        feature_name=list(names),
        reference=like,
        params=_DATA,
    )


def _known(values: Float64, scores: Float64) -> Float64:
    return np.where(np.isnan(values).all(axis=1), np.nan, scores)


def _parameters(settings: RankSettings, seed: int) -> dict[str, Any]:
    return _DATA | {
        "objective": "lambdarank",
        "metric": "None",
        "lambdarank_norm": settings.even_queries,
        "learning_rate": settings.learning_rate,
        "num_leaves": settings.num_leaves,
        "min_data_in_leaf": settings.min_docs_per_leaf,
        "lambda_l2": settings.l2,
        "feature_fraction": settings.feature_share,
        "bagging_fraction": settings.row_share,
        "bagging_freq": 1,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": settings.num_threads,
    }


def _check_tables(train: FeatureTable, validation: FeatureTable) -> None:
    for name, table in (("training", train), ("validation", validation)):
        if not table.has_pairs.any():
            raise DataError(f"no {name} query has videos of two grades: there is no order to learn; give more grades")
    sizes = train.group_sizes
    most = int(np.argmax(sizes))
    if sizes[most] > MAX_DOCS_PER_QUERY:
        raise DataError(
            f"query {train.rows.queries[most]!r} has {sizes[most]:,} judgments, and LightGBM takes at most "
            f"{MAX_DOCS_PER_QUERY:,} of a query; leave some of the irrelevant ones out"
        )


def _check_measure(rows: Scored, settings: RankSettings) -> None:
    value = _value(rows, np.zeros(len(rows)), settings)
    if not math.isfinite(value):
        raise ConfigError(
            f"measure: '{settings.measure}' has no value on the validation queries; set another one, or relevant=1"
        )


def _gains(levels: Sequence[int], gain: Gain) -> list[float]:
    if gain == "exponential" and levels[-1] > MAX_EXPONENTIAL_GRADE:
        raise ConfigError(
            f"grade {levels[-1]} is too high for the gain 2^grade - 1; set gain=linear, or map the grades"
        )
    return [gain_of(level, gain) for level in levels]


def _depth(train: FeatureTable, settings: RankSettings) -> int:
    return settings.truncation or max(train.group_sizes)


def _measure(rows: Scored, scores: Float64, settings: RankSettings, curve: list[float]) -> tuple[str, float, bool]:
    curve.append(_value(rows, scores, settings))
    return settings.measure, curve[-1], True


def _value(rows: Scored, scores: Float64, settings: RankSettings) -> float:
    table = Table(rows.with_scores(scores), relevant=settings.relevant or 1)
    return compute(settings.measure, table).value
