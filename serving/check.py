"""The last look before the swap: some videos embedded once more, and compared with what is about to be served."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import IntegrityError
from mmsearch.files import hash_bytes
from mmsearch.index.stored import Stored
from mmsearch.protocols import Float32
from mmsearch.types import Space
from serving.compare import Int64
from serving.plan import LEAVE_OUT, RefreshPlan
from serving.work import EmbeddedShard
from serving.work_item import WorkItem

#: Lowest cosine that other hardware, another shape of the batch and rounding explain.
MIN_COSINE = {"float32": 0.999, "float16": 0.999, "int8": 0.995}


@dataclass(frozen=True, slots=True)
class _Written:
    vectors: Float32
    present: bool


class Sample:
    """Some rows of a corpus, and what was written of them.

    Args:
        rows: rows of the corpus, ascending.
        doc_ids: their ids.
        spaces: of the generation.
    """

    def __init__(self, rows: Int64, doc_ids: Sequence[str], spaces: Sequence[Space]) -> None:
        self.rows, self._doc_ids, self._spaces = rows, tuple(doc_ids), tuple(spaces)
        self._written: dict[tuple[str, int], _Written] = {}

    def note(self, rows: Int64, given: Mapping[str, Stored]) -> None:
        """Take note of what was written of those rows that are in the sample.

        Args:
            rows: rows of the corpus, ascending.
            given: their vectors by space.
        """
        chosen = np.flatnonzero(np.isin(rows, self.rows))
        for name, some in given.items() if chosen.size else ():
            scales = None if some.scales is None else some.scales[chosen]
            stored = Stored(some.vectors[chosen], scales, some.present[chosen])
            for place, vector, present in zip(chosen.tolist(), stored.to_float32(), stored.present, strict=True):
                self._written[name, int(rows[place])] = _Written(vector, bool(present))

    def item(self, recipe: str, corpus: PreparedCorpus, without: Collection[str]) -> WorkItem | None:
        """Give the work of embedding the sample from scratch; None where nothing is left of it.

        Args:
            recipe: hash of everything beside the videos that decides their vectors.
            corpus: the corpus.
            without: ids to leave out.
        """
        rows = [row for row, doc_id in zip(self.rows.tolist(), self._doc_ids, strict=True) if doc_id not in without]
        parts = (recipe, corpus.content_hash, ",".join(map(str, rows)))
        return WorkItem(hash_bytes(b"check", *(part.encode() for part in parts)), tuple(rows)) if rows else None

    def compare(self, again: EmbeddedShard, min_cosine: float) -> float:
        """Compare what was written with what the model gives now.

        Videos that went to quarantine, now or then, are not compared.

        Args:
            again: the result of `item`.
            min_cosine: the lowest that passes.

        Returns:
            The lowest cosine; 1 where nothing could be compared.

        Raises:
            IntegrityError: a cosine is lower, or a vector is there in one of the two only; the message names the worst.
        """
        place_of = {doc_id: place for place, doc_id in enumerate(again.doc_ids)}
        worst = (1.0, "", "")
        for row, doc_id in zip(self.rows.tolist(), self._doc_ids, strict=True):
            for space in self._spaces:
                written = self._written.get((space.name, row))
                if written is not None and doc_id in place_of:
                    embedded, place = again.embedded[space.name], place_of[doc_id]
                    now = _Written(embedded.vectors[place], bool(embedded.present[place]))
                    worst = min(worst, (_cosine(written, now, space.num_codes), doc_id, space.name))
        cosine, doc_id, name = worst
        if cosine < min_cosine:
            raise IntegrityError(
                f"the check before the swap failed: in space '{name}', video {doc_id!r} has cosine {cosine:.4f} "
                f"between what is about to be served and what the model gives now (the worst of {len(self.rows)} "
                f"videos; {min_cosine} is asked); nothing was published: refresh with anew=true, and see whether the "
                "tower gives the same vectors twice"
            )
        return cosine


def draw(plan: RefreshPlan, size: int, seed: str) -> Int64:
    """Draw rows of a plan, ascending: half of those that are copied and half of those that are embedded, if there are.

    Args:
        plan: the plan.
        size: how many, at most.
        seed: the same seed draws the same rows.
    """
    random = np.random.default_rng(list(seed.encode()))
    copied = np.flatnonzero(plan.sources >= 0)
    embedded = np.flatnonzero((plan.sources < 0) & (plan.sources != LEAVE_OUT))
    few, many = sorted((copied, embedded), key=len)
    some = random.choice(few, min(len(few), size // 2), replace=False)
    rest = random.choice(many, min(len(many), size - len(some)), replace=False)
    return np.sort(np.concatenate([some, rest]).astype(np.int64))


def _cosine(a: _Written, b: _Written, num_codes: int) -> float:
    """Give the lowest cosine of two videos' codes; -1 where only one of them is present."""
    if not (a.present and b.present):
        return 1.0 if a.present == b.present else -1.0
    x, y = (np.asarray(v.vectors, np.float64).reshape(num_codes, -1) for v in (a, b))
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    return float(((x * y).sum(1) / np.maximum(lengths, 1e-12)).min())
