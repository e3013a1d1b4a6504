"""What an extraction came to: who chose, what fell back, what it cost."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Tally:
    """Counts over all videos of an extractor; `unfinished` are the fallbacks for which the model can be asked again."""

    methods: Counter[str] = field(default_factory=Counter)
    fallbacks: Counter[str] = field(default_factory=Counter)
    unfinished: Counter[str] = field(default_factory=Counter)
    num_sentences: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def note(self) -> str:
        """Give pace and cost, for a progress bar."""
        pace = self.num_sentences / max(time.monotonic() - self.began, 1e-3)
        return f"{pace:,.0f} sentences/s, {self.prompt_tokens + self.completion_tokens:,} tokens"

    def report(self) -> None:
        """Log one line, and what fell back."""
        if not self.methods:
            return
        methods = dict(sorted(self.methods.items()))
        spent = {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens}
        counted = {"sentences": self.num_sentences, "fallbacks": dict(sorted(self.fallbacks.items()))}
        _log.log(
            logging.WARNING if self.fallbacks else logging.INFO,
            "key sentences of %d videos: %s; %d fell back to greedy%s; tokens: %d read, %d written",
            sum(methods.values()),
            listed(methods),
            self.fallbacks.total(),
            f" ({listed(self.fallbacks)})" if self.fallbacks else "",
            *spent.values(),
            extra={"fields": {"methods": methods} | counted | spent},
        )


def listed(counts: Mapping[str, int]) -> str:
    """Give counts as words: `greedy 3, select 5`."""
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
