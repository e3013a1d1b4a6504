"""What each method answers for the videos of a sheet: its key sentences, and the proxy's measures of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mmsearch.sentences.extract import KeySentenceExtractor, KeySentences, SpokenVideo
from mmsearch.sentences.frequencies import DocumentFrequencies
from mmsearch.sentences.grading.proxy import Proxy, coverage, fluency, halves, held_out_coverage, redundancy
from mmsearch.sentences.models import LanguageModel
from mmsearch.sentences.settings import SentenceSettings
from mmsearch.sentences.split import split_sentences
from mmsearch.sentences.terms import terms_of

#: The name of the baseline that chooses nothing: the transcript from its beginning, as far as the budget goes.
CUT = "cut"


@dataclass(frozen=True, slots=True)
class Answer:
    """The key sentences of one video by one method.

    Args:
        sentences: verbatim, in the order of the transcript.
        chosen_by: what chose them, as in `KeySentences.method`; or `cut`.
        fallback: why that is not the method that was asked for.
        proxy: what the proxy says of them.
    """

    sentences: tuple[str, ...]
    chosen_by: str
    fallback: str | None
    proxy: Proxy


def answers_of(
    videos: Sequence[SpokenVideo],
    settings: SentenceSettings | None,
    frequencies: DocumentFrequencies,
    weights: DocumentFrequencies,
    budget: int,
    model: LanguageModel | None = None,
) -> list[Answer]:
    """Give a method's answers for some titled videos.

    A model is asked three times a video: with the title, and for the proxy with either half of the title's words.

    Args:
        videos: with titles.
        settings: of the method; None = `cut`.
        frequencies: what the method weighs terms by.
        weights: what the proxy weighs terms by: the same for all methods that are compared.
        budget: characters of `cut`.
        model: instead of the one that the settings name.

    Raises:
        ModelUnavailableError, ConfigError, MissingExtraError: those of `KeySentenceExtractor`.
    """
    asked = [shown for video in videos for shown in (video, *_half_titled(video, weights))]
    if settings is None:
        chosen = [_cut(video, budget) for video in asked]
    else:
        with KeySentenceExtractor(settings, frequencies, model) as extractor:
            chosen = list(extractor.extract(asked, total=len(asked)))
    return [
        _answer(video, whole, (first.sentences, second.sentences), weights, by_cut=settings is None)
        for video, whole, first, second in zip(videos, chosen[::3], chosen[1::3], chosen[2::3], strict=True)
    ]


def _half_titled(video: SpokenVideo, weights: DocumentFrequencies) -> list[SpokenVideo]:
    return [replace(video, title=" ".join(half) or None) for half in halves(video.title or "", weights)]


def _cut(video: SpokenVideo, budget: int) -> KeySentences:
    """Cut the transcript at the budget; split, so that it looks like the answers of other methods."""
    sentences = tuple(split_sentences(video.transcript.lstrip()[:budget], max(8, budget)))
    return KeySentences(video.doc_id, tuple(range(len(sentences))), sentences, "whole", None, len(sentences))


def _answer(
    video: SpokenVideo,
    chosen: KeySentences,
    for_halves: tuple[Sequence[str], Sequence[str]],
    weights: DocumentFrequencies,
    *,
    by_cut: bool,
) -> Answer:
    title, segmenter = video.title or "", weights.segmenter
    said = terms_of(video.transcript, segmenter)
    held = [term for sentence in chosen.sentences for term in terms_of(sentence, segmenter)]
    proxy = Proxy(
        coverage(terms_of(title, segmenter), said, held, weights),
        held_out_coverage(title, said, for_halves, weights),
        redundancy(chosen.sentences, weights),
        fluency(chosen.sentences, video.transcript, segmenter),
    )
    return Answer(chosen.sentences, CUT if by_cut else chosen.method, chosen.fallback, proxy)
