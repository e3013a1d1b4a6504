"""From a table's videos to a sheet: count terms and draw in one pass, then ask both methods."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mmsearch.errors import ConfigError, DataError
from mmsearch.sentences.extract import SpokenVideo
from mmsearch.sentences.frequencies import DocumentFrequencies, counted_text
from mmsearch.sentences.grading.answers import CUT, answers_of
from mmsearch.sentences.grading.sample import Balance, Sample, draw
from mmsearch.sentences.grading.sheet import Sheet, make_sheet
from mmsearch.sentences.models import LanguageModel
from mmsearch.sentences.settings import SentenceSettings
from mmsearch.sentences.terms import resolve_segmenter

#: How terms are counted: the segmenter, and the characters of a transcript that are read.
_Way = tuple[Literal["jieba", "bigrams"], int]


@dataclass(frozen=True, slots=True)
class Contender:
    """A method that is graded; settings None = `cut`."""

    name: str
    settings: SentenceSettings | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a sheet is made of, but for the videos.

    Args:
        contender: the method that is asked about.
        rival: what it is compared with.
        num_videos: how many are drawn.
        seed: of all draws.
        balance: of languages, see `draw`.
    """

    contender: Contender
    rival: Contender
    num_videos: int = 50
    seed: int = 0
    balance: Balance = "proportional"

    @property
    def budget(self) -> int:
        """Give the budget of `cut` in characters: that of the contender."""
        return (self.contender.settings or self.rival.settings or SentenceSettings()).max_chars

    def record(self) -> dict[str, Any]:
        """Give what the sheet depends on, as JSON values."""
        methods = {
            one.name: one.settings.for_record() if one.settings else {"max_chars": self.budget}
            for one in (self.contender, self.rival)
        }
        return {"num_videos": self.num_videos, "seed": self.seed, "balance": self.balance, "methods": methods}


def contenders(
    settings: SentenceSettings, rival: SentenceSettings | Literal["greedy", "cut"] | None = None
) -> tuple[Contender, Contender]:
    """Name two methods.

    Args:
        settings: of the method that is asked about.
        rival: settings of another, `greedy` (with the same settings otherwise), or `cut`; None = `greedy`, or `cut`
            where the settings say greedy already.

    Raises:
        ConfigError: both are the same.
    """
    if rival == "cut" or (rival is None and settings.method == "greedy"):
        return Contender(settings.method, _strict(settings)), Contender(CUT, None)
    other = rival if isinstance(rival, SentenceSettings) else settings.model_copy(update={"method": "greedy"})
    if other.for_record() == settings.for_record():
        raise ConfigError(f"both methods are '{settings.method}' with the same settings; compare with something else")
    name = other.method if other.method != settings.method else f"{other.method} (rival)"
    return Contender(settings.method, _strict(settings)), Contender(name, _strict(other))


def build_sheet(
    videos: Iterable[SpokenVideo],
    plan: Plan,
    made_from: Mapping[str, Any],
    models: Mapping[str, LanguageModel] | None = None,
) -> Sheet:
    """Draw videos, ask both methods and `cut`, and lay the answers out.

    A model that does not answer ends this, since a sheet of fallbacks would compare greedy with itself; with a `cache`
    the next try goes on.

    Args:
        videos: those of a table that have a transcript, read once.
        plan: methods and draw.
        made_from: as in `Sheet`.
        models: by the name of a method, instead of those that the settings name.

    Raises:
        DataError: there is no video whose key sentences could be graded.
        ModelUnavailableError, ConfigError, MissingExtraError: those of `KeySentenceExtractor`.
    """
    both = (plan.contender, plan.rival)
    counted = _counters([one.settings for one in both if one.settings])
    budget = max([plan.budget, *(one.settings.max_chars for one in both if one.settings)])
    sample = draw(
        _counting(videos, counted),
        plan.num_videos,
        seed=plan.seed,
        balance=plan.balance,
        longer_than=budget,
        max_transcript_chars=max(one.settings.max_transcript_chars for one in both if one.settings),
    )
    if not sample.videos:
        told = f"{sample.seen} with a transcript: {sample.untitled} without a title, {sample.short} within the budget"
        raise DataError(f"there is no video to grade: {told} of {budget} characters")
    weights = _frequencies(both[0].settings or both[1].settings or SentenceSettings(), counted)
    named = {one.name: one.settings for one in both} | {CUT: None}
    answers = {
        name: answers_of(
            sample.videos,
            settings,
            _frequencies(settings, counted) if settings else weights,
            weights,
            plan.budget,
            (models or {}).get(name),
        )
        for name, settings in named.items()
    }
    names = (plan.contender.name, plan.rival.name)
    return make_sheet(sample.videos, answers, names, seed=plan.seed, made_from=made_from, counts=_counts(sample))


def _strict(settings: SentenceSettings) -> SentenceSettings:
    return settings.model_copy(update={"on_model_failure": "stop"})


def _way(settings: SentenceSettings) -> _Way:
    return resolve_segmenter(settings.segmenter), settings.max_transcript_chars


def _counters(settings: Sequence[SentenceSettings]) -> dict[_Way, DocumentFrequencies]:
    wanted = {_way(one) for one in settings if one.frequencies is None}
    return {way: DocumentFrequencies(way[0]) for way in sorted(wanted)}


def _counting(videos: Iterable[SpokenVideo], counters: Mapping[_Way, DocumentFrequencies]) -> Iterator[SpokenVideo]:
    for video in videos:
        for (_, max_chars), counter in counters.items():
            counter.add(counted_text(video.title, video.transcript, max_chars))
        yield video


def _frequencies(settings: SentenceSettings, counted: Mapping[_Way, DocumentFrequencies]) -> DocumentFrequencies:
    if settings.frequencies is not None:
        return DocumentFrequencies.load(settings.frequencies)
    return counted[_way(settings)]


def _counts(sample: Sample) -> dict[str, Any]:
    return {
        "with_transcript": sample.seen,
        "untitled": sample.untitled,
        "short": sample.short,
        "eligible": dict(sample.eligible),
    }
