"""Matching: query vectors against the codes of videos."""

from mmsearch.matching.cross import CrossEncoder, CrossEncoderSettings
from mmsearch.matching.poly import PolySettings, mean_code, paired_poly_scores, poly_scores

__all__ = ["CrossEncoder", "CrossEncoderSettings", "PolySettings", "mean_code", "paired_poly_scores", "poly_scores"]
