"""Matching: query vectors against the codes of videos."""

from mmsearch.matching.poly import PolySettings, Selection, mean_code, paired_poly_scores, poly_scores

__all__ = ["PolySettings", "Selection", "mean_code", "paired_poly_scores", "poly_scores"]
