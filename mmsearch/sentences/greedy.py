"""Greedy key sentences, led by the title: the baseline, the fallback, and what shortens a transcript for a model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pydantic import Field

from mmsearch.config import Settings
from mmsearch.sentences.diverse import Vector, choose_diverse, without_worst
from mmsearch.sentences.frequencies import DocumentFrequencies
from mmsearch.sentences.function_words import FUNCTION_WORDS
from mmsearch.sentences.terms import terms_of

#: Sentences with fewer terms count as so long, or scraps would win by their shortness.
_FEW_TERMS = 8


class GreedySettings(Settings):
    """The weights of the greedy choice."""

    salience: float = Field(0.3, ge=0, le=1e6, allow_inf_nan=False)
    """What the transcript's most salient term counts, beside 1 for the weightiest of the title."""
    num_salient: int = Field(20, ge=0)
    """How many terms of the transcript are salient: of highest tf * idf, in two sentences or more."""
    closeness: float = Field(0.5, ge=0, le=1e6, allow_inf_nan=False)
    """What it adds that different terms of the title stand close together."""
    redundancy: float = Field(0.7, ge=0, le=1e6, allow_inf_nan=False)
    """What likeness to a chosen sentence costs; the best sentence is worth 1."""
    min_relevance: float = Field(0.1, ge=0, le=1)
    """What is worth less than this share of the best sentence is not taken, though the budget is not used up."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """The sentences of a transcript, weighed: `relevance` in [0, 1], 1 for the best, and `vectors` of term weights.

    What an earlier sentence says in the same words has the relevance -inf: it is never to be chosen.
    """

    relevance: Sequence[float]
    vectors: Sequence[Vector]


def weigh(
    title: str, sentences: Sequence[str], frequencies: DocumentFrequencies, settings: GreedySettings | None = None
) -> Ranked:
    """Weigh every sentence by the title's terms, their closeness, and the transcript's own terms.

    With u(t) = idf(t) for terms of the title, plus `salience` * (the highest of those) * tf(t) * idf(t) / max tf * idf
    for the `num_salient` terms of highest tf * idf (tf counts different sentences), and w the terms of sentence s:

        weight(s)    = sum of u(t) over the different terms t of s / sqrt(max(w, 8))
        closeness(s) = sum of min(u(a), u(b)) / d^2 over neighbouring, different title terms a, b of s, d terms apart
        relevance(s) = (weight(s) + closeness * closeness(s)) / the same of the best sentence

    Function words are no terms here, unless there are no others. The term proximity is that of Rasolofo and Savoy
    (ECIR 2003). Without a shared or salient term all are 0. A sentence of the same terms in the same order as an
    earlier one (of the same characters, where it has no terms) is never to be chosen: -inf.
    """
    settings = settings or GreedySettings()
    words = [terms_of(sentence, frequencies.segmenter) for sentence in sentences]
    titled = {term: frequencies.idf(term) for term in _telling(terms_of(title, frequencies.segmenter))}
    weights = _term_weights(titled, words, frequencies, settings)
    raw = []
    for found in words:
        weight = sum(weights.get(term, 0.0) for term in dict.fromkeys(found)) / max(len(found), _FEW_TERMS) ** 0.5
        raw.append(weight + settings.closeness * _closeness(found, titled))
    best = max(raw, default=0.0)
    vectors = [{term: frequencies.idf(term) for term in dict.fromkeys(found)} for found in words]
    relevance = [value / best if best > 0 else 0.0 for value in raw]
    again = _repeats(sentences, words)
    return Ranked([-math.inf if number in again else value for number, value in enumerate(relevance)], vectors)


def choose_greedy(
    title: str,
    sentences: Sequence[str],
    budget: int,
    frequencies: DocumentFrequencies,
    settings: GreedySettings | None = None,
) -> list[int]:
    """Give the numbers of the key sentences, in the order of the transcript, within a budget of characters.

    Sentences are taken by `choose_diverse` from the relevance of `weigh`; where nothing tells them apart, from the
    beginning. See there for both formulas. The result depends on the arguments alone.
    """
    settings = settings or GreedySettings()
    ranked = weigh(title, sentences, frequencies, settings)
    lengths = [len(sentence) for sentence in sentences]
    relevance = without_worst(ranked.relevance, settings.min_relevance)
    return sorted(choose_diverse(relevance, ranked.vectors, lengths, budget, settings.redundancy))


def _term_weights(
    titled: Mapping[str, float],
    words: Sequence[Sequence[str]],
    frequencies: DocumentFrequencies,
    settings: GreedySettings,
) -> dict[str, float]:
    different = {tuple(found) for found in words}  # speech recognition gone astray repeats a sentence many times
    counts = Counter(term for found in different for term in set(found))
    repeated = {term: counts[term] * frequencies.idf(term) for term in _telling(counts) if counts[term] > 1}
    salient = sorted(repeated, key=lambda term: (-repeated[term], term))[: settings.num_salient]
    scale = settings.salience * max(titled.values(), default=1.0) / max(repeated.values(), default=1.0)
    weights = dict(titled)
    for term in salient:
        weights[term] = weights.get(term, 0.0) + scale * repeated[term]
    return weights


def _repeats(sentences: Sequence[str], words: Sequence[Sequence[str]]) -> set[int]:
    """Give the numbers of the sentences that say what an earlier one says: speech recognition loops, choruses, ads."""
    first: dict[object, int] = {}
    said = [tuple(found) or sentence.strip() for sentence, found in zip(sentences, words, strict=True)]
    return {number for number, one in enumerate(said) if first.setdefault(one, number) != number}


def _telling(words: Iterable[str]) -> list[str]:
    """Leave out function words; where nothing else is there, they stay."""
    words = list(words)
    return [word for word in words if word not in FUNCTION_WORDS] or words


def _closeness(found: Sequence[str], titled: Mapping[str, float]) -> float:
    places = [(at, term) for at, term in enumerate(found) if term in titled]
    return sum(min(titled[a], titled[b]) / (there - here) ** 2 for (here, a), (there, b) in pairwise(places) if a != b)
