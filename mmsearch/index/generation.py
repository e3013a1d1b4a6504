"""Write a generation beside the one that is served, and swap to it."""

from __future__ import annotations

import logging
import shutil
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from pydantic import ValidationError

from mmsearch.errors import DataError, IntegrityError
from mmsearch.files import fsync_folder, make_folder
from mmsearch.index import overlay, vectors
from mmsearch.index.contents import ContentsWriter, UInt64
from mmsearch.index.ids import IdWriter
from mmsearch.index.layout import (
    FORMAT_VERSION,
    MANIFEST,
    QUERY_TOWER,
    UNSERVED,
    generation_name,
    generations_of,
    write_current,
)
from mmsearch.index.lock import WriteLock
from mmsearch.index.manifest import Dtype, Manifest, StoredFile, StoredSpace, manifest_hash
from mmsearch.index.overlay import OverlayWriter
from mmsearch.index.query_tower import check_tower_spaces, read_query_tower
from mmsearch.index.refusal import explaining
from mmsearch.index.seal import copy_files, write_file
from mmsearch.index.stored import Stored
from mmsearch.index.sweep import check_keep, next_number, sweep_old, sweep_traces
from mmsearch.index.vectors import VectorWriter
from mmsearch.protocols import Embedded
from mmsearch.types import Space

log = logging.getLogger(__name__)


class _Part(Protocol):
    def close(self) -> dict[str, StoredFile]: ...
    def abandon(self) -> None: ...


