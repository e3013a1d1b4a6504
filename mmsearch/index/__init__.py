"""The forward index: vectors of documents by id, published in whole generations."""

from mmsearch.index.forward import ForwardIndex
from mmsearch.index.generation import GenerationWriter

__all__ = ["ForwardIndex", "GenerationWriter"]
