"""Examples: prompts and answers as token ids, and batches of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmsearch.files import hash_bytes


@dataclass(frozen=True, slots=True)
class Example:
    """What a model is asked, and what it is taught to answer.

    Args:
        name: of the pair.
        prompt: token ids.
        answer: token ids, the end of the text included.
        num_shown: sentences that the prompt shows.
        chosen: those to be picked, as the prompt numbers them, from 1.
    """

    name: str
    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    num_shown: int
    chosen: frozenset[int]

    @property
    def num_tokens(self) -> int:
        """Tokens of prompt and answer."""
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Some examples as tensors, padded on the left, so that all answers end in the last place.

    Args:
        ids: prompts and answers, [B, L].
        mask: True where a token is real, [B, L].
        targets: the answers again, `IGNORED` elsewhere, [B, A]: the last A places of `ids`, A being the longest answer.
    """

    ids: Tensor
    mask: Tensor
    targets: Tensor

    @property
    def positions(self) -> Tensor:
        """The place of each token in its own text, [B, L]; 0 in the padding."""
        return (self.mask.long().cumsum(1) - 1).clamp(min=0)


#: Marks targets that do not count, as `torch.nn.functional.cross_entropy` has it.
IGNORED = -100


def pad(examples: Sequence[Example], *, answers: bool, device: torch.device) -> Tokens:
    """Give tensors of some examples; without `answers`, of the prompts alone (and `targets` is empty, [B, 0])."""
    rows = [one.prompt + one.answer if answers else one.prompt for one in examples]
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.bool)
    width = max(len(one.answer) for one in examples) if answers else 0
    targets = torch.full((len(rows), width), IGNORED)
    for number, (row, one) in enumerate(zip(rows, examples, strict=True)):
        ids[number, longest - len(row) :] = torch.tensor(row)
        mask[number, longest - len(row) :] = True
        if answers:
            targets[number, width - len(one.answer) :] = torch.tensor(one.answer)
    return Tokens(ids.to(device), mask.to(device), targets.to(device))


class Order:
    """Which examples stand in the batch of a step: all of them in a new random order each time through.

    A function of (seed, step) alone, so that nothing of it needs saving.
    """

    def __init__(self, examples: Sequence[Example], batch_size: int, seed: int) -> None:
        self._examples, self._batch_size, self._seed = examples, batch_size, seed

    def __call__(self, step: int) -> list[Example]:
        """Give the batch of a step, counted from 0."""
        begin, count = step * self._batch_size, len(self._examples)
        places = [divmod(begin + i, count) for i in range(self._batch_size)]
        orders = {epoch: self._order(epoch) for epoch, _ in places}
        return [self._examples[orders[epoch][at]] for epoch, at in places]

    def _order(self, epoch: int) -> list[int]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + epoch)
        order: list[int] = torch.randperm(len(self._examples), generator=generator).tolist()
        return order


def hash_of(examples: Sequence[Example]) -> str:
    """Give a hash of the token ids of all examples in their order: of all that a model sees of them."""
    return hash_bytes(*(repr((one.prompt, one.answer)).encode() for one in examples))
