"""Write a generation beside the one that is served, and swap to it."""

from __future__ import annotations

import logging
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from pydantic import ValidationError

from mmsearch.errors import DataError
from mmsearch.files import fsync_folder
from mmsearch.index import strays, vectors
from mmsearch.index.ids import IdWriter
from mmsearch.index.layout import (
    FORMAT_VERSION,
    MANIFEST,
    QUERY_TOWER,
    generation_name,
    generations_of,
    write_current,
)
from mmsearch.index.lock import WriteLock
from mmsearch.index.manifest import Dtype, Manifest, StoredFile, StoredSpace, manifest_hash
from mmsearch.index.query_tower import check_tower_spaces, read_query_tower
from mmsearch.index.seal import copy_files, write_file
from mmsearch.index.vectors import VectorWriter
from mmsearch.protocols import Embedded
from mmsearch.types import Space

log = logging.getLogger(__name__)


class GenerationWriter:
    """Write the next generation of a forward index: `add` as often as needed, then `publish` once.

    The generation that is served stays as it is until the last step of `publish`, which replaces one small file. After
    a crash at any point the old or the new generation is served, and the next writer removes what was left behind.
    Use as a context manager: leaving it without `publish` removes what was written. Memory: a batch, and some 40 bytes
    a document. Not safe for threads.

    Args:
        index_dir: the index; made when it does not exist.
        spaces: the spaces, in the order of the features.
        dtype: how vectors are stored.

    Raises:
        DataError: another writer is at work here (the message names its process), the spaces cannot be stored, or the
            disk refuses.
    """

    def __init__(self, index_dir: Path | str, spaces: Sequence[Space], *, dtype: Dtype = "float16") -> None:
        index_dir = Path(index_dir)
        self._index_dir, self._spaces = index_dir, _to_stored(spaces, dtype)
        generations = generations_of(index_dir)
        with self._explaining():
            generations.mkdir(parents=True, exist_ok=True)
            self._lock = WriteLock(index_dir)
        try:
            with self._explaining():
                self._parent = strays.collect(index_dir)
                self._folder = generations / f".{uuid.uuid4().hex}.writing"
                self._folder.mkdir()
                self._ids = IdWriter(self._folder)
                self._writers = {space.name: VectorWriter(self._folder, space) for space in self._spaces}
        except BaseException:
            self._lock.release()
            raise
        self._open = True

    def __enter__(self) -> GenerationWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @property
    def num_docs(self) -> int:
        """Number of documents added so far."""
        return self._ids.num_ids

    def add(self, doc_ids: Sequence[str], embedded: Mapping[str, Embedded]) -> None:
        """Add documents and their vectors in every space.

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
        with self._explaining():
            self._ids.add(doc_ids)
            for name, writer in self._writers.items():
                writer.add(embedded[name])

    def publish(self, *, query_tower: Path, source: Mapping[str, Any]) -> str:
        """Seal the generation and let it be served.

        Args:
            query_tower: folder of the query tower of the same model; it is copied into the generation.
            source: where the vectors come from, as JSON values; kept in the manifest.

        Returns:
            The name of the generation.

        Raises:
            DataError: there are no documents, an id was added twice (both places are named), or the disk refuses.
            FingerprintError: the query tower was not made with these vectors; the writer stays open.
        """
        self._check_open()
        if not self.num_docs:
            raise DataError(f"{self._index_dir}: no documents were added; an empty index is not published")
        tower = read_query_tower(query_tower)
        offered, own = [s.space for s in tower.spaces], [s.space for s in self._spaces]
        check_tower_spaces(offered, own, f"the query tower in {query_tower}", "the index to publish")
        try:
            with self._explaining():
                name = self._seal(query_tower, source)
                self._swap(name)
        finally:
            self.close()
        return name

    def _seal(self, query_tower: Path, source: Mapping[str, Any]) -> str:
        """Bring the whole generation to the disk, read it back, and give it its name."""
        num_docs = self.num_docs
        files = self._ids.close()
        for writer in self._writers.values():
            files |= writer.close()
        files |= copy_files(query_tower, self._folder, QUERY_TOWER)
        manifest = self._manifest(files, num_docs, source).to_bytes()
        write_file(self._folder / MANIFEST, manifest)
        fsync_folder(self._folder)
        return generation_name(strays.next_number(self._index_dir), manifest_hash(manifest))

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
        )

    def _swap(self, name: str) -> None:
        generations = generations_of(self._index_dir)
        self._folder.rename(generations / name)
        fsync_folder(generations)
        write_current(self._index_dir, name)
        log.info("published %s: %d documents", name, self.num_docs)
        try:
            strays.collect(self._index_dir)
        except OSError as error:
            log.warning("%s: an old generation could not be removed: %s", self._index_dir, error)

    def close(self) -> None:
        """Let the next writer in; what was not published is removed. Closing twice is allowed."""
        if not self._open:
            return
        self._open = False
        self._ids.abandon()
        for writer in self._writers.values():
            writer.abandon()
        shutil.rmtree(self._folder, ignore_errors=True)
        self._lock.release()

    def _check_open(self) -> None:
        if not self._open:
            raise DataError(f"{self._index_dir}: this writer has published or was closed; open another one")

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise DataError(
                f"{self._index_dir}: writing failed: {error.strerror or error} ({error.filename or 'no file named'}); "
                "a generation that was served before is untouched: make room or mend the disk, and publish again"
            ) from error


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
