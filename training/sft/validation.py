"""How well a model picks the sentences of pairs that it does not learn from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from mmsearch.sentences.answer import AnswerError, read_answer
from training.learner import Precision
from training.sft.answering import answer_loss, answers
from training.sft.examples import Example


@dataclass(frozen=True)
class AnswerValidation:
    """Figures on held-out examples.

    Args:
        examples: to validate on.
        tokenizer: of the model.
        decoded: the first so many are answered in full; the loss is of all.
        max_tokens: of an answer.
        chunk_size: examples that go through the model at a time.
        precision: of the arithmetic.
    """

    examples: Sequence[Example]
    tokenizer: Any
    decoded: int
    max_tokens: int
    chunk_size: int
    precision: Precision

    @torch.no_grad()
    def __call__(self, model: Any) -> dict[str, float]:
        """Give the figures of a model, which is left in eval mode; none without examples.

        - `loss`: mean -ln p of the tokens of the answers;
        - `valid`: share of the first answers that extraction would take, by form and numbers (the budget apart);
        - `exact`: share that name the very sentences, in any order;
        - `jaccard`: mean over all of |named and wanted| / |named or wanted|; 0 where an answer is not valid.
        """
        if not self.examples:
            return {}
        model.eval()
        total = sum(float(answer_loss(model, part, self.precision)) for part in self._chunks(self.examples))
        figures = {"loss": total / sum(len(one.answer) for one in self.examples)}
        asked = sorted(self.examples[: self.decoded], key=lambda one: len(one.prompt))  # less padding
        if not asked:
            return figures
        replies = [
            reply
            for part in self._chunks(asked)
            for reply in answers(model, self.tokenizer, part, self.max_tokens, self.precision)
        ]
        return figures | figures_of(replies, asked)

    def _chunks(self, examples: Sequence[Example]) -> Iterator[Sequence[Example]]:
        return (examples[at : at + self.chunk_size] for at in range(0, len(examples), self.chunk_size))


def figures_of(replies: Sequence[str], examples: Sequence[Example]) -> dict[str, float]:
    """Compare answers with what was wanted; see `AnswerValidation`."""
    valid, exact, jaccard = 0, 0, 0.0
    for reply, example in zip(replies, examples, strict=True):
        try:
            named = set(read_answer(reply, example.num_shown))
        except AnswerError:
            continue
        valid += 1
        exact += named == example.chosen
        jaccard += len(named & example.chosen) / len(named | example.chosen)
    count = len(examples)
    return {"valid": valid / count, "exact": exact / count, "jaccard": jaccard / count}
