"""Multimodal video search ranking: train the towers, refresh the vectors, score the candidates, measure on grades."""

__version__ = "0.1.0.dev0"
