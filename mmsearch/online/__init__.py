"""Online evaluation: interleaving and A/B tests over a click log. Only NumPy is needed."""

from mmsearch.online.arms import ArmContrast, compare_arms, cuped, split_arms
from mmsearch.online.interleaving import Interleaved, balanced, balanced_credit, team_credit, team_draft
from mmsearch.online.preference import Preference, credits_by_team, prefer
from mmsearch.online.sessions import (
    LongClicks,
    by_session,
    clicks,
    gain_per_result,
    gain_per_session,
    success_rate,
    watch_seconds,
)

__all__ = [
    "ArmContrast",
    "Interleaved",
    "LongClicks",
    "Preference",
    "balanced",
    "balanced_credit",
    "by_session",
    "clicks",
    "compare_arms",
    "credits_by_team",
    "cuped",
    "gain_per_result",
    "gain_per_session",
    "prefer",
    "split_arms",
    "success_rate",
    "team_credit",
    "team_draft",
    "watch_seconds",
]
