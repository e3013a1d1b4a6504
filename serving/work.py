"""Results of finished work items, kept until the generation is published: a killed refresh goes on where it was."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmsearch.errors import DataError
from mmsearch.files import replacing
from mmsearch.protocols import Embedded, Float32
from mmsearch.types import Modality, Space
from serving.work_item import Quarantined, Reason

log = logging.getLogger(__name__)

#: Of a modality: what its tower made of the videos at these places.
Outputs = Mapping[Modality, Mapping[int, Float32]]


#: After so many seconds without a change, unfinished work counts as given up.
GIVEN_UP_AFTER = 30 * 24 * 3600.0


def work_of(index_dir: Path, recipe: str) -> Path:
    """Give the folder of an index for unfinished work of one recipe (`serving.plan.recipe_of`).

    Each recipe has its own, so that an upgrade that was killed goes on, whatever was refreshed in between.
    """
    return index_dir / ".work" / recipe[:16]


@dataclass(frozen=True, slots=True)
class EmbeddedShard:
    """What became of a work item.

    Args:
        doc_ids: the videos that were embedded, in the order of the item.
        embedded: their vectors in every space.
        towers: outputs of towers that are to be kept, by place in `doc_ids`; of one modality all of one shape. They are
            fetched apart, by `ShardStore.take_outputs`.
        quarantined: the other videos of the item.
    """

    doc_ids: tuple[str, ...]
    embedded: Mapping[str, Embedded]
    towers: Outputs = field(default_factory=dict)
    quarantined: tuple[Quarantined, ...] = ()


class ShardStore:
    """One `.npz` file an item, named by its key; it appears whole or not at all.

    Args:
        folder: where the files lie.
        spaces: the spaces that every shard must hold.
        dtype: of the index; half floats are kept as such, so that a kept vector is the published one bit by bit, and
            everything else in full.
    """

    def __init__(self, folder: Path, spaces: Sequence[Space], dtype: str) -> None:
        self.folder, self._spaces = folder, tuple(spaces)
        self._dtype = np.dtype(np.float16 if dtype == "float16" else np.float32)

    def save(self, key: str, shard: EmbeddedShard) -> None:
        """Keep the result of an item, durably.

        Raises:
            DataError: the disk refuses.
        """
        arrays: dict[str, npt.NDArray[Any]] = {}
        for at, space in enumerate(self._spaces):
            arrays[f"vectors{at}"] = shard.embedded[space.name].vectors.astype(self._dtype)
            arrays[f"present{at}"] = shard.embedded[space.name].present
        record = {"doc_ids": shard.doc_ids, "quarantined": [asdict(video) for video in shard.quarantined]}
        try:
            if any(shard.towers.values()):  # first: an item is done when its vectors are there
                _save(self._outputs_path(key), {}, {}, shard.towers)
            _save(self._path(key), record, arrays, {})
        except OSError as error:
            raise DataError(
                f"{self.folder}: vectors cannot be kept: {error.strerror or error}; make room and refresh again: "
                "what is done will not be done again"
            ) from error

    def load(self, key: str) -> EmbeddedShard | None:
        """Give the kept result of an item; None when there is none, or when it is damaged.

        The zip container holds a CRC-32 of each array, which is checked here.
        """
        path = self._path(key)
        try:
            record, arrays, _ = _load(path)
            doc_ids = tuple(record["doc_ids"])
            quarantined = tuple(
                Quarantined(q["doc_id"], Reason(q["reason"]), q["detail"]) for q in record["quarantined"]
            )
            embedded = {
                space.name: Embedded(arrays[f"vectors{at}"].astype(np.float32), arrays[f"present{at}"])
                for at, space in enumerate(self._spaces)
            }
        except FileNotFoundError:
            return None
        except Exception as error:  # numpy and zipfile raise a dozen kinds for a damaged file; it is made again
            log.warning("%s: is damaged and will be made again: %s", path, error)
            return None
        return EmbeddedShard(doc_ids, embedded, quarantined=quarantined)

    def holds(self, key: str) -> bool:
        """Tell whether there is a result of an item; whether it is damaged shows when it is loaded."""
        return self._path(key).exists()

    def take_outputs(self, key: str) -> Outputs:
        """Give the outputs of towers of a finished item, and remove them here: they take far more room than vectors."""
        path = self._outputs_path(key)
        if not path.exists():
            return {}
        outputs = read_outputs(path)
        path.unlink(missing_ok=True)
        return outputs

    def _outputs_path(self, key: str) -> Path:
        return self.folder / f"{key}.outputs.npz"

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.npz"


def write_outputs(path: Path, outputs: Outputs) -> None:
    """Write outputs of towers for those that embed an item, atomically.

    Raises:
        DataError: the disk refuses.
    """
    try:
        _save(path, {}, {}, outputs)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}; make room and refresh again") from error


def read_outputs(path: Path) -> Outputs:
    """Read outputs of towers; nothing where the file is damaged or gone: what is missing is computed."""
    try:
        return _load(path)[2]
    except Exception as error:  # as above
        log.warning("%s: cannot be read, and pictures are encoded again: %s", path, error)
        return {}


def _save(path: Path, record: Mapping[str, Any], arrays: dict[str, npt.NDArray[Any]], outputs: Outputs) -> None:
    arrays = dict(arrays)
    for modality, kept in outputs.items():
        if kept:
            arrays[f"places.{modality.value}"] = np.array(sorted(kept), np.int64)
            arrays[f"outputs.{modality.value}"] = np.stack([kept[place] for place in sorted(kept)])
    arrays["record"] = np.frombuffer(json.dumps(record).encode(), np.uint8)
    with replacing(path) as beside, beside.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _load(path: Path) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]], dict[Modality, dict[int, Float32]]]:
    with path.open("rb") as file, np.load(file, allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    outputs = {
        modality: dict(zip(arrays[f"places.{modality}"].tolist(), arrays[f"outputs.{modality}"], strict=True))
        for modality in Modality
        if f"places.{modality}" in arrays
    }
    return json.loads(arrays["record"].tobytes()), arrays, outputs


def clear(index_dir: Path, recipe: str) -> None:
    """Remove what a refresh kept, and what others kept and gave up; call it with the index held for refreshing."""
    own, everyones = work_of(index_dir, recipe), index_dir / ".work"
    try:
        for folder in list(everyones.iterdir()) if everyones.exists() else []:
            if folder == own or time.time() - _last_change(folder) > GIVEN_UP_AFTER:
                _remove(folder)
        if everyones.exists() and not any(everyones.iterdir()):
            everyones.rmdir()
    except OSError as error:  # what was to be published is; the next refresh tries again
        log.warning("%s: cannot be removed: %s", everyones, error.strerror or error)


def _last_change(path: Path) -> float:
    return max(found.lstat().st_mtime for found in (path, *path.rglob("*")))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
