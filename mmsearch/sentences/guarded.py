"""A language model behind a circuit breaker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmsearch.sentences.breaker import Breaker
from mmsearch.sentences.models import Completion, LanguageModel, Likelihood, Prompt


class GuardedModel:
    """Asks another model through a breaker: so an outage is waited out, and what a cache holds is no answer.

    Args:
        model: it is not closed here.
        breaker: of that model.
    """

    def __init__(self, model: LanguageModel, breaker: Breaker) -> None:
        self._model, self._breaker = model, breaker
        self.name, self.concurrency = model.name, model.concurrency

    def complete(self, prompt: Prompt, *, max_tokens: int, schema: Mapping[str, Any] | None = None) -> Completion:
        """Answer a prompt; see `LanguageModel`, and `Breaker.call` for errors."""
        return self._breaker.call(lambda: self._model.complete(prompt, max_tokens=max_tokens, schema=schema))

    def log_probabilities(self, prefixes: Sequence[str], text: str) -> list[Likelihood]:
        """Give the mean log-probability of a text behind each prefix; see `complete`."""
        return self._breaker.call(lambda: self._model.log_probabilities(prefixes, text))

    def close(self) -> None:
        """Let all that waits for the model fail."""
        self._breaker.stop()
