"""Language models: behind a server, in process by transformers, or from a GGUF file; chosen by `type`."""

from typing import Annotated

from pydantic import Tag

from mmsearch.config import by_type
from mmsearch.sentences.models.by_gguf import GgufModel, GgufModelSettings
from mmsearch.sentences.models.by_server import ServerModel, ServerModelSettings
from mmsearch.sentences.models.by_transformers import TransformersModel, TransformersModelSettings
from mmsearch.sentences.models.protocol import (
    Completion,
    LanguageModel,
    Likelihood,
    ModelRefusedError,
    ModelUnavailableError,
    Prompt,
    PromptTooLongError,
)

LanguageModelSettings = Annotated[
    Annotated[ServerModelSettings, Tag("openai")]
    | Annotated[TransformersModelSettings, Tag("transformers")]
    | Annotated[GgufModelSettings, Tag("gguf")],
    by_type("openai"),
]

__all__ = [
    "Completion",
    "GgufModel",
    "GgufModelSettings",
    "LanguageModel",
    "LanguageModelSettings",
    "Likelihood",
    "ModelRefusedError",
    "ModelUnavailableError",
    "Prompt",
    "PromptTooLongError",
    "ServerModel",
    "ServerModelSettings",
    "TransformersModel",
    "TransformersModelSettings",
]
