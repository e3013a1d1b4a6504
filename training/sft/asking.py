"""From pairs to examples: a model is taught what `select` asks when sentences are extracted, by the same code."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from mmsearch.errors import DataError
from mmsearch.sentences import DocumentFrequencies, SentenceSettings, answer_of, select_prompt
from mmsearch.sentences.asked import shown_numbers
from mmsearch.sentences.models.by_transformers import prompt_ids
from training.sft.examples import Example
from training.sft.pairs import Pair

_log = logging.getLogger(__name__)


class ExampleMaker:
    """Make examples of pairs.

    Args:
        tokenizer: of the model.
        settings: how sentences are shown, and the budget.
        frequencies: of the corpus; they decide what is shown of a transcript that is longer than a prompt.
        max_tokens: most tokens of an example.
    """

    def __init__(
        self, tokenizer: Any, settings: SentenceSettings, frequencies: DocumentFrequencies, max_tokens: int
    ) -> None:
        self._tokenizer, self._settings, self._frequencies = tokenizer, settings, frequencies
        self._max_tokens = max_tokens

    def make_all(self, pairs: Sequence[Pair], what: str) -> list[Example]:
        """Give the examples of the pairs that can be one; the log counts the others by what keeps them out.

        Raises:
            DataError: there are pairs, and none of them can be an example.
        """
        left_out: Counter[str] = Counter()
        examples = []
        for pair in pairs:
            made = self.make(pair)
            if isinstance(made, Example):
                examples.append(made)
            else:
                left_out[made] += 1
        told = "; ".join(f"{count} are left out: {reason}" for reason, count in left_out.most_common())
        if pairs and not examples:
            raise DataError(f"none of the {len(pairs)} pairs {what} can be used: {told}")
        if told:
            _log.warning("%d of %d pairs %s are used; %s", len(examples), len(pairs), what, told)
        return examples

    def make(self, pair: Pair) -> Example | str:
        """Give the example of a pair, or say why it can be none."""
        settings, sentences = self._settings, pair.sentences
        if sum(map(len, sentences)) + len(sentences) - 1 <= settings.max_chars:
            return "the whole transcript fits sentences.max_chars, and no model is asked"
        candidates = shown_numbers(pair.title, sentences, self._frequencies, settings)
        place = {number: at for at, number in enumerate(candidates, 1)}
        answer = [place[number] for number in pair.chosen if number in place]
        if not answer:
            return "no key sentence is among those that a prompt has room for (sentences.select.max_prompt_chars)"
        texts = [sentences[number] for number in candidates]
        prompt = select_prompt(pair.title, texts, settings.max_chars, settings.select)
        ids = tuple(prompt_ids(self._tokenizer, prompt))
        taught = (*self._tokenizer.encode(answer_of(answer), add_special_tokens=False), self._tokenizer.eos_token_id)
        if len(taught) > settings.select.max_answer_tokens:
            return "the answer is longer than sentences.select.max_answer_tokens"
        if len(ids) + len(taught) > self._max_tokens:
            return f"more than {self._max_tokens} tokens (model.max_tokens)"
        return Example(pair.name, ids, taught, len(texts), frozenset(answer))
