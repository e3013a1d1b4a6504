"""An overlay on its base: which rows there are, and which of them still count.

Rows of the base come first, those of the overlay after them. A document of the overlay stands for the one of its id in
the base; a tombstone of the overlay takes it away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from mmsearch.errors import CorruptIndexError, DataError, FingerprintError
from mmsearch.index.column import Column
from mmsearch.index.contents import NUM_CONTENTS, UInt64
from mmsearch.index.ids import asked_ids
from mmsearch.index.layer import Layer
from mmsearch.index.stored import Stored
from mmsearch.protocols import Bool, Float32

Int64 = npt.NDArray[np.int64]
#: Rows of one layer, -1 for those that are not there, to some numbers of each and whether there are any.
Read = Callable[[Column, Int64], tuple[Float32, Bool]]


class Layers:
    """One generation that stands alone, or an overlay and its base.

    Args:
        base: the generation that stands alone.
        overlay: what lies on it.
    """

    def __init__(self, base: Layer, overlay: Layer | None) -> None:
        if base.manifest.base is not None:
            raise CorruptIndexError(f"{base.folder}: lies over another generation and cannot be the base of one")
        self.base, self.overlay = base, overlay
        self.all = (base,) if overlay is None else (base, overlay)
        self.num_rows = sum(layer.num_rows for layer in self.all)
        self.num_docs = base.num_rows
        #: Rows of the base that an overlay replaces or deletes; pages of it without such a row take no memory.
        self._covered: Bool = np.zeros(base.num_rows, bool)
        if overlay is not None:
            self.num_docs += overlay.num_rows - overlay.manifest.num_deleted - overlay.manifest.num_superseded
            if overlay.superseded.size and int(overlay.superseded[-1]) >= base.num_rows:
                raise CorruptIndexError(f"{overlay.folder}: replaces rows that its base does not have; publish again")
            self._covered[overlay.superseded] = True

    @property
    def top(self) -> Layer:
        """The overlay, or the generation that stands alone."""
        return self.all[-1]

    def find(self, doc_ids: Sequence[str]) -> Int64:
        """Give the row of every id, [N]; -1 = unknown or deleted."""
        if self.overlay is None:
            return self.base.ids.rows(doc_ids)
        asked = asked_ids(doc_ids)
        found = self.overlay.ids.find(asked)
        below = np.flatnonzero(found < 0)
        deleted = self.overlay.deleted.take(found, mode="clip") & (found >= 0)
        found += self.base.num_rows
        found[deleted] = -1
        in_base = self.base.ids.find(asked.those(below))
        # else a damaged id of the overlay would bring back what was deleted or replaced
        in_base[self._dead(self.base, in_base)] = -1
        found[below] = in_base
        return found

    def deleted(self, doc_ids: Sequence[str]) -> Bool:
        """Tell which ids are of documents that the overlay deletes, [N]."""
        if self.overlay is None:
            return np.zeros(len(doc_ids), bool)
        found = self.overlay.ids.rows(doc_ids)
        return np.asarray((found >= 0) & self.overlay.deleted.take(found, mode="clip"))

    def live(self) -> Bool:
        """Tell which rows are of documents that can be found, [num_rows]."""
        live = np.ones(self.num_rows, bool)
        if self.overlay is not None:
            live[: self.base.num_rows] = ~self._covered
            live[self.base.num_rows :] = ~self.overlay.deleted
        return live

    def columns(self, space: str) -> dict[str, Column]:
        """Give a space's vectors in every layer that has it, by the name of the layer.

        Raises:
            DataError: none has it.
        """
        found = {layer.name: layer.columns[space] for layer in self.all if space in layer.columns}
        if not found:
            known = dict.fromkeys(name for layer in self.all for name in layer.columns)
            raise DataError(f"{self.top.folder}: there is no space '{space}'; there are: {', '.join(known)}")
        return found

    def floats(self, space: str, rows: Int64) -> tuple[Float32, Bool]:
        """Give vectors and which of them are present; see `ForwardIndex.vectors`."""
        return self._read(space, rows, Column.floats)

    def dots(self, space: str, rows: Int64, query: Float32) -> tuple[Float32, Bool]:
        """Give dots of a query with documents and which of them are present; see `ForwardIndex.dots`."""
        return self._read(space, rows, lambda column, own: column.dots(own, query))

    def _read(self, space: str, rows: Int64, read: Read) -> tuple[Float32, Bool]:
        """Read rows of every layer that they are of; dead ones are asked for as -1."""
        columns = self.columns(space)
        if self.overlay is None:
            return read(columns[self.base.name], rows)
        parts = [part for part in self._parts(rows) if part[0].name in columns]
        _check_one_model(space, [columns[layer.name] for layer, _, _ in parts])
        if not parts:
            return read([*columns.values()][-1], np.full(len(rows), -1))
        parts.sort(key=lambda part: len(part[1]))
        main, places, own = parts.pop()  # most rows are of one layer, and are read into where they will stay
        elsewhere = np.full(len(rows), -1)
        elsewhere[places] = self._alive(main, own)
        found, present = read(columns[main.name], elsewhere)
        for layer, places, own in parts:
            found[places], present[places] = read(columns[layer.name], self._alive(layer, own))
        return found, present

    def raw(self, space: str, rows: Int64) -> Stored:
        """Give rows as they lie on the disk; see `ForwardIndex.raw`."""
        columns = self.columns(space)
        if self.overlay is None or not len(rows):
            return columns[self.top.name if self.top.name in columns else self.base.name].raw(rows)
        parts = list(self._parts(rows))
        if any(layer.name not in columns for layer, _, _ in parts):
            raise DataError(f"{self.top.folder}: some of the rows to be copied have no space '{space}'")
        found = [columns[layer.name] for layer, _, _ in parts]
        _check_one_model(space, found)
        if len({column.space.dtype for column in found}) > 1:
            raise DataError(f"{self.top.folder}: space '{space}': base and overlay are stored in different ways")
        return _scattered([(places, column.raw(own)) for column, (_, places, own) in zip(found, parts, strict=True)])

    def sound(self, space: str, rows: Int64) -> Bool:
        """Tell which rows are what was published; see `ForwardIndex.sound`."""
        columns = self.columns(space)
        sound = np.ones(len(rows), bool)
        for layer, places, own in self._parts(rows):
            if layer.name in columns:
                sound[places] = columns[layer.name].sound(own)
        return sound

    def contents(self, rows: Int64) -> UInt64:
        """Give content hashes; see `ForwardIndex.contents`."""
        contents = np.zeros((len(rows), NUM_CONTENTS), np.uint64)
        for layer, places, own in self._parts(rows):
            if layer.has_contents:
                contents[places] = layer.contents.take(own, axis=0)
        return contents

    def present(self, space: str) -> Bool:
        """Tell which rows are live and have a vector in a space, [num_rows]."""
        columns, live, start = self.columns(space), self.live(), 0
        for layer in self.all:
            own = live[start : start + layer.num_rows]
            own &= columns[layer.name].present if layer.name in columns else False
            start += layer.num_rows
        return live

    def blocks(self, space: str, within: range) -> Iterator[tuple[Int64, Float32]]:
        """Give rows that are live, present and sound, and their vectors; see `ForwardIndex.blocks`."""
        columns, start = self.columns(space), 0
        for layer in self.all:
            if layer.name in columns:
                first, stop = max(within.start - start, 0), min(within.stop - start, layer.num_rows)
                for rows, vectors in columns[layer.name].blocks(first, stop):
                    dead = self._dead(layer, rows)
                    yield (rows[~dead] + start, vectors[~dead]) if dead.any() else (rows + start, vectors)
            start += layer.num_rows

    def _parts(self, rows: Int64) -> Iterator[tuple[Layer, Int64, Int64]]:
        """Give the layers that some of the rows are of: which places in `rows`, and the layer's own numbers of them."""
        start = 0
        for layer in self.all:
            places = np.flatnonzero((rows >= start) & (rows < start + layer.num_rows))
            if places.size:
                yield layer, places, rows[places] - start
            start += layer.num_rows

    def _alive(self, layer: Layer, own: Int64) -> Int64:
        """Give a layer's own rows with -1 for those that cannot be found any more."""
        return np.where(self._dead(layer, own), -1, own)

    def _dead(self, layer: Layer, own: Int64) -> Bool:
        """Tell which of a layer's own rows cannot be found any more, [N]."""
        if layer is self.overlay:
            return layer.deleted.take(own)
        return self._covered.take(own, mode="clip")


def _check_one_model(space: str, columns: Sequence[Column]) -> None:
    made = {column.space.space for column in columns}
    if len(made) > 1:
        told = " and ".join(sorted(f"{s.fingerprint} ({s.num_codes} × {s.dim})" for s in made))
        raise FingerprintError(
            f"space '{space}': the rows hold vectors of two models, {told}; ask for those of each of `versions` alone"
        )


def _scattered(parts: Sequence[tuple[Int64, Stored]]) -> Stored:
    """Join rows, each to its place."""
    order = np.argsort(np.concatenate([places for places, _ in parts]))
    scales = [stored.scales for _, stored in parts if stored.scales is not None]
    return Stored(
        np.concatenate([stored.vectors for _, stored in parts])[order],
        np.concatenate(scales)[order] if scales else None,
        np.concatenate([stored.present for _, stored in parts])[order],
    )
