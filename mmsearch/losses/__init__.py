"""Losses. Each takes scores or embeddings and gives a scalar."""

from mmsearch.losses.contrastive import info_nce, info_nce_rows
from mmsearch.losses.distillation import embedding_distance
from mmsearch.losses.ranking import listwise_softmax, num_graded_lists, num_graded_pairs, pairwise_logistic

__all__ = [
    "embedding_distance",
    "info_nce",
    "info_nce_rows",
    "listwise_softmax",
    "num_graded_lists",
    "num_graded_pairs",
    "pairwise_logistic",
]
