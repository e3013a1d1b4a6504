"""How a query meets the stored codes of documents in one space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmsearch.index import ForwardIndex
from mmsearch.index.codes import mean_lengths, needs_lengths, select, softmax_weights
from mmsearch.index.query_tower import TowerSpace
from mmsearch.protocols import Bool, Float32


@dataclass(frozen=True, slots=True)
class Matches:
    """Dots of a query with documents.

    Args:
        space: how the documents' codes count.
        dots: cosine of the query and each code, zeros where a document is not present, [N, M].
        lengths: of the mean of each document's codes, where the selection needs them, [N].
        present: which documents can be scored, [N].
    """

    space: TowerSpace
    dots: Float32
    lengths: Float32 | None
    present: Bool

    @classmethod
    def of(cls, index: ForwardIndex, space: TowerSpace, rows: npt.NDArray[np.int64], query: Float32) -> Matches:
        """Compare a query [D] with documents by their rows, [N]; -1 is not present."""
        dots, present = index.dots(space.name, rows, query)
        lengths = None
        if needs_lengths(space):
            with np.errstate(all="ignore"):  # damaged rows hold anything
                lengths = mean_lengths(index.vectors(space.name, rows)[0], space)
            lengths[~present] = 1
        return cls(space, dots, lengths, present)

    @property
    def scores(self) -> Float32:
        """The score of each document by the selection that the model was trained with, [N]; see `select`.

        0 where a document is not present, as all of its dots are.
        """
        return select(self.dots, self.space, self.lengths)

    @property
    def poly_scores(self) -> Float32:
        """Sum over codes of softmax(sharpness * dots) * dots (arXiv:1905.01969 eq. 3 and 4), [N]."""
        return np.asarray((softmax_weights(self.dots, self.space.sharpness) * self.dots).sum(axis=1))

    def weights(self, *, poly: bool = False) -> Float32:
        """Give what each code counts for in `scores` or `poly_scores`, [N, M]: a score is the sum of weights * dots.

        Of several codes that are equally near (`max`) or far (`min`), the first counts.
        """
        num_codes = self.dots.shape[1]
        if num_codes == 1:
            return np.ones_like(self.dots)
        if poly or self.space.selection == "weighted":
            return softmax_weights(self.dots, self.space.sharpness)
        if self.lengths is not None:
            lengths = np.maximum(self.lengths, np.finfo(np.float32).tiny)
            return np.asarray(np.repeat(1 / (num_codes * lengths[:, None]), num_codes, axis=1), np.float32)
        chosen = self.dots.argmax(axis=1) if self.space.selection == "max" else self.dots.argmin(axis=1)
        return np.asarray(np.eye(num_codes, dtype=np.float32)[chosen])
