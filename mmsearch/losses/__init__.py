"""Losses. Each takes scores or embeddings and gives a scalar."""

from mmsearch.losses.contrastive import info_nce
from mmsearch.losses.distillation import embedding_distance
from mmsearch.losses.ranking import pairwise_logistic

__all__ = ["embedding_distance", "info_nce", "pairwise_logistic"]
