"""The forward index: vectors of documents by id, published in whole generations."""

from mmsearch.index.forward import ForwardIndex, Version
from mmsearch.index.generation import GenerationWriter
from mmsearch.index.stored import Stored

__all__ = ["ForwardIndex", "GenerationWriter", "Stored", "Version"]