class GenerationWriter:
    """Write the next generation of a forward index: `add` as often as needed, then `publish` once.

    The generation that is served stays as it is until the last step of `publish`, which replaces one small file. After
    a crash at any point the old or the new generation is served, and the next writer removes what was left behind.
    Use as a context manager: leaving it without `publish` removes what was written. Memory: a batch, and some 40 bytes
    a document. Not safe for threads.

    With `base` it writes an overlay: the documents added to it stand for those of the same ids in the base, and those
    deleted from it are gone. Overlays do not lie on overlays: each tells all that changed since its base.

    Args:
        index_dir: the index; made when it does not exist.
        spaces: the spaces, in the order of the features.
        dtype: how vectors are stored; None = as in the base, or else float16.
        base: name of the generation to lie on, which stands alone; None = this one will.

    Raises:
        DataError: another writer is at work here (the message names its process), the spaces cannot be stored, there is
            no such base, or the disk refuses.
        CorruptIndexError: the base is damaged.
    """

    def __init__(
        self, index_dir: Path | str, spaces: Sequence[Space], *, dtype: Dtype | None = None, base: str | None = None
    ) -> None:
        self._index_dir = Path(index_dir)
        with explaining(self._index_dir):
            make_folder(generations_of(self._index_dir))
            self._lock = WriteLock(self._index_dir)
        try:
            with explaining(self._index_dir):
                self._start(spaces, dtype, base)
        except BaseException:
            self._lock.release()
            raise
        self._open = True

    def _start(self, spaces: Sequence[Space], dtype: Dtype | None, base_name: str | None) -> None:
        base = None if base_name is None else overlay.open_base(self._index_dir, base_name)
        chosen: Dtype = dtype or ("float16" if base is None else base.manifest.spaces[0].dtype)
        self._spaces = _to_stored(spaces, chosen)
        if base is not None:
            overlay.check_dtype(base, spaces, chosen)
        self._parent = sweep_traces(self._index_dir)
        self._folder = generations_of(self._index_dir) / f".{uuid.uuid4().hex}.writing"
        self._folder.mkdir()
        self._ids = IdWriter(self._folder)
        self._contents = ContentsWriter(self._folder)
        self._writers = {space.name: VectorWriter(self._folder, space) for space in self._spaces}
        self._overlay = None if base is None else OverlayWriter(self._folder, base)

    def __enter__(self) -> GenerationWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def num_docs(self) -> int:
        """Number of documents added so far; in an overlay those deleted count as well."""
        return self._ids.num_ids

    def add(
        self, doc_ids: Sequence[str], embedded: Mapping[str, Embedded | Stored], contents: UInt64 | None = None
    ) -> None:
        """Add documents and their vectors in every space.

        Args:
            doc_ids: their ids, each once in a generation, [B].
            embedded: by space, vectors from an encoder; or rows of another generation as `ForwardIndex.raw` gives
                them, which are copied bit by bit.
            contents: a hash of each modality's content in the order of `Modality`, 0 = the video lacks it, [B, 8];
                given for all documents or for none.

        Raises:
            DataError: an id is empty, a space is absent or unknown, shapes do not fit, a present vector is not finite
                or not of length 1 (the message names the document), or the disk refuses. Nothing of the batch is
                kept; after a refusal of the disk, the writer is of no more use.
        """
        self._check_open()
        if set(embedded) != set(self._writers):
            raise DataError(f"vectors given for {sorted(embedded)}; this index has the spaces {sorted(self._writers)}")
        for space in self._spaces:
            vectors.check(space, doc_ids, embedded[space.name])
        self._contents.check(len(doc_ids), contents)
        with explaining(self._index_dir):
            self._ids.add(doc_ids)
            self._contents.add(len(doc_ids), contents)
            for name, writer in self._writers.items():
                writer.add(embedded[name])
            if self._overlay is not None:
                self._overlay.add(doc_ids, deleted=False)

    def delete(self, doc_ids: Sequence[str]) -> None:
        """Take documents of the base away; ids that it does not have are remembered as gone.

        Raises:
            DataError: this is no overlay, an id is empty, or the disk refuses.
        """
        self._check_open()
        if self._overlay is None:
            raise DataError(
                f"{self._index_dir}: only an overlay deletes; what is not added to a generation is not in it"
            )
        with explaining(self._index_dir):
            self._ids.add(doc_ids)
            self._contents.skip(len(doc_ids))
            for writer in self._writers.values():
                writer.skip(len(doc_ids))
            self._overlay.add(doc_ids, deleted=True)

    def publish(self, *, query_tower: Path | None, source: Mapping[str, Any], keep: int = 2) -> str:
        """Seal the generation and let it be served; then remove those that are not needed any more.

        Args:
            query_tower: folder of the query tower of the same model; it is copied into the generation. None in an
                overlay: that of the base goes on, and the spaces must be those of the base. An overlay with a tower of
                its own holds vectors of another model: readers see two `versions`.
            source: where the vectors come from, as JSON values; kept in the manifest.
            keep: how many generations of each kind (alone, overlay) stay at least; see `generations.collect`.

        Returns:
            The name of the generation.

        Raises:
            DataError: there are no documents, no query tower, an id was added twice (both places are named), or the
                disk refuses.
            FingerprintError: the query tower was not made with these vectors; the writer stays open.
        """
        self._check_open()
        if not self.num_docs:
            raise DataError(f"{self._index_dir}: no documents were added; an empty index is not published")
        check_keep(keep)
        self._check_tower(query_tower)
        try:
            with explaining(self._index_dir):
                name = self._seal(query_tower, source)
                self._swap(name, keep)
        finally:
            self.close()
        return name

    def _check_tower(self, query_tower: Path | None) -> None:
        if query_tower is not None:
            offered = [space.space for space in read_query_tower(query_tower).spaces]
            own = [space.space for space in self._spaces]
            check_tower_spaces(offered, own, f"the query tower in {query_tower}", "the index to publish")
        elif self._overlay is not None:
            overlay.check_keeps_tower(self._overlay.base, self._spaces)
        else:
            raise DataError(f"{self._index_dir}: a generation that stands alone needs a query tower")

    def _seal(self, query_tower: Path | None, source: Mapping[str, Any]) -> str:
        """Bring the whole generation to the disk, read it back, and give it its name."""
        num_docs = self.num_docs
        files = {name: stored for part in self._parts() for name, stored in part.close().items()}
        if query_tower is not None:
            files |= copy_files(query_tower, self._folder, QUERY_TOWER)
        manifest = self._manifest(files, num_docs, source).to_bytes()
        write_file(self._folder / MANIFEST, manifest)
        write_file(self._folder / UNSERVED, b"")
        fsync_folder(self._folder)
        return generation_name(next_number(self._index_dir), manifest_hash(manifest))

    def _manifest(self, files: dict[str, StoredFile], num_docs: int, source: Mapping[str, Any]) -> Manifest:
        return Manifest(
            format_version=FORMAT_VERSION,
            spaces=self._spaces,
            num_docs=num_docs,
            files=files,
            source=dict(source),
            parent=self._parent,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            nonce=uuid.uuid4().hex,
            base=None if self._overlay is None else self._overlay.base.name,
            num_deleted=0 if self._overlay is None else self._overlay.num_deleted,
            num_superseded=0 if self._overlay is None else self._overlay.num_superseded,
        )

    def _swap(self, name: str, keep: int) -> None:
        generations = generations_of(self._index_dir)
        self._folder.rename(generations / name)
        fsync_folder(generations)
        write_current(self._index_dir, name)
        log.info("published %s: %d documents", name, self.num_docs)
        try:
            (generations / name / UNSERVED).unlink()
            sweep_old(self._index_dir, keep)
        except (OSError, IntegrityError) as error:  # the new one is served; the next writer tries again
            log.warning("%s: an old generation could not be removed: %s", self._index_dir, error)

    def close(self) -> None:
        """Let the next writer in; what was not published is removed. Closing twice is allowed."""
        if not self._open:
            return
        self._open = False
        try:
            for part in self._parts():
                part.abandon()
            self._overlay = None  # lets go of the base
            shutil.rmtree(self._folder, ignore_errors=True)
        finally:
            self._lock.release()

    def _parts(self) -> list[_Part]:
        over = [] if self._overlay is None else [self._overlay]
        return [self._ids, self._contents, *self._writers.values(), *over]

    def _check_open(self) -> None:
        if not self._open:
            raise DataError(f"{self._index_dir}: this writer has published or was closed; open another one")


def _to_stored(spaces: Sequence[Space], dtype: Dtype) -> tuple[StoredSpace, ...]:
    names = [space.name for space in spaces]
    if not names or len(set(names)) != len(names):
        raise DataError(f"an index needs one or more spaces of different names, not {names}")
    try:
        return tuple(
            StoredSpace(name=s.name, dim=s.dim, dtype=dtype, fingerprint=s.fingerprint, num_codes=s.num_codes)
            for s in spaces
        )
    except ValidationError as error:
        problem = error.errors()[0]
        raise DataError(f"a space of {names}: {problem['loc'][0]}: {problem['msg']}") from None
