"""A linear ranker: what the trees start from, and correct."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from mmsearch.metrics.scored import Float64, Int64, Scored
from mmsearch.ranking.table import FeatureTable

#: Pairs that are learned from, at most; more are drawn.
MAX_PAIRS = 200_000
_MAX_STEPS = 50
_DIGITS = 6


class LinearRanker(BaseModel):
    """Weights of standardised features; a missing one counts as the mean.

    Each tuple has a number for every feature, in their order.
    """

    model_config = ConfigDict(frozen=True)

    weights: tuple[float, ...]
    """What one standard deviation of a feature adds to the score."""
    means: tuple[float, ...]
    """Of the values that were learned from."""
    deviations: tuple[float, ...]
    """Of the same; 1 where there was none."""

    def contributions(self, values: Float64) -> Float64:
        """Give what each feature adds to the score of each row, [rows, features]."""
        features = _standardised(values, np.array(self.means), np.array(self.deviations))
        return np.asarray(features * np.array(self.weights))

    def score(self, values: Float64) -> Float64:
        """Give the score of each row, [rows]."""
        return np.asarray(self.contributions(values).sum(axis=1))


def fit_linear(train: FeatureTable, names: Sequence[str], *, l2: float, seed: int) -> LinearRanker:
    """Fit the pairwise logistic loss: RankNet (Burges et al. 2005, Learning to rank using gradient descent) without a
    hidden layer.

    Over pairs of videos of a query, the first with the better grade: mean of log(1 + exp(score of the second - score of
    the first)), times the number of rows, plus l2/2 times the squares of the weights. It is convex; Newton's method
    finds its one minimum. Numbers are rounded to six digits, so that they do not depend on threads of linear algebra.

    Args:
        train: graded pairs; queries of one grade teach nothing.
        names: the features.
        l2: above 0; 1 weighs as much as about one graded video.
        seed: of the draw of `MAX_PAIRS` pairs where there are more.
    """
    values = train.matrix(names)
    means, deviations = _moments(values)
    features = _standardised(values, means, deviations)
    better, worse = _pairs(train.rows, seed)
    weights = _minimise(features[better] - features[worse], len(train.rows), l2)
    return LinearRanker(weights=_plain(weights), means=_plain(means), deviations=_plain(deviations))


def _moments(values: Float64) -> tuple[Float64, Float64]:
    """Give the mean and standard deviation of every feature where it is known; 0 and 1 where it never is."""
    known = ~np.isnan(values)
    counts = np.maximum(1, known.sum(axis=0))
    means = np.where(known, values, 0).sum(axis=0) / counts
    spread = np.sqrt((np.where(known, values - means, 0) ** 2).sum(axis=0) / counts)
    tiny = 1e-9 * np.maximum(1e-9, np.abs(means))
    return np.asarray(means), np.asarray(np.where(spread > tiny, spread, 1))


def _standardised(values: Float64, means: Float64, deviations: Float64) -> Float64:
    return np.where(np.isnan(values), 0, (values - means) / deviations)


def _pairs(rows: Scored, seed: int) -> tuple[Int64, Int64]:
    """Give the better and the worse row of pairs: of all, or of as many as are drawn."""
    sizes = np.diff(rows.starts, append=len(rows))
    chances = sizes * (sizes - 1) / 2
    if chances.sum() <= MAX_PAIRS:
        found = [start + np.stack(np.triu_indices(size, 1)) for start, size in zip(rows.starts, sizes, strict=True)]
        first, second = np.concatenate(found, axis=1)
    else:
        rng = np.random.default_rng(seed)
        query = rng.choice(len(sizes), MAX_PAIRS, p=chances / chances.sum())
        one = rng.integers(sizes[query])
        other = (one + 1 + rng.integers(sizes[query] - 1)) % sizes[query]
        first, second = rows.starts[query] + one, rows.starts[query] + other
    gap = rows.grades[first] - rows.grades[second]
    better, worse = np.where(gap > 0, first, second), np.where(gap > 0, second, first)
    return better[gap != 0], worse[gap != 0]


def _minimise(differences: Float64, num_rows: int, l2: float) -> Float64:
    """Give the weights of least loss, see `fit_linear`."""
    scale = num_rows / max(1, len(differences))

    def loss(weights: Float64) -> float:
        return float(scale * np.logaddexp(0, -(differences @ weights)).sum() + l2 / 2 * weights @ weights)

    weights = np.zeros(differences.shape[1])
    for _ in range(_MAX_STEPS):
        wrong = 1 / (1 + np.exp(np.minimum(differences @ weights, 700)))
        slope = l2 * weights - scale * differences.T @ wrong
        bend = scale * (differences.T * (wrong * (1 - wrong))) @ differences + l2 * np.eye(len(weights))
        step, length = np.linalg.solve(bend, slope), 1.0
        while length > 1e-6 and loss(weights - length * step) > loss(weights):
            length /= 2
        weights = weights - length * step
        if np.abs(length * step).max(initial=0) < 1e-9:
            break
    return weights


def _plain(values: Float64) -> tuple[float, ...]:
    return tuple(float(f"{value:.{_DIGITS}g}") for value in values)
