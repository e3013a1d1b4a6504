"""The generations of an index: which there are, which one is served, which ones go."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from mmsearch.errors import CorruptIndexError, DataError, IntegrityError
from mmsearch.index.forward import ForwardIndex
from mmsearch.index.layout import MANIFEST, UNSERVED, generations_of, read_current, write_current
from mmsearch.index.lease import is_held
from mmsearch.index.lock import WriteLock
from mmsearch.index.manifest import Manifest, read_manifest
from mmsearch.index.refusal import explaining
from mmsearch.index.sweep import check_keep, names_of, number_of, sweep_old, sweep_traces

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class GenerationInfo:
    """A generation on the disk.

    Args:
        name: its name.
        number: its running number.
        base: the generation that it lies over; None when it stands alone.
        num_docs: documents that a reader of it finds.
        bytes: what its own files take, those of its base not counted.
        created_at: when it was sealed, ISO 8601 in UTC.
        is_current: whether it is the one that is served.
        is_held: whether a reader has it open at this moment.
    """

    name: str
    number: int
    base: str | None
    num_docs: int
    bytes: int
    created_at: str
    is_current: bool
    is_held: bool


def list_generations(index_dir: Path | str) -> list[GenerationInfo]:
    """Give every whole generation that was served, oldest first; those that cannot be read are told in the log.

    Where CURRENT is lost or damaged they are listed all the same, so that one of them can be served again.

    Raises:
        DataError: nothing was published here.
    """
    index_dir = Path(index_dir)
    current, manifests, infos = _current_or_none(index_dir), {}, []
    if current is None and not names_of(index_dir):
        raise DataError(f"{index_dir}: no index here; publish one first")
    for name in names_of(index_dir):
        folder = generations_of(index_dir) / name
        if (folder / UNSERVED).exists() and name != current:
            continue
        try:
            manifests[name] = manifest = read_manifest(folder, name)
            base = None if manifest.base is None else manifests[manifest.base]  # it was published before
        except (IntegrityError, KeyError) as error:
            log.warning("%s: cannot be read: %s", folder, error)
        else:
            infos.append(_info(folder, manifest, base, is_current=name == current))
    return infos


def _info(folder: Path, manifest: Manifest, base: Manifest | None, *, is_current: bool) -> GenerationInfo:
    below = 0 if base is None else base.num_docs
    try:
        own = (folder / MANIFEST).stat().st_size
    except OSError:  # it is being removed just now
        own = 0
    return GenerationInfo(
        name=folder.name,
        number=number_of(folder.name),
        base=manifest.base,
        num_docs=below + manifest.num_docs - manifest.num_deleted - manifest.num_superseded,
        bytes=own + sum(file.bytes for file in manifest.files.values()),
        created_at=manifest.created_at,
        is_current=is_current,
        is_held=is_held(folder),
    )


def serve(index_dir: Path | str, generation: str) -> None:
    """Let a generation that was published before be served again: a rollback, or the way back from one.

    It is read whole and compared with its checksums first. Readers see it when they open the index anew.

    Raises:
        DataError: there is no such generation, a writer is at work here, or the disk refuses.
        CorruptIndexError: it is damaged; what is served stays.
    """
    index_dir = Path(index_dir)
    if not generations_of(index_dir).is_dir():
        raise DataError(f"{index_dir}: no index here; publish one first")
    with explaining(index_dir), WriteLock(index_dir):
        folder = generations_of(index_dir) / generation
        if (folder / UNSERVED).exists() and generation != _current_or_none(index_dir):
            raise DataError(f"{index_dir}: {generation} was never served: its publisher died; choose another one")
        index = ForwardIndex.open(index_dir, generation, verify="full")
        write_current(index_dir, generation)
        log.info("serving %s: %d documents", generation, index.num_docs)


def _current_or_none(index_dir: Path) -> str | None:
    try:
        return read_current(index_dir)
    except (DataError, CorruptIndexError):
        return None


def collect(index_dir: Path | str, keep: int = 2) -> list[str]:
    """Remove generations that are not needed any more, and what crashed writers left.

    Stays: what is served and its parent; the newest `keep` that stand alone, and the newest `keep` overlays; whatever a
    reader holds; and the bases of all of these. When what is served cannot be read, everything stays.

    Returns:
        The names of those removed.

    Raises:
        DataError: `keep` is below 1, nothing is here, a writer is at work, or the disk refuses.
    """
    check_keep(keep)
    index_dir = Path(index_dir)
    if not generations_of(index_dir).is_dir():
        raise DataError(f"{index_dir}: no index here; publish one first")
    with explaining(index_dir), WriteLock(index_dir):
        sweep_traces(index_dir)
        return sweep_old(index_dir, keep)
