"""Ids that are asked for, and the comparison of their bytes with those of stored ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mmsearch.protocols import Bool

Int64 = npt.NDArray[np.int64]
UInt64 = npt.NDArray[np.uint64]
UInt8 = npt.NDArray[np.uint8]

#: Longer ids are compared one by one: a single long one must not make all of them take its room.
_MAX_WIDTH = 256


@dataclass(frozen=True, slots=True)
class AskedIds:
    """Ids as bytes, those of all of them in one array, and their hashes.

    Args:
        hashes: of each, [N].
        lengths: bytes of each, [N].
        heads: its first W bytes, zeros behind its end, [N, W].
        encoded: the ids from which these were taken.
        at: which of those each is, [N].
    """

    hashes: UInt64
    lengths: Int64
    heads: UInt8
    encoded: Sequence[bytes]
    at: Int64

    @classmethod
    def of(cls, encoded: Sequence[bytes], hashes: UInt64) -> AskedIds:
        """Put ids, as UTF-8 bytes, and their hashes together."""
        sizes = set(map(len, encoded))
        width = min(max(max(sizes, default=1), 1), _MAX_WIDTH)
        if sizes == {width}:  # the usual case, in half the time
            lengths = np.full(len(encoded), width, np.int64)
            heads = np.frombuffer(b"".join(encoded), np.uint8)
        else:
            lengths = np.fromiter(map(len, encoded), np.int64, len(encoded))
            heads = np.array(encoded, f"S{width}").view(np.uint8)
        return cls(hashes, lengths, heads.reshape(-1, width), encoded, np.arange(len(encoded)))

    def __len__(self) -> int:
        return len(self.at)

    def those(self, which: Int64) -> AskedIds:
        """Give some of them, by their places."""
        return AskedIds(self.hashes[which], self.lengths[which], self.heads[which], self.encoded, self.at[which])

    def same_as(self, text: UInt8, begins: Int64, ends: Int64) -> Bool:
        """Compare each with its own piece of a text, all bytes of it, [N]; pieces may lie anywhere, even outside."""
        width = self.heads.shape[1]
        same: Bool = (ends - begins == self.lengths) & (begins >= 0) & (ends <= len(text))
        together = same & (self.lengths <= width) & (begins <= len(text) - width)
        if together.all():
            return self._together(text, begins)
        places = np.flatnonzero(together)
        same[places] = self.those(places)._together(text, begins[places])
        for i in np.flatnonzero(same & ~together).tolist():
            same[i] = text[begins[i] : ends[i]].tobytes() == self.encoded[self.at[i]]
        return same

    def _together(self, text: UInt8, begins: Int64) -> Bool:
        if not len(self):
            return np.empty(0, bool)
        width = self.heads.shape[1]
        # a window of W bytes from every byte of the text on: taking some copies each at once
        windows = np.ndarray((len(text) - width + 1,), f"V{width}", buffer=text, strides=(1,))
        equal: Bool = windows[begins].view(np.uint8).reshape(-1, width) == self.heads
        if (self.lengths < width).any():
            equal |= np.arange(width) >= self.lengths[:, None]
        return np.ones(len(self), bool) if equal.all() else np.asarray(equal.all(axis=1))
