"""A/B tests: two groups of sessions, each of which saw one ranker."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmsearch.errors import DataError
from mmsearch.metrics.scored import Float64
from mmsearch.metrics.significance import Interval, detectable_difference, percentile_interval, resample
from mmsearch.metrics.statistic import Statistic
from mmsearch.online.sessions import Sessions
from mmsearch.types import Interaction

#: Cells of the matrix of random labels held at a time.
_BLOCK_CELLS = 4_000_000


@dataclass(frozen=True, slots=True)
class ArmContrast:
    """Two arms by one measure.

    Args:
        measure: its name.
        value_a: of one arm.
        value_b: of the other.
        difference: the measure of `a` minus that of `b`.
        interval: 95 % percentile interval of the difference, sessions drawn again within each arm.
        p_value: two-sided, of the randomisation test that draws the sessions' arms anew.
        detectable: least true difference that so many sessions show with power 0.8.
        num_sessions: sessions of `a` and of `b`.
    """

    measure: str
    value_a: float
    value_b: float
    difference: float
    interval: Interval
    p_value: float
    detectable: float
    num_sessions: tuple[int, int]

    @property
    def sessions_needed(self) -> float:
        """Give about how many sessions, of both arms together, show a true difference of this size with power 0.8."""
        if self.difference == 0:
            return math.inf
        return sum(self.num_sessions) * (self.detectable / self.difference) ** 2


def split_arms(sessions: Sessions, arms: Mapping[str, str]) -> dict[str, Sessions]:
    """Give the sessions of every arm.

    Args:
        sessions: the click log.
        arms: name of the arm by session.

    Raises:
        DataError: a session has no arm.
    """
    split: dict[str, dict[str, Sequence[Interaction]]] = {}
    for session, rows in sessions.items():
        if session not in arms:
            raise DataError(f"session '{session}' has no arm; name one for every session, or leave its rows out")
        split.setdefault(arms[session], {})[session] = rows
    return dict(split)


def compare_arms(
    a: Statistic, b: Statistic, *, resamples: int = 1_000, permutations: int = 2_000, seed: int = 0
) -> ArmContrast:
    """Compare a measure of two arms.

    The p-value is of the randomisation test: were the arms alike, any other draw of the arms would do as well, each
    session falling to `a` with the share that `a` has here.

    Args:
        a: the measure over the sessions of one arm.
        b: the same measure over those of the other.
        resamples: bootstrap samples of each arm.
        permutations: random draws of the arms. Cost: as many times the number of sessions.
        seed: of the random numbers.

    Raises:
        ValueError: an arm has no session.
    """
    if len(a.counts) == 0 or len(b.counts) == 0:
        raise ValueError("an arm has no session")
    [of_a] = resample([a], resamples=resamples, seed=2 * seed)
    [of_b] = resample([b], resamples=resamples, seed=2 * seed + 1)
    differences = of_a - of_b
    return ArmContrast(
        a.name,
        a.value,
        b.value,
        a.value - b.value,
        percentile_interval(differences),
        _relabelled(a, b, permutations, seed),
        detectable_difference(differences),
        (len(a.counts), len(b.counts)),
    )


def _relabelled(a: Statistic, b: Statistic, permutations: int, seed: int) -> float:
    rng = np.random.default_rng(seed)
    counts = np.concatenate([a.counts, b.counts])
    total, share = counts.sum(axis=0), len(a.counts) / len(counts)
    found = abs(a.value - b.value)
    block = max(1, _BLOCK_CELLS // len(counts))
    as_large = 0
    for start in range(0, permutations, block):
        size = (min(block, permutations - start), len(counts))
        one = (rng.random(size, dtype=np.float32) < share).astype(np.float64) @ counts
        differences = np.abs(a.combine(one) - b.combine(total - one))
        as_large += int(np.count_nonzero(~(differences < found * (1 - 1e-9))))
    return (as_large + 1) / (permutations + 1)


def cuped(values: Float64, covariate: Float64) -> Float64:
    """Take out of a measure what was known before the experiment: CUPED.

    y - theta (x - mean of x) with theta = cov(x, y) / var(x) (Deng, Xu, Kohavi & Walker 2013, Improving the sensitivity
    of online controlled experiments by utilizing pre-experiment data). The mean stays, the variance falls by the
    squared correlation. Adjust the sessions of both arms together, with one theta.

    Args:
        values: the measure by session, [S].
        covariate: known before the session was given its arm, such as the searcher's watch time last month, [S]; what
            the arm could have changed biases the result.

    Raises:
        ValueError: the two differ in length.
    """
    if len(values) != len(covariate):
        raise ValueError(f"{len(values)} values and {len(covariate)} of the covariate; one each is needed")
    centred = covariate - covariate.mean() if len(covariate) else covariate
    spread = float(centred @ centred)
    return np.asarray(values - (centred @ values / spread if spread > 0 else 0.0) * centred, dtype=np.float64)
