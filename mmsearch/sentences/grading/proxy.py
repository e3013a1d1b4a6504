"""An automatic stand-in for grades of key sentences: cheap, and only as good as it correlates with people."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import nan

from mmsearch.sentences.frequencies import DocumentFrequencies
from mmsearch.sentences.split import split_sentences
from mmsearch.sentences.terms import Segmenter, terms_of

_PUNCTUATION = frozenset("'\"’‘“”,.!?;:-–—…()%&/，。！？、；：（）《》「」『』【】·～")


@dataclass(frozen=True, slots=True)
class Proxy:
    """What can be measured of key sentences without people. All values lie in [0, 1].

    Args:
        coverage: of the title's terms, see `coverage`. Methods that read the title work towards this very number: it
            tells little of them.
        held_out: of the words of the title that the method was not shown; NaN where the title has fewer than two
            terms that the transcript holds.
        redundancy: see `redundancy`; less is better.
        fluency: see `fluency`.
    """

    coverage: float
    held_out: float
    redundancy: float
    fluency: float

    @property
    def score(self) -> float:
        """Give one number: the plain mean of `held_out`, 1 - `redundancy`, and `fluency`; NaN with the first."""
        return (self.held_out + 1 - self.redundancy + self.fluency) / 3


def coverage(
    title: Iterable[str], transcript: Iterable[str], chosen: Iterable[str], frequencies: DocumentFrequencies
) -> float:
    """Give the share of the title's terms that the chosen sentences hold, weighted by IDF.

        sum of idf(t), t in title and transcript and chosen / sum of idf(t), t in title and transcript

    Terms are those of `terms_of`, each counted once. What is never said cannot be chosen and does not count; NaN where
    nothing of the title is said.
    """
    sayable = set(title) & set(transcript)
    total = sum(frequencies.idf(term) for term in sorted(sayable))
    return sum(frequencies.idf(term) for term in sorted(sayable & set(chosen))) / total if total else nan


def redundancy(sentences: Sequence[str], frequencies: DocumentFrequencies) -> float:
    """Give the share of what sentences hold that other ones of them hold too.

        1 - sum of idf(t) over the terms of all / sum of idf(t) over the terms of each

    Within a sentence a term counts once. 0 = no term stands in two sentences; k times the same sentence is 1 - 1/k.
    """
    held = Counter(term for sentence in sentences for term in set(terms_of(sentence, frequencies.segmenter)))
    total = sum(count * frequencies.idf(term) for term, count in sorted(held.items()))
    return 1 - sum(frequencies.idf(term) for term in sorted(held)) / total if total else 0.0


def fluency(sentences: Sequence[str], transcript: str, segmenter: Segmenter = "auto") -> float:
    """Give how much sentences read like sentences: whole * clean * (1 - stutter).

    whole: share of characters in sentences that are whole, that is, those of `split_sentences` without a bound on
    length; pieces of longer ones are not. clean: share of characters that are letters, digits, blanks or common
    punctuation. stutter: share of terms that repeat the term before. Nothing chosen is 0.
    """
    length = sum(map(len, sentences))
    if not length:
        return 0.0
    known = set(split_sentences(transcript, max(8, len(transcript))))
    whole = sum(len(sentence) for sentence in sentences if sentence in known) / length
    clean = sum(_is_clean(character) for sentence in sentences for character in sentence) / length
    pairs = [pair for sentence in sentences for pair in pairwise(terms_of(sentence, segmenter))]
    stutter = sum(one == following for one, following in pairs) / len(pairs) if pairs else 0.0
    return whole * clean * (1 - stutter)


def halves(title: str, frequencies: DocumentFrequencies) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give the different terms of a title, the first half and the second; each is held out while the other is shown.

    So what is measured is whether sentences chosen from one half of a title tell the other, and a method that copies
    the words that it was given gains nothing by it (two-fold cross-validation over the words of a title).
    """
    terms = tuple(dict.fromkeys(terms_of(title, frequencies.segmenter)))
    middle = (len(terms) + 1) // 2
    return terms[:middle], terms[middle:]


def held_out_coverage(
    title: str,
    transcript: Sequence[str],
    chosen_for: Sequence[Sequence[str]],
    frequencies: DocumentFrequencies,
) -> float:
    """Give the coverage of a title whose halves were held out in turn.

    Args:
        title: of the video.
        transcript: its terms.
        chosen_for: what was chosen when the first half was shown, and when the second was.
        frequencies: weights of terms.

    Returns:
        Mean of both `coverage`s; that of one where nothing of the other half is said; NaN where there are no two
        halves with a word that is said.
    """
    first, second = halves(title, frequencies)
    said = set(transcript)
    if not second:
        return nan
    found = []
    for hidden, sentences in zip((second, first), chosen_for, strict=True):
        chosen = [term for sentence in sentences for term in terms_of(sentence, frequencies.segmenter)]
        if said & set(hidden):
            found.append(coverage(hidden, said, chosen, frequencies))
    return sum(found) / len(found) if found else nan


def _is_clean(character: str) -> bool:
    return character == " " or character in _PUNCTUATION or unicodedata.category(character)[0] in "LNM"
