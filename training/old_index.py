"""The index of an older model that a task is to be compatible with: read for batches, and validated on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from mmsearch.errors import ConfigError
from mmsearch.index import ForwardIndex
from mmsearch.index.query_tower import TowerSpace, read_query_tower
from mmsearch.matching import PolySettings
from mmsearch.models.document import Codes
from mmsearch.scoring import OnnxQueryEncoder
from training.config import FitSettings
from training.tasks import TaskSettings
from training.tasks.compatible import OldVectors
from training.tasks.settings import CompatibleSettings, MatchingSettings

#: Queries whose old vectors are kept: few megabytes, and an epoch of most logs.
_CACHE_SIZE = 1 << 16


class OldIndex:
    """A generation of a forward index, open for the whole run. Safe for threads.

    Args:
        settings: of the term.
        spaces: those that the task trains.
        dim: of the model's vectors.

    Raises:
        ConfigError: the index has none of the spaces, or not all that are asked for, or vectors of another dimension;
            or of two models.
        DataError: there is no such generation.
        CorruptIndexError: a file of it is damaged: all are read, for a wrong target would teach in silence.
    """

    def __init__(self, settings: CompatibleSettings, spaces: Sequence[str], dim: int) -> None:
        self.settings = settings
        self._index = _open(settings)
        if len(self._index.versions) > 1:
            raise ConfigError(f"{self}: holds vectors of two models; give compatible.generation: {self._index.base}")
        self._index.verify()
        told = {space.name: space for space in read_query_tower(self._index.query_tower).spaces}
        held = {space.name for space in self._index.spaces}
        wanted = [space for space in spaces if space in held] if settings.spaces is None else settings.spaces
        missing = [space for space in wanted if space not in held]
        if missing or not wanted:
            named = ", ".join(missing) or " or ".join(spaces)
            raise ConfigError(f"{self}: has no vectors of {named}; it has: {', '.join(sorted(held))}")
        self._spaces: dict[str, TowerSpace] = {space: told[space] for space in wanted}
        for space in self._spaces.values():
            if space.dim != dim:
                raise ConfigError(
                    f"{self}: {space.name} has dimension {space.dim}, and the model {dim}; they must agree"
                )
        self._encoder: OnnxQueryEncoder | None = None

    def __str__(self) -> str:
        return f"{self.settings.index} ({self._index.generation})"

    def of(self, doc_ids: Sequence[str], queries: Sequence[str]) -> OldVectors:
        """Give what the index has of a batch; of its queries, too, where the task asks with them."""
        asked = self.queries(queries) if self.settings.old_queries else {}
        polies = {name: PolySettings(selection=s.selection, sharpness=s.sharpness) for name, s in self._spaces.items()}
        return OldVectors({name: self._codes(name, doc_ids) for name in self._spaces}, polies, asked)

    def queries(self, queries: Sequence[str]) -> dict[str, Tensor]:
        """Give the vectors of queries by the old query tower, by space, [Q, D]; zeros where one says nothing."""
        if self._encoder is None:
            self._encoder = OnnxQueryEncoder.open(self._index.query_tower, cache_size=_CACHE_SIZE)
        found = self._encoder.encode(queries)
        return {name: torch.from_numpy(found[name]) for name in self._spaces}

    def _codes(self, space: str, doc_ids: Sequence[str]) -> Codes:
        told = self._spaces[space]
        vectors, present = self._index.vectors(space, self._index.rows(doc_ids))
        codes = vectors.reshape(len(doc_ids), told.num_codes, told.dim)
        return Codes(torch.from_numpy(np.ascontiguousarray(codes)), torch.from_numpy(present))


def pinned(settings: FitSettings) -> FitSettings:
    """Name the generation in every stage that leaves it to what is served: that may change while the run goes on.

    Raises:
        DataError: there is no such index or generation.
    """
    stages = []
    for stage in settings.stages:
        told = _compatible(stage.task)
        if told is not None:
            named = told.model_copy(update={"generation": _open(told).generation})
            stage = stage.model_copy(update={"task": stage.task.model_copy(update={"compatible": named})})
        stages.append(stage)
    return settings.model_copy(update={"stages": stages})


def compatible_with(settings: FitSettings) -> dict[str, str]:
    """Give, by space, the fingerprint of the old vectors that a run's queries are trained to find.

    Only what the last stage of a space holds on to counts, by its own task or by the one that it replays: what a later
    stage without the term undoes is not promised.
    """
    found: dict[str, str] = {}
    for stage in settings.all_stages:
        replayed = stage.replay.stage if stage.replay else None
        tasks = [stage.task, *(other.task for other in settings.all_stages if other.name == replayed)]
        trained = {space for task in tasks for space in task.spaces}
        found = {space: old for space, old in found.items() if space not in trained}
        for told, spaces in ((_compatible(task), task.spaces) for task in tasks):
            if told is not None and told.weight:
                held = {space.name: space.fingerprint for space in _open(told).spaces}
                found |= {space: held[space] for space in told.spaces or spaces if space in held}
    return found


def _compatible(task: TaskSettings) -> CompatibleSettings | None:
    return task.compatible if isinstance(task, MatchingSettings) else None


def _open(settings: CompatibleSettings) -> ForwardIndex:
    return ForwardIndex.open(settings.index, settings.generation)
