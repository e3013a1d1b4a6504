"""The settings of key sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from mmsearch.config import Settings
from mmsearch.sentences.ask_likelihood import LikelihoodSettings
from mmsearch.sentences.ask_select import SelectSettings
from mmsearch.sentences.greedy import GreedySettings
from mmsearch.sentences.models import LanguageModelSettings
from mmsearch.sentences.terms import Segmenter

Method = Literal["greedy", "select", "likelihood"]


class SentenceSettings(Settings):
    """How the key sentences of a transcript are chosen."""

    method: Method = "greedy"
    """`greedy`: by terms, no model. `select`: a capable model picks numbers. `likelihood`: a small model weighs."""
    max_chars: int = Field(200, ge=8)
    """Budget: most characters of the key sentences of a video together, line ends between them included."""
    max_sentence_chars: int = Field(160, ge=8)
    """Longer sentences are cut; at most the budget, which is its default where that is smaller."""
    max_transcript_chars: int = Field(500_000, ge=8)
    """What lies behind is not read."""
    segmenter: Segmenter = "auto"
    """How Chinese becomes words: `jieba`, `bigrams`, or `auto` (jieba where it is installed)."""
    frequencies: Path | None = None
    """Document frequencies counted before (JSON); null = they are counted over the table at hand."""
    greedy: GreedySettings = GreedySettings()
    """Weights of the greedy choice: the baseline, the fallback, and what shortens a transcript for a model."""
    select: SelectSettings = SelectSettings()
    """How a model is asked to pick."""
    likelihood: LikelihoodSettings = LikelihoodSettings()
    """How a model is asked to weigh."""
    model: LanguageModelSettings | None = None
    """The language model of `select` and `likelihood`."""
    on_model_failure: Literal["greedy", "stop"] = "greedy"
    """A model that does not answer in the end: `greedy` sentences for that video, noted, or the end of the run."""
    give_up_after_s: float = Field(300.0, ge=0, le=86_400, allow_inf_nan=False)
    """Seconds that videos wait for a model which answers nobody; then they fall back, or the run ends."""
    cache: Path | None = None
    """SQLite file that keeps what a model chose, so that a run goes on where it ended; null = none."""

    @model_validator(mode="before")
    @classmethod
    def _with_small_budget(cls, given: Any) -> Any:
        """Let a budget below the default length of a sentence stand alone."""
        if not isinstance(given, dict) or "max_sentence_chars" in given or not isinstance(given.get("max_chars"), int):
            return given
        least, longest = 8, cls.model_fields["max_sentence_chars"].default
        return given | {"max_sentence_chars": given["max_chars"]} if least <= given["max_chars"] < longest else given

    @model_validator(mode="after")
    def _fits(self) -> SentenceSettings:
        if self.max_sentence_chars > self.max_chars:
            told = f"max_sentence_chars ({self.max_sentence_chars}) must not exceed max_chars ({self.max_chars})"
            raise ValueError(f"{told}, or a sentence might never fit the budget")
        if self.method != "greedy" and self.model is None:
            raise ValueError(f"method '{self.method}' needs a model, such as model.type=gguf model.path=FILE")
        return self

    def for_record(self) -> dict[str, Any]:
        """Give the settings that the result depends on, as JSON values."""
        unused = {"cache", "on_model_failure", "give_up_after_s"}
        unused |= {"model", "select", "likelihood"} if self.method == "greedy" else set()
        return self.model_dump(mode="json", exclude=unused)
