"""What a language model has to offer, and how it fails."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mmsearch.errors import MmsearchError

#: What servers say when a prompt does not fit into the context.
TOO_LONG = re.compile(r"context[ _](?:length|size|window)|too long|too many tokens", re.IGNORECASE)


class ModelUnavailableError(MmsearchError):
    """The model gave no answer: unreachable, overloaded, or too slow, after all tries. Asking later may help."""


class ModelRefusedError(MmsearchError):
    """The model does not take this request. Asking it again as it is set now would not help."""


class PromptTooLongError(ModelRefusedError):
    """The request does not fit into the model's context; a shorter one may."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked: its instructions, and the data that they speak of."""

    system: str
    user: str


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer, and what it cost in tokens."""

    text: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Likelihood:
    """How likely a text is behind a prefix.

    Args:
        log_probability: natural logarithm of the text's probability divided by its tokens, at most 0.
        num_tokens: tokens of the prefix and the text, for the bill.
    """

    log_probability: float
    num_tokens: int


class LanguageModel(Protocol):
    """A language model. Methods may be called from `concurrency` threads at a time."""

    #: Names the weights or the served model; part of what results are cached by.
    name: str
    #: How many calls are of use at the same time: 1 in process, more for a server.
    concurrency: int

    def complete(self, prompt: Prompt, *, max_tokens: int, schema: Mapping[str, Any] | None = None) -> Completion:
        """Answer a prompt, by the likeliest token each time.

        Args:
            prompt: instructions and data.
            max_tokens: the answer is cut there.
            schema: JSON schema that the answer should follow, for models that can be held to one. Check the answer.

        Raises:
            ModelUnavailableError: no answer.
            ModelRefusedError: it does not take this prompt; `PromptTooLongError` where that is known to be why.
        """
        ...

    def log_probabilities(self, prefixes: Sequence[str], text: str) -> list[Likelihood]:
        """Give the mean log-probability of the tokens of `text` behind each prefix; neither is a chat.

        Raises:
            ModelUnavailableError, ModelRefusedError: as for `complete`.
            ConfigError: the model cannot tell probabilities of a given text.
        """
        ...

    def close(self) -> None:
        """Let go of connections and memory; where others still wait for an answer of a server, they get none."""
        ...
