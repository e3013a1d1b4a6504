"""Filling one shard of a prepared corpus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from mmsearch.data.manifest import SHARDS, Shard
from mmsearch.data.prepare_plan import ShardPlan, ShardResult
from mmsearch.data.prepare_video import Preparation, Rejection
from mmsearch.data.shards import ShardWriter
from mmsearch.errors import ConfigError, MissingExtraError, MmsearchError
from mmsearch.files import hash_file, replacing
from mmsearch.workers import Outcome

_OF_ALL: Mapping[str, type[MmsearchError]] = {kind.__name__: kind for kind in (ConfigError, MissingExtraError)}


def rejection_of(doc_id: str, outcome: Outcome[Preparation]) -> Rejection:
    """Give the rejection that stands for a video whose worker gave nothing.

    Raises:
        MissingExtraError, ConfigError: it would befall every video.
    """
    kind, _, problem = outcome.detail.partition(": ")
    if error := _OF_ALL.get(kind):
        raise error(problem)
    return Rejection(doc_id, None, "unknown" if outcome.failure is None else outcome.failure.value, outcome.detail)


class ShardBuilder:
    """Fills the file of one shard with the outcomes of its rows, in order; the file gets its name when it is whole."""

    def __init__(self, out: Path, plan: ShardPlan, row_group_size: int) -> None:
        self._plan = plan
        self._path = out / SHARDS / plan.file_name
        self._row_group_size = row_group_size
        self._taken = 0
        self._rejections: list[Rejection] = []
        self._modalities: Counter[str] = Counter()
        self._shard: Shard | None = None

    def __enter__(self) -> Self:
        self._files = ExitStack()
        self._beside = self._files.enter_context(replacing(self._path))
        self._writer = self._files.enter_context(ShardWriter(self._beside, self._row_group_size))
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._writer.flush()
        self._files.__exit__(*error)  # type: ignore[arg-type]
        if error[0] is not None:
            return
        if self._writer.rows == 0:
            self._path.unlink(missing_ok=True)
        else:
            size = self._path.stat().st_size
            self._shard = Shard(self._path.name, self._writer.rows, size, hash_file(self._path), self._writer.key)

    def add(self, outcome: Outcome[Preparation]) -> None:
        """Add the outcome of the next row.

        Raises:
            MissingExtraError: a library that the settings need is not installed.
            ConfigError: a model that they name is not there.
        """
        if outcome.value is None:
            self.add_prepared(Preparation(None, (rejection_of(self._plan.rows[self._taken].doc_id, outcome),)))
        else:
            self.add_prepared(outcome.value)

    def add_prepared(self, prepared: Preparation) -> None:
        """Add what became of the next row."""
        self._taken += 1
        self._rejections += prepared.rejections
        if prepared.video is not None:
            self._writer.add(prepared.video)
            self._modalities.update(modality.value for modality in prepared.video.hashes)

    def result(self) -> ShardResult:
        """Give what the shard came to, after the `with` block."""
        counts, rejections = dict(self._modalities), tuple(self._rejections)
        return ShardResult(self._plan.key, self._taken, self._shard, counts, rejections, self._plan.row_keys)
