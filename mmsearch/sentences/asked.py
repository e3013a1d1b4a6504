"""Ask a model about one transcript: shorten it, look into the cache, ask, choose within the budget."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mmsearch.files import hash_bytes
from mmsearch.sentences import ask_likelihood, ask_select
from mmsearch.sentences.cache import AnswerCache
from mmsearch.sentences.diverse import choose_diverse, without_worst
from mmsearch.sentences.frequencies import DocumentFrequencies
from mmsearch.sentences.greedy import Ranked, weigh
from mmsearch.sentences.models.protocol import LanguageModel, PromptTooLongError
from mmsearch.sentences.settings import SentenceSettings
from mmsearch.sentences.shown import shown

_NUMBERING_CHARS = 14
_HALVINGS = 2


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking: numbers of sentences, or none and the `problem`; and the cost, 0 from the cache."""

    method: Literal["select", "likelihood"]
    numbers: tuple[int, ...]
    problem: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0


def ask(
    model: LanguageModel,
    title: str | None,
    sentences: Sequence[str],
    frequencies: DocumentFrequencies,
    settings: SentenceSettings,
    cache: AnswerCache | None = None,
) -> Asked:
    """Choose key sentences with a model, by the settings' method.

    What is kept in the cache is what the model said of the sentences that it was shown, by a hash of all that it was
    asked. So a changed weight of the greedy choice costs nothing, unless other sentences are shown for it.
    """
    if settings.method == "select":
        return _select_what_fits(model, title, sentences, frequencies, settings, cache)
    if not shown(title or "", 1):
        return Asked("likelihood", (), "likelihood needs a title, and there is none")
    ranked = weigh(title or "", sentences, frequencies, settings.greedy)
    return _likelihood(model, title or "", sentences, ranked, settings, cache)


def shown_numbers(
    title: str | None, sentences: Sequence[str], frequencies: DocumentFrequencies, settings: SentenceSettings
) -> list[int]:
    """Give the numbers of the sentences that a `select` prompt has room for, ascending: all, or the greedy choice."""
    wanted = settings.select
    ranked = weigh(title or "", sentences, frequencies, settings.greedy)
    costs = [min(len(sentence), wanted.max_shown_chars) + _NUMBERING_CHARS for sentence in sentences]
    budget, redundancy = wanted.max_prompt_chars, settings.greedy.redundancy
    return sorted(choose_diverse(ranked.relevance, ranked.vectors, costs, budget, redundancy))


def _select_what_fits(
    model: LanguageModel,
    title: str | None,
    sentences: Sequence[str],
    frequencies: DocumentFrequencies,
    settings: SentenceSettings,
    cache: AnswerCache | None,
) -> Asked:
    """Ask, and where the prompt is too long for the model, with a half and then a quarter of the characters."""
    for room in (settings.select.max_prompt_chars >> shift for shift in range(_HALVINGS + 1)):
        fewer = settings.select.model_copy(update={"max_prompt_chars": room})
        shorter = settings.model_copy(update={"select": fewer})
        candidates = shown_numbers(title, sentences, frequencies, shorter)
        try:
            return _select(model, title, sentences, candidates, settings, cache)
        except PromptTooLongError:
            if room >> 1 < settings.select.max_prompt_chars >> _HALVINGS:
                raise
    raise PromptTooLongError("no room was allowed")


def _select(
    model: LanguageModel,
    title: str | None,
    sentences: Sequence[str],
    candidates: Sequence[int],
    settings: SentenceSettings,
    cache: AnswerCache | None,
) -> Asked:
    wanted = settings.select
    texts = [sentences[number] for number in candidates]
    key = _key(ask_select.PROMPT_VERSION, model.name, title, texts, settings.max_chars, wanted.model_dump_json())
    kept = cache.get(key) if cache else None
    if kept is not None and _fits(kept.numbers, texts, settings.max_chars):
        return Asked("select", tuple(candidates[int(number)] for number in kept.numbers), kept.problem)
    picked = ask_select.pick(model, title, texts, settings.max_chars, wanted)
    if cache:
        cache.put(key, picked.numbers, picked.problem)
    numbers = tuple(candidates[number] for number in picked.numbers)
    return Asked("select", numbers, picked.problem, picked.prompt_tokens, picked.completion_tokens)


def _likelihood(
    model: LanguageModel,
    title: str,
    sentences: Sequence[str],
    ranked: Ranked,
    settings: SentenceSettings,
    cache: AnswerCache | None,
) -> Asked:
    wanted, endless = settings.likelihood, [0] * len(sentences)
    redundancy = settings.greedy.redundancy
    best = choose_diverse(ranked.relevance, ranked.vectors, endless, math.inf, redundancy, wanted.max_candidates)
    candidates = sorted(best)
    texts = [sentences[number] for number in candidates]
    key = _key(ask_likelihood.PROMPT_VERSION, model.name, title, texts, wanted.max_shown_chars)
    kept, tokens = cache.get(key) if cache else None, 0
    if kept is not None and len(kept.numbers) == len(texts) and all(map(math.isfinite, kept.numbers)):
        gains = kept.numbers
    else:
        weighed = ask_likelihood.weigh_by_likelihood(model, title, texts, wanted)
        gains, tokens = weighed.gains, weighed.prompt_tokens
        if not all(map(math.isfinite, gains)):
            return Asked("likelihood", (), "the model told likelihoods that are no numbers", tokens)
        if cache:
            cache.put(key, gains)
    vectors = [ranked.vectors[number] for number in candidates]
    lengths = [len(text) for text in texts]
    relevance = without_worst(ask_likelihood.relevance_of(gains), wanted.min_relevance)
    chosen = choose_diverse(relevance, vectors, lengths, settings.max_chars, wanted.redundancy)
    return Asked("likelihood", tuple(candidates[number] for number in chosen), None, tokens)


def _key(*asked: object) -> str:
    return hash_bytes(json.dumps(asked, ensure_ascii=True).encode())


def _fits(numbers: Sequence[float], texts: Sequence[str], budget: int) -> bool:
    """Check what the cache gave as strictly as an answer: the file may come from anywhere."""
    whole = all(number == int(number) and 0 <= number < len(texts) for number in numbers if math.isfinite(number))
    if not whole or not all(map(math.isfinite, numbers)) or len(set(numbers)) < len(numbers):
        return False
    return sum(len(texts[int(number)]) + 1 for number in numbers) - 1 <= budget
