"""Dot products of a query with stored codes, without turning these into single floats first.

numkong multiplies half floats and bytes as they lie, by the widest instructions of the processor, and adds up in single
floats or integers. It wants both sides in one type: a query becomes a sum of such vectors, scaled, of which all dots
are taken at once. Two half floats (22 bits) or three bytes (23 bits) hold a single float to its last bit or so; the
result differs from that of single floats by some 1e-7. Where numkong is absent numpy does it, in two or three times
the time.
"""

from __future__ import annotations

from dataclasses import dataclass
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

#: What is left of a number after rounding it to a half float is 2**-11 of it at most, to a byte 2**-8 of the largest.
_HALF_STEP, _BYTE_STEP = np.float32(2.0**-11), np.float32(1 / 254)


@dataclass(frozen=True, slots=True)
class _Parts:
    """Vectors whose sum, each times its weight, is the query.

    Args:
        packed: the vectors [P, D] as numkong wants them.
        weights: [P].
    """

    packed: Any
    weights: Float32


class QueryKernel:
    """A query, ready for stored codes of one type.

    By numkong the dot of a code is the same, bit by bit, whatever others stand beside it.

    Args:
        query: [D].
        dtype: of the codes: float16, float32 or int8.
    """

    def __init__(self, query: Float32, dtype: str) -> None:
        self._query = np.ascontiguousarray(query, np.float32)
        split = {"float16": _split_halves, "int8": _split_bytes}.get(dtype)
        self._parts = None
        if numkong is not None and split is not None:
            vectors, weights = split(self._query)
            self._parts = _Parts(numkong.dots_pack(vectors), weights)

    def dots(self, codes: npt.NDArray[Any]) -> Float32:
        """Give the dot of the query with each code, [N] for [N, D]; those of int8 without their scales.

        Codes may hold anything: NaN, infinity and overflow give NaN, infinity, or numbers far beyond 1.
        """
        if self._parts is None or numkong is None or not len(codes):
            return np.asarray(to_float32(codes) @ self._query)
        each = np.asarray(numkong.dots_packed(codes, self._parts.packed)).astype(np.float32, copy=False)
        dots: Float32 = each[:, 0] * self._parts.weights[0]
        for part, weight in zip(each.T[1:], self._parts.weights[1:], strict=True):
            dots += part * weight
        return dots


def _split_halves(query: Float32) -> tuple[npt.NDArray[np.float16], Float32]:
    halves = np.empty((2, len(query)), np.float16)
    halves[0] = query
    halves[1] = (query - halves[0]) / _HALF_STEP
    return halves, np.array([1, _HALF_STEP], np.float32)


def _split_bytes(query: Float32) -> tuple[npt.NDArray[np.int8], Float32]:
    weight = np.float32(max(float(np.abs(query).max(initial=0)), 1e-30) / 127)
    parts, weights, rest = [], [], query
    for _ in range(3):
        part = np.rint(rest / weight)
        parts.append(part.astype(np.int8))
        weights.append(weight)
        rest, weight = rest - part * weight, weight * _BYTE_STEP
    return np.stack(parts), np.array(weights, np.float32)
