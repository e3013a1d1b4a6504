"""Ask a small model how likely the title is behind each sentence: it need not follow any instruction for that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import Field

from mmsearch.config import Settings
from mmsearch.sentences.models.protocol import LanguageModel
from mmsearch.sentences.shown import shown

#: Grows with every change of the words below; it is part of what results are cached by.
PROMPT_VERSION = "likelihood-1"

_LONGEST_TITLE = 200


class LikelihoodSettings(Settings):
    """How a model is asked to weigh sentences."""

    max_candidates: int = Field(24, ge=1)
    """Of a longer transcript, so many sentences that the greedy choice likes best are weighed: each costs one pass."""
    max_shown_chars: int = Field(300, ge=8)
    """Longer sentences are shown cut."""
    redundancy: float = Field(0.7, ge=0, le=1e6, allow_inf_nan=False)
    """What likeness to a chosen sentence costs; the best sentence is worth 1, the worst 0."""
    min_relevance: float = Field(0.1, ge=0, le=1)
    """What is worth less, between the worst and the best candidate, is not taken."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """What each sentence adds to the title's mean log-probability (nats a token), and the cost in tokens."""

    gains: tuple[float, ...]
    prompt_tokens: int


def weigh_by_likelihood(
    model: LanguageModel, title: str, sentences: Sequence[str], settings: LikelihoodSettings | None = None
) -> Weighed:
    """Give, for each sentence, mean log p(title | sentence) - mean log p(title | nothing).

    The second term is the same for all sentences of a video; it makes 0 mean "tells nothing about the title". Both
    are taken behind the same words, and see the texts as `shown` gives them.

    Raises:
        ValueError: the title holds nothing that can be shown.
        ModelUnavailableError, ModelRefusedError, ConfigError: those of the model.
    """
    settings = settings or LikelihoodSettings()
    text = shown(title, _LONGEST_TITLE)
    if not text:
        raise ValueError("a title is needed")
    prefixes = [likelihood_prefix(shown(sentence, settings.max_shown_chars)) for sentence in ("", *sentences)]
    nothing, *found = model.log_probabilities(prefixes, f" {text}")
    gains = tuple(one.log_probability - nothing.log_probability for one in found)
    return Weighed(gains, nothing.num_tokens + sum(one.num_tokens for one in found))


def likelihood_prefix(sentence: str) -> str:
    """Give the words before the title."""
    return f"{sentence}\nTitle:"


def relevance_of(gains: Sequence[float]) -> list[float]:
    """Map gains to [0, 1], the worst to 0 and the best to 1; all alike are 1."""
    low, high = min(gains, default=0.0), max(gains, default=0.0)
    return [(gain - low) / (high - low) if high > low else 1.0 for gain in gains]
