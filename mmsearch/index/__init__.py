"""The forward index: vectors of documents by id, published in whole generations."""

from mmsearch.index.forward import ForwardIndex
from mmsearch.index.generation import GenerationWriter
from mmsearch.index.generations import GenerationInfo, collect, list_generations, serve
from mmsearch.index.stored import Stored, to_stored
from mmsearch.index.version import Version

__all__ = [
    "ForwardIndex",
    "GenerationInfo",
    "GenerationWriter",
    "Stored",
    "Version",
    "collect",
    "list_generations",
    "serve",
    "to_stored",
]
