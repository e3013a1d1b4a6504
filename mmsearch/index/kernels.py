"""Dot products of a query with stored codes, without turning these into single floats first.

numkong multiplies half floats and bytes as they lie, by the widest instructions of the processor, and adds up in single
floats or integers. It wants both sides in one type: a query becomes a sum of such vectors, scaled, of which all dots
are taken at once. Two half floats (22 bits) or three bytes (23 bits) hold a single float to its last bit or so; the
result differs from that of single floats by some 1e-7. Where numkong is absent numpy does it, in two or three times
the time.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from mmsearch.index.stored import to_float32
from mmsearch.protocols import Float32

numkong: ModuleType | None
try:
    import numkong
except ImportError:  # no wheel for this machine
    numkong = None


class QueryKernel:
    """A query, ready for stored codes of one type.

    By numkong the dot of a code is the same, bit by bit, whatever others stand beside it.

    Args:
        query: [D].
        dtype: of the codes: float16, float32 or int8.
    """

    def __init__(self, query: Float32, dtype: str) -> None:
        self._query = np.ascontiguousarray(query, np.float32)
        split = _SPLITS.get(dtype) if numkong is not None else None
        self._packed: Any = None
        if numkong is not None and split is not None:
            vectors, self._weights = split(self._query)
            self._packed = numkong.dots_pack(vectors)

    def dots(self, codes: npt.NDArray[Any]) -> Float32:
        """Give the dot of the query with each code, [N] for [N, D]; those of int8 without their scales.

        Codes may hold anything: NaN, infinity and overflow give NaN, infinity, or numbers far beyond 1.
        """
        if self._packed is None or numkong is None or not len(codes):
            return np.asarray(to_float32(codes) @ self._query)
        each = np.multiply(np.asarray(numkong.dots_packed(codes, self._packed)), self._weights, dtype=np.float32)
        dots: Float32 = each[:, 0] + each[:, 1]
        for part in each.T[2:]:
            dots += part
        return dots


def _split_halves(query: Float32) -> Split:
    """Give a half float of each component, and one of what it leaves."""
    halves = np.empty((2, len(query)), np.float16)
    halves[0] = query
    halves[1] = (query - halves[0]) * _PER_HALF
    return halves, _HALF_WEIGHTS


def _split_bytes(query: Float32) -> Split:
    """Give each component as three digits to the base 254, from -127 to 127, of which the largest begins with 127.

    Each digit is what rounding the one before has left, half a unit at most, times 254: it cannot exceed 127. What the
    last one leaves is 6.1e-8 of the largest component at most; the weights, single floats, add as much.
    """
    largest = np.float32(max(float(query.max(initial=0)), -float(query.min(initial=0)), 1e-30))
    digits = np.empty((len(_PER_BYTE), len(query)), np.int8)
    left = query * (127 / np.float64(largest))
    for digit in digits:
        whole = np.rint(left)
        digit[:] = whole
        left = (left - whole) * 254
    return digits, largest / _PER_BYTE


#: Vectors [P, D] in the type of the codes, and weights [P]: times these, they add up to the query.
Split = tuple[npt.NDArray[Any], Float32]

#: A half float leaves 2**-11 of a number at most.
_PER_HALF = np.float32(2**11)
_HALF_WEIGHTS = np.array([1, 1 / _PER_HALF], np.float32)
_PER_BYTE = np.array([127, 127 * 254, 127 * 254 * 254], np.float32)
_SPLITS = {"float16": _split_halves, "int8": _split_bytes}
