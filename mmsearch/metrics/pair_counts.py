"""Pairs of many ranked lists counted at once: the engine of `mmsearch.metrics.pnr.count_pairs`.

Lists of about the same length are rows of one array, padded at the end, so that sorting and counting are a few calls
for thousands of lists. Letters: N documents, Q lists, B lists of a block, L their padded length, G grades.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mmsearch.metrics.scored import Float64, Int64

#: Places of a block: small enough for the arrays to stay in the cache.
_BLOCK_PLACES = 1 << 16
#: Lists so short are padded by nothing, longer ones by less than a quarter.
_EXACT_LENGTH = 16
#: Running counts of lists so short come from one matrix product.
_PRODUCT_LENGTH = 64
#: Counts of pairs in longer lists do not fit into the whole numbers that a float32 holds.
_FLOAT32_LENGTH = 4_096
#: With more grades, summing by grade in one pass is faster than one pass for each.
_FEW_GRADES = 6

_Codes = npt.NDArray[np.unsignedinteger]
_Real = npt.NDArray[np.floating]
#: List of every group of equal scores, never decreasing, and how many of each grade are in it, [groups, G].
_Groups = tuple[Int64, Int64]
#: List, better grade, worse grade, [R], and concordant, discordant and tied pairs, [R, 3].
Counted = tuple[Int64, Int64, Int64, Int64]


def count_lists(codes: _Codes, scores: Float64, starts: Int64, num_grades: int) -> Iterator[Counted]:
    """Count the pairs of every list by their grades, in parts; what has no pair does not appear.

    Args:
        codes: grades as numbers from 0 to G - 1, [N].
        scores: below +infinity, [N].
        starts: first document of every list, [Q].
        num_grades: G.
    """
    lengths = np.diff(starts, append=len(codes))
    padded = _padded(lengths)
    for length in np.unique(padded[lengths > 1]).tolist():
        lists = np.flatnonzero(padded == length)
        size = max(1, _BLOCK_PLACES // max(length, num_grades))
        for first in range(0, len(lists), size):
            block = lists[first : first + size]
            grades, values = _gather(codes, scores, starts[block], lengths[block], length, num_grades)
            for rows, high, low, counts in _count_block(grades, values, num_grades):
                yield block[rows], high, low, counts


def _padded(lengths: Int64) -> Int64:
    """Round lengths up to multiples of a quarter of the power of 2 below them."""
    step = np.exp2(np.floor(np.log2(np.maximum(lengths, 1))) - 2).astype(np.int64)
    step = np.where(lengths <= _EXACT_LENGTH, 1, step)
    return np.asarray(-(-lengths // step) * step, dtype=np.int64)


def _gather(
    codes: _Codes, scores: Float64, starts: Int64, lengths: Int64, length: int, num_grades: int
) -> tuple[_Codes, Float64]:
    """Give the grades and scores of lists as rows, [B, L]; padding has a grade of its own and the highest score."""
    places = starts[:, None] + np.arange(length)
    if lengths.min() == length:
        return codes.take(places), scores.take(places)
    padding = np.arange(length) >= lengths[:, None]
    places[padding] = 0
    grades, values = codes.take(places), scores.take(places)
    grades[padding], values[padding] = num_grades, np.inf
    return grades, values


def _count_block(grades: _Codes, scores: Float64, num_grades: int) -> Iterator[Counted]:
    """Count the pairs of the lists of a block."""
    order = np.argsort(scores, axis=1)
    order += np.arange(0, order.size, order.shape[1])[:, None]
    grades = grades.take(order)
    groups = _untie(grades, scores.take(order), num_grades)
    count = _count_few if num_grades <= _FEW_GRADES else _count_many
    return count(grades, groups, num_grades)


def _count_few(grades: _Codes, groups: _Groups | None, num_grades: int) -> Iterator[Counted]:
    """Count pair of grades by pair of grades."""
    num_lists, length = grades.shape
    real = np.float32 if length <= _FLOAT32_LENGTH else np.float64
    marks = [(grades == level).astype(real) for level in range(num_grades)]
    ones = np.ones(length, dtype=real)
    with np.errstate(invalid="ignore"):  # vector kernels of BLAS may raise the flag for what lies beside their numbers
        present = [(mark @ ones).astype(np.int64) for mark in marks]
    for low in range(num_grades - 1):
        running = _running(marks[low])
        for high in range(low + 1, num_grades):
            pairs = present[low] * present[high]
            rows = np.flatnonzero(pairs)
            counts = np.zeros((len(rows), 3), dtype=np.int64)
            counts[:, 0] = np.einsum("bl,bl->b", running, marks[high])[rows]
            if groups is not None:
                counts[:, 2] = _tied(groups, low, num_lists)[rows, high - low - 1]
            counts[:, 1] = pairs[rows] - counts[:, 0] - counts[:, 2]
            yield rows, np.full(len(rows), high), np.full(len(rows), low), counts


def _count_many(grades: _Codes, groups: _Groups | None, num_grades: int) -> Iterator[Counted]:
    """Count all better grades together, worse grade by worse grade."""
    num_lists = len(grades)
    columns = num_grades + 1  # the last one is of the padding
    cells = (np.arange(num_lists)[:, None] * columns + grades).ravel()
    present = np.bincount(cells, minlength=num_lists * columns).reshape(num_lists, columns)[:, :-1]
    for low in range(num_grades - 1):
        pairs = present[:, low, None] * present[:, low + 1 :]
        rows, gap = np.nonzero(pairs)
        if len(rows) > 0:
            running = _running((grades == low).astype(np.float64)).ravel()
            right = np.bincount(cells, weights=running, minlength=num_lists * columns).reshape(num_lists, columns)
            counts = np.zeros((len(rows), 3), dtype=np.int64)
            counts[:, 0] = right[rows, gap + low + 1]
            if groups is not None:
                counts[:, 2] = _tied(groups, low, num_lists)[rows, gap]
            counts[:, 1] = pairs[rows, gap] - counts[:, 0] - counts[:, 2]
            yield rows, gap + low + 1, np.full(len(rows), low), counts


def _running(mark: _Real) -> _Real:
    """Give, for every document, how many marked ones stand before it in its list, [B, L]; itself may count."""
    length = mark.shape[1]
    if length <= _PRODUCT_LENGTH:
        return np.asarray(mark @ np.triu(np.ones((length, length), mark.dtype), 1))
    return np.asarray(np.cumsum(mark, axis=1, dtype=mark.dtype))


def _untie(grades: _Codes, scores: Float64, num_grades: int) -> _Groups | None:
    """Put better grades first among equal scores, in place, so that no tied pair looks concordant.

    Args:
        grades: in the order of the scores, [B, L].
        scores: in their order, [B, L].
        num_grades: G.

    Returns:
        List of every group of equal scores, never decreasing, and how many of each grade are in it, [groups, G];
        None where no scores are equal.
    """
    same = np.zeros(scores.shape, dtype=np.bool_)
    np.logical_and(scores[:, 1:] == scores[:, :-1], scores[:, 1:] < np.inf, out=same[:, 1:])
    if not same.any():
        return None
    tied = same.copy()
    tied[:, :-1] |= same[:, 1:]
    places = np.flatnonzero(tied)
    first = ~same.ravel()[places]
    key = (np.cumsum(first) - 1) * num_grades + (num_grades - 1 - grades.ravel()[places].astype(np.int64))
    key.sort()
    group, worse = np.divmod(key, num_grades)
    grades.ravel()[places] = num_grades - 1 - worse
    num_groups = int(first.sum())
    present = np.bincount((group + 1) * num_grades - 1 - worse, minlength=num_groups * num_grades)
    return places[first] // scores.shape[1], present.reshape(num_groups, num_grades)


def _tied(groups: _Groups, low: int, num_lists: int) -> Int64:
    """Count the tied pairs of a worse grade with every better one, [B, G - low - 1]."""
    lists, present = groups
    pairs = present[:, low, None] * present[:, low + 1 :]
    found = np.zeros((num_lists, pairs.shape[1]), dtype=np.int64)
    starts = np.flatnonzero(np.diff(lists, prepend=-1))
    found[lists[starts]] = np.add.reduceat(pairs, starts, axis=0)
    return found
