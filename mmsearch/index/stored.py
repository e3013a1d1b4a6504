"""How vectors lie on the disk: half or single floats as they are, or bytes with a scale for each code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mmsearch.errors import DataError
from mmsearch.index.manifest import Dtype
from mmsearch.protocols import Bool, Embedded, Float32

_INT8_MAX = np.float32(127)
#: Sign, and the lower 5 bits of the exponent with the 10 upper ones of the fraction.
_HALF_BITS = np.uint32(0x8FFFE000).view(np.int32)
_HALF_FACTOR = np.float32(2.0**112)


@dataclass(frozen=True, slots=True)
class Stored:
    """Rows of one space as they lie on the disk, so that they can be copied bit by bit.

    Args:
        vectors: the codes of each document one after another, in the dtype of the space, [B, M*D]; zeros where the
            document is not present.
        scales: a code is its bytes times its scale, [B, M]; None unless the vectors are int8.
        present: which documents have a vector in this space, [B].
    """

    vectors: npt.NDArray[Any]
    scales: Float32 | None
    present: Bool

    def to_float32(self) -> Float32:
        """Give the vectors as they are scored, [B, M*D]."""
        return dequantize(self.vectors, self.scales) if self.scales is not None else to_float32(self.vectors)

    def to_embedded(self) -> Embedded:
        """Give the vectors as an encoder would: where they come back from the disk for anything but a copy."""
        return Embedded(self.to_float32(), self.present)


def to_float32(vectors: npt.NDArray[Any]) -> Float32:
    """Give half or single floats as single ones, in a third of the time that numpy takes for halves.

    A half is 1 sign, 5 exponent and 10 fraction bits: moved to their places in a single float they are 2**112 times too
    small (the exponents' offsets are 15 and 127), subnormal ones as well. Infinity and NaN, which are never written,
    become numbers of 65536 and more: damage shows by its size.
    """
    if vectors.dtype != np.float16:
        return vectors.astype(np.float32)
    bits = vectors.view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= _HALF_BITS
    floats = bits.view(np.float32)
    floats *= _HALF_FACTOR
    return floats


def to_stored(embedded: Embedded, num_codes: int, dtype: Dtype) -> Stored:
    """Give vectors as they will be stored; rows that are not present become zeros. The same bytes whatever the batch.

    Args:
        embedded: what an encoder made.
        num_codes: codes of a document, M.
        dtype: how they are to be stored.
    """
    vectors = np.where(embedded.present[:, None], embedded.vectors, np.float32(0))
    if dtype != "int8":
        return Stored(vectors.astype(dtype), None, embedded.present)
    quantized, scales = quantize(vectors, num_codes)
    return Stored(quantized, scales, embedded.present)


def quantize(vectors: Float32, num_codes: int) -> tuple[npt.NDArray[np.int8], Float32]:
    """Give each code as bytes and a scale: scale = max|x| / 127, byte = round(x / scale), to the even one in a tie.

    A component moves by half a scale at most. Codes of zeros get scale 0.

    Args:
        vectors: finite, [B, M*D].
        num_codes: M.

    Returns:
        The bytes, -127 … 127, [B, M*D]; and the scales, [B, M].
    """
    if vectors.shape[1] % num_codes:
        raise DataError(f"rows of {vectors.shape[1]} components do not hold {num_codes} codes of one length")
    codes = np.asarray(vectors, np.float32).reshape(len(vectors), num_codes, vectors.shape[1] // num_codes)
    scales = np.abs(codes).max(axis=2) / _INT8_MAX
    divisors = np.where(scales > 0, scales, np.float32(1))
    quantized = np.clip(np.rint(codes / divisors[:, :, None]), -_INT8_MAX, _INT8_MAX).astype(np.int8)
    return quantized.reshape(vectors.shape), scales


def dequantize(vectors: npt.NDArray[np.int8], scales: Float32) -> Float32:
    """Give the vectors that bytes and scales stand for, [B, M*D]."""
    num_codes = scales.shape[1]
    codes = vectors.reshape(len(vectors), num_codes, vectors.shape[1] // num_codes).astype(np.float32)
    codes *= scales[:, :, None]
    return codes.reshape(vectors.shape)
