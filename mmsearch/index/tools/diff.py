"""What changed from one generation to another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mmsearch.index.forward import ForwardIndex
from mmsearch.logs import ProgressBar, progress
from mmsearch.protocols import Bool, Float32
from mmsearch.types import Modality, Space

Int64 = npt.NDArray[np.int64]

_ROWS = 8192
_QUANTILES = {"min": 0.0, "p01": 0.01, "p10": 0.1, "p50": 0.5}


@dataclass(slots=True)
class SpaceDiff:
    """What changed in one space, over the documents that both generations have.

    A generation that has no such space, or whose version of a document has none, counts as one without a vector there.

    Args:
        fingerprints_before: of the models whose vectors there were; none where there was no such space, two while an
            upgrade was under way.
        fingerprints_after: of the models whose vectors there are.
        both: documents that have a vector in both.
        only_before: those that lost theirs.
        only_after: those that got one.
        same_bytes: those whose stored vectors are the same bit for bit.
        cosine: quantiles of the cosine of the vector before and the one after (of several codes, the lowest), `min`,
            `p01`, `p10`, `p50`; empty when there are none, or the dimensions differ. Between two models it says nothing
            unless they were trained to be compatible.
    """

    fingerprints_before: tuple[str, ...]
    fingerprints_after: tuple[str, ...]
    both: int = 0
    only_before: int = 0
    only_after: int = 0
    same_bytes: int = 0
    cosine: dict[str, float] = field(default_factory=dict)

    @property
    def same_model(self) -> bool:
        """Whether one model made both."""
        return len(self.fingerprints_before) == 1 and self.fingerprints_before == self.fingerprints_after


@dataclass(slots=True)
class Diff:
    """What changed from one generation to another.

    Args:
        before: the one generation.
        after: the other one.
        num_docs: live documents of each.
        added: ids that only the later has; as many as were asked for. `num_added` counts all.
        removed: ids that only the earlier has, likewise.
        content: documents in both whose content differs, by modality; `any` counts each once. None when a generation
            was published without content hashes.
        spaces: what changed in each space of either.
    """

    before: str
    after: str
    num_docs: tuple[int, int]
    num_added: int = 0
    num_removed: int = 0
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    content: dict[str, int] | None = None
    spaces: dict[str, SpaceDiff] = field(default_factory=dict)


def compare(before: ForwardIndex, after: ForwardIndex, *, num_ids: int = 10) -> Diff:
    """Compare two generations, of one index or of two.

    Reads all ids and vectors of both: about as long as it takes to read the files once. Memory: 20 bytes a document
    that both have.

    Args:
        before: the one generation.
        after: the other one.
        num_ids: how many ids of added and of removed documents are kept as examples.
    """
    found = Diff(before.generation, after.generation, (before.num_docs, after.num_docs))
    pairs = [np.empty((2, 0), np.int64)]
    for rows, doc_ids in _documents(after):
        others = before.rows(doc_ids)
        new = np.flatnonzero(others < 0)
        found.num_added += len(new)
        found.added += [doc_ids[at] for at in new[: num_ids - len(found.added)]]
        pairs.append(np.stack([others, rows])[:, others >= 0])
    for _, doc_ids in _documents(before):
        gone = np.flatnonzero(after.rows(doc_ids) < 0)
        found.num_removed += len(gone)
        found.removed += [doc_ids[at] for at in gone[: num_ids - len(found.removed)]]
    both = np.concatenate(pairs, axis=1)
    found.content = _content(before, after, both)
    for name in dict.fromkeys(space.name for index in (after, before) for v in index.versions for space in v.spaces):
        found.spaces[name] = _space(before, after, name, both)
    return found


def _documents(index: ForwardIndex) -> Iterator[tuple[Int64, list[str]]]:
    live = np.flatnonzero(index.live())
    for start in range(0, len(live), _ROWS):
        rows = live[start : start + _ROWS]
        yield rows, [index.doc_ids[row] for row in rows.tolist()]


def _parts(both: Int64) -> Iterator[tuple[Int64, Int64]]:
    for start in range(0, both.shape[1], _ROWS):
        part = both[:, start : start + _ROWS]
        yield part[0], part[1]


def _content(before: ForwardIndex, after: ForwardIndex, both: Int64) -> dict[str, int] | None:
    if not (before.has_contents and after.has_contents):
        return None
    counts = np.zeros(1 + len(Modality), np.int64)
    for old, new in _parts(both):
        changed = (before.contents(old) != after.contents(new))[:, : len(Modality)]
        counts[0] += np.count_nonzero(changed.any(axis=1))
        counts[1:] += np.count_nonzero(changed, axis=0)
    names = ["any", *(str(modality) for modality in Modality)]
    return dict(zip(names, counts.tolist(), strict=True))


def _space(before: ForwardIndex, after: ForwardIndex, name: str, both: Int64) -> SpaceDiff:
    olds, news = (
        [(v.rows, s) for v in index.versions for s in v.spaces if s.name == name] for index in (before, after)
    )
    found = SpaceDiff(tuple(s.fingerprint for _, s in olds), tuple(s.fingerprint for _, s in news))
    cosines = [np.empty(0, np.float32)]
    with progress(f"compare {name}", both.shape[1], unit="videos") as bar:
        for old_rows, old in olds:
            for new_rows, new in news:
                for rows in _parts(both[:, _within(both[0], old_rows) & _within(both[1], new_rows)]):
                    cosines.append(_compare_rows(found, (before, after), (old, new), rows))
                    bar.advance(len(rows[0]))
        old_parts, new_parts = ([rows for rows, _ in versions] for versions in (olds, news))
        found.only_before += _count_alone(before, name, old_parts, new_parts, both, bar)
        found.only_after += _count_alone(after, name, new_parts, old_parts, both[::-1], bar)
    values = np.concatenate(cosines)
    if len(values):
        quantiles = np.quantile(values, list(_QUANTILES.values()))
        found.cosine = dict(zip(_QUANTILES, quantiles.tolist(), strict=True))
    return found


def _count_alone(
    index: ForwardIndex, name: str, own: Sequence[range], others: Sequence[range], both: Int64, bar: ProgressBar
) -> int:
    """Count vectors of a space in documents of which the other generation's version has no such space.

    Args:
        index: the generation that has the space.
        name: of the space.
        own: rows of `index` whose version has it.
        others: those of the other generation.
        both: rows of documents in `index` and in the other one.
        bar: moves on by the documents.
    """
    count, alone = 0, both[0, ~_in_any(both[1], others)]
    for meant in own:
        rows = alone[_within(alone, meant)]
        for start in range(0, len(rows), _ROWS):
            part = rows[start : start + _ROWS]
            count += int(np.count_nonzero(index.vectors(name, part)[1]))
            bar.advance(len(part))
    return count


def _in_any(rows: Int64, meant: Sequence[range]) -> Bool:
    found = np.zeros(len(rows), np.bool_)
    for one in meant:
        found |= _within(rows, one)
    return found


def _within(rows: Int64, meant: range) -> Bool:
    return np.asarray((rows >= meant.start) & (rows < meant.stop))


def _compare_rows(
    found: SpaceDiff, indexes: tuple[ForwardIndex, ForwardIndex], spaces: tuple[Space, Space], rows: tuple[Int64, Int64]
) -> Float32:
    """Count some documents of one model each before and after; give their cosines."""
    (before, after), (old, new), (old_rows, new_rows) = indexes, spaces, rows
    (a, a_there), (b, b_there) = before.vectors(old.name, old_rows), after.vectors(new.name, new_rows)
    there = a_there & b_there
    found.both += int(np.count_nonzero(there))
    found.only_before += int(np.count_nonzero(a_there & ~b_there))
    found.only_after += int(np.count_nonzero(b_there & ~a_there))
    if (old.dim, old.num_codes) != (new.dim, new.num_codes):
        return np.empty(0, np.float32)
    found.same_bytes += _same(before, after, new.name, old_rows[there], new_rows[there])
    return _cosines(a[there], b[there], new)


def _cosines(a: Float32, b: Float32, space: Space) -> Float32:
    """Give the cosine of each pair of rows; of several codes the lowest. Those of damaged vectors are left out."""
    a, b = (x.reshape(len(x), space.num_codes, space.dim) for x in (a, b))
    with np.errstate(all="ignore"):
        dots = np.einsum("nmd,nmd->nm", a, b)
        cosines = dots / (np.linalg.norm(a, axis=2) * np.linalg.norm(b, axis=2))
    lowest: Float32 = cosines.min(axis=1)
    return lowest[np.isfinite(lowest)]


def _same(before: ForwardIndex, after: ForwardIndex, name: str, old_rows: Int64, new_rows: Int64) -> int:
    a, b = before.raw(name, old_rows), after.raw(name, new_rows)
    if a.vectors.dtype != b.vectors.dtype:
        return 0
    same = (a.vectors == b.vectors).all(axis=1)
    if a.scales is not None and b.scales is not None:
        same &= (a.scales == b.scales).all(axis=1)
    return int(np.count_nonzero(same))
