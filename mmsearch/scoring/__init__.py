"""Online scoring: rank features of a query and its candidates. No torch."""

from mmsearch.scoring.definitions import feature_definitions
from mmsearch.scoring.explanation import CodeScore, Explanation, FeatureExplanation, WhyMissing
from mmsearch.scoring.features import RankFeatures
from mmsearch.scoring.live import LiveScorer
from mmsearch.scoring.query_encoder import OnnxQueryEncoder
from mmsearch.scoring.scorer import FeatureScorer

__all__ = [
    "CodeScore",
    "Explanation",
    "FeatureExplanation",
    "FeatureScorer",
    "LiveScorer",
    "OnnxQueryEncoder",
    "RankFeatures",
    "WhyMissing",
    "feature_definitions",
]
