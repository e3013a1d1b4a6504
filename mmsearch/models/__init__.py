"""Assemblies: the match model (document tower, teacher and student), its files, and what serving takes from it."""

from mmsearch.models.checkpoint import load_model, save_model
from mmsearch.models.document_encoder import load_document_encoder
from mmsearch.models.export import export_query_tower
from mmsearch.models.match import MatchModel
from mmsearch.models.settings import ModelSettings

__all__ = [
    "MatchModel",
    "ModelSettings",
    "export_query_tower",
    "load_document_encoder",
    "load_model",
    "save_model",
]
