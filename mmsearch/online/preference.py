"""Which ranker the searchers of an interleaving experiment preferred, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmsearch.errors import DataError
from mmsearch.metrics.scored import Float64
from mmsearch.metrics.significance import (
    Interval,
    detectable_difference,
    percentile_interval,
    randomisation_test,
    resample,
)
from mmsearch.metrics.statistic import mean_of
from mmsearch.online.sessions import Gain, Sessions

#: The ranker that a shown video is owed to, by session, query and video.
Teams = Mapping[tuple[str, str, str], str]


@dataclass(frozen=True, slots=True)
class Preference:
    """What the sessions of an interleaving experiment say.

    Args:
        a: name of one ranker.
        b: name of the other.
        wins_a: sessions in which `a` got more credit.
        wins_b: sessions in which `b` got more.
        ties: sessions with equal credit, without any click for example.
        preference: (wins_a - wins_b) / sessions, -1 to 1; above 0 speaks for `a`. Half of it is the Delta_AB of
            Chapelle et al. 2012.
        interval: 95 % percentile interval of the preference, sessions drawn again.
        p_value: two-sided, of the randomisation test that swaps the rankers within sessions (a sign test).
        sessions_needed: about how many such sessions show a true preference of this size with power 0.8.
    """

    a: str
    b: str
    wins_a: int
    wins_b: int
    ties: int
    preference: float
    interval: Interval
    p_value: float
    sessions_needed: float


def credits_by_team(sessions: Sessions, teams: Teams, names: Sequence[str], gain: Gain) -> Float64:
    """Give the credit of every ranker in every session, [sessions, names].

    Args:
        sessions: the click log.
        teams: whom each shown video is owed to; videos that are not there are nobody's.
        names: the rankers.
        gain: what counts, see `mmsearch.online.sessions`.

    Raises:
        DataError: nothing that was shown is owed to any of the rankers: keys or names are written otherwise.
    """
    place = {name: column for column, name in enumerate(names)}
    credit, owed = np.zeros((len(sessions), len(names))), False
    for number, (session, rows) in enumerate(sessions.items()):
        for row in rows:
            column = place.get(teams.get((session, row.query, row.doc_id), ""))
            if column is not None:
                credit[number, column] += gain(row)
                owed = True
    if sessions and not owed:  # or every session would be a tie
        raise DataError(
            f"no shown video of {len(sessions):,} sessions is owed to any of {', '.join(names)}; teams are by "
            f"(session_id, query, doc_id) as the log writes them: theirs begin with {next(iter(teams), None)!r}"
        )
    return credit


def prefer(
    a: str, b: str, credit_a: Float64, credit_b: Float64, *, resamples: int = 1_000, seed: int = 0
) -> Preference:
    """Say which of two rankers won more sessions.

    Args:
        a: name of one ranker.
        b: name of the other.
        credit_a: its credit by session, [sessions].
        credit_b: that of the other, [sessions].
        resamples: bootstrap samples; ten times as many random swaps.
        seed: of the random numbers.

    Raises:
        ValueError: there is no session, or the two differ in number.
    """
    if len(credit_a) != len(credit_b) or len(credit_a) == 0:
        raise ValueError(f"credit of {len(credit_a)} and {len(credit_b)} sessions; the same ones are needed")
    won = [mean_of(a, (credit_a > credit_b).astype(np.float64)), mean_of(b, (credit_b > credit_a).astype(np.float64))]
    of_a, of_b = resample(won, resamples=resamples, seed=seed)
    preference = won[0].value - won[1].value
    detectable = detectable_difference(of_a - of_b)
    wins_a, wins_b = (int(one.counts[:, 0].sum()) for one in won)
    return Preference(
        a,
        b,
        wins_a,
        wins_b,
        len(credit_a) - wins_a - wins_b,
        preference,
        percentile_interval(of_a - of_b),
        randomisation_test(*won, permutations=10 * resamples, seed=seed),
        len(credit_a) * (detectable / preference) ** 2 if preference else math.inf,
    )
