"""The final ranker: LambdaMART on rank features and the user's own columns. No torch."""

from mmsearch.ranking.fitting import Fitted, fit
from mmsearch.ranking.page import render
from mmsearch.ranking.ranker import FinalRanker, RankerFile, check_free, write_ranker
from mmsearch.ranking.settings import RankSettings
from mmsearch.ranking.sources import Sources

__all__ = [
    "FinalRanker",
    "Fitted",
    "RankSettings",
    "RankerFile",
    "Sources",
    "check_free",
    "fit",
    "render",
    "write_ranker",
]
