"""From settings to stages that can run: their data, their batches, their validation."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.tables import read_judgments
from mmsearch.errors import ConfigError, DataError
from mmsearch.files import read_json
from mmsearch.models.document import SPACES
from mmsearch.models.inputs import InputMaker
from mmsearch.models.match import MatchModel
from mmsearch.nn.distributed import rank, world_size
from training.batches import GradedBatches, PairBatches, Share
from training.checkpoints import Figures
from training.config import FitSettings, StageSettings
from training.cross_batches import CrossClickBatches, CrossGradedBatches
from training.cross_validation import CrossValidation
from training.learner import Batch, ChunkedLearner, Learner
from training.masked_validation import MaskedValidation
from training.old_index import OldIndex
from training.old_validation import OldValidation
from training.pairs import Judged, Pairs, clicked_pairs, held_out, judged_rows, known_clicks, picture_rows, title_pairs
from training.paths import RunPaths
from training.picture_batches import PictureBatches
from training.retrieval import PairValidation
from training.tables import RunTables, Tally
from training.tasks import (
    ContrastiveSettings,
    CrossLearner,
    CrossSettings,
    GradedSettings,
    MaskedLearner,
    MaskedSettings,
    TaskSettings,
)
from training.tasks.cross import FIGURE
from training.validation import Validation

Batches = Callable[[int], Batch]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sources:
    """What all stages of a run draw from.

    Args:
        settings: of the run.
        corpus: the prepared corpus.
        val_corpus: the corpus for validation by pairs; None = none.
        maker: of tensors.
        paths: of the run.
    """

    settings: FitSettings
    corpus: PreparedCorpus
    val_corpus: PreparedCorpus | None
    maker: InputMaker
    paths: RunPaths

    def batches(self, number: int) -> Batches:
        """Give the batches of a stage, with the steps of an earlier stage that it replays.

        Raises:
            ConfigError: the stage needs data that the settings do not name.
            DataError: there is nothing to learn from.
        """
        stages = self.settings.all_stages
        stage = stages[number]
        own = self._batches(stage, number)
        if stage.replay is None:
            return own
        earlier = next(i for i, other in enumerate(stages) if other.name == stage.replay.stage)
        return Mixed(own, self._batches(stages[earlier], number), stage.replay.share)

    def _batches(self, stage: StageSettings, number: int) -> Batches:
        batch_size = stage.batch_size
        seed, share = self.settings.run.seed * 1000 + number, Share(rank(), world_size())
        task, corpus, maker = stage.task, self.corpus, self.maker
        data = self.settings.data.model_copy(update=stage.data.model_dump(exclude_none=True))
        excluded = self._excluded
        if isinstance(task, MaskedSettings):
            rows, held = picture_rows(corpus, task.sources, excluded)
            Tally(corpus.folder, "videos with pictures", len(rows), len(held)).report()
            return PictureBatches(corpus, rows, maker, task, batch_size=batch_size, seed=seed, share=share)
        if isinstance(task, GradedSettings) or task.pairs == "grades":
            if data.judgments is None:
                raise ConfigError(f"stage '{stage.name}' learns from grades: give data.judgments")
            grades = self._tables.judgments(data.judgments)
            rows_of = judged_rows(corpus, grades, data.aspect, excluded, data.path(data.judgments))
            if isinstance(task, CrossSettings):
                return CrossGradedBatches(corpus, rows_of, maker, task, batch_size=batch_size, seed=seed, share=share)
            old = self._old(stage, learned=True)
            return GradedBatches(corpus, rows_of, maker, task, batch_size=batch_size, seed=seed, share=share, old=old)
        titles = task.pairs == "titles"
        pairs = title_pairs(corpus, excluded) if titles else clicked_pairs(corpus, data, excluded, self._tables)
        tell_pairs(stage.name, task, pairs)
        if isinstance(task, CrossSettings):
            return CrossClickBatches(corpus, pairs, maker, task, batch_size=batch_size, seed=seed, share=share)
        old = self._old(stage, learned=True)
        return PairBatches(corpus, pairs, maker, task, batch_size=batch_size, seed=seed, share=share, old=old)

    @cached_property
    def _tables(self) -> RunTables:
        return RunTables.of(self.settings, self.paths)

    @cached_property
    def _excluded(self) -> set[str]:
        return held_out(self.settings.data)

    def _old(self, stage: StageSettings, *, learned: bool) -> OldIndex | None:
        """Open the old index that a stage is to be compatible with; None = none.

        Args:
            stage: the stage.
            learned: only if the stage learns from it, and does not merely measure.
        """
        told = getattr(stage.task, "compatible", None)
        if told is None or (learned and not told.weight):
            return None
        try:
            return OldIndex(told, stage.task.spaces, self.settings.model.dim)
        except ConfigError as error:
            raise ConfigError(f"stage '{stage.name}': {error}") from error

    def tasks(self, stage: StageSettings) -> list[TaskSettings]:
        """Give what a stage learns: its task, and that of the stage that it replays."""
        replayed = stage.replay.stage if stage.replay else None
        return [stage.task, *(other.task for other in self.settings.all_stages if other.name == replayed)]

    def learner(self, model: MatchModel, stage: StageSettings) -> Learner:
        """Give the model with what the task of a stage adds to it."""
        precision = self.settings.run.precision
        if isinstance(stage.task, MaskedSettings):
            return MaskedLearner(model, stage.task, precision)
        if isinstance(stage.task, CrossSettings):
            return CrossLearner(model, precision)
        return ChunkedLearner(model, precision)

    def validation(self, stage: StageSettings) -> Callable[[Learner, int], Figures]:
        """Give what validates a learner after so many steps: rebuilt pictures, or figures of ranking."""
        if isinstance(stage.task, MaskedSettings):
            corpus = self.val_corpus or _another(self.corpus)
            rows, held = picture_rows(corpus, stage.task.sources, self._excluded if self.val_corpus is None else set())
            if self.val_corpus is None and not len(held):
                _log.info(
                    "stage '%s': nothing is held out; its validation is on pictures that it learns from", stage.name
                )
            rows = held if len(held) else rows
            return MaskedValidation(corpus, rows, self.maker, stage.task, self.paths)
        rankings = list(self._rankings)  # read now, not at the first validation
        if isinstance(stage.task, CrossSettings):
            rankings += [CrossValidation(corpus, judged, self.maker) for corpus, judged in self._val_judged]
        old = self._old(stage, learned=False)
        if old is not None:
            rankings += [OldValidation(corpus, judged, self.maker, old) for corpus, judged in self._val_judged]
        return lambda learner, _: _merged(one(learner.model) for one in rankings)

    @cached_property
    def _val_judged(self) -> list[tuple[PreparedCorpus, Judged]]:
        """The held-out judgments, if any. A corpus of its own: batches are made from the other in a thread."""
        data = self.settings.data
        if data.val_judgments is None:
            return []
        corpus, path = _another(self.corpus), data.path(data.val_judgments)
        return [(corpus, judged_rows(corpus, read_judgments(path), data.aspect, set(), path))]

    @cached_property
    def _rankings(self) -> list[Callable[[MatchModel], Figures]]:
        """What ranks held-out judgments and pairs by the vectors."""
        data, maker = self.settings.data, self.maker
        found: list[Callable[[MatchModel], Figures]] = []
        found += [Validation(corpus, judged, maker) for corpus, judged in self._val_judged]
        if data.val_interactions is not None and self.val_corpus is not None:
            log = list(self._tables.interactions(data.val_interactions))
            pairs = known_clicks(self.val_corpus, log, data.path(data.val_interactions), set())
            self._tell_learned({doc_id for _, doc_id in pairs}, data.path(data.val_interactions))
            found.append(PairValidation(self.val_corpus, pairs, maker))
        return found

    def _tell_learned(self, doc_ids: set[str], table: Path) -> None:
        """Warn of videos of a validation by pairs that stages learn from: only judgments hold videos out."""
        both = (doc_ids & self.corpus.row_of.keys()) - self._excluded
        if both and rank() == 0:
            told = "%s: %d of its %d videos are in the corpus that is learned from, too: what it measures was learned"
            _log.warning(told, table, len(both), len(doc_ids))

    def select(self, stage: StageSettings) -> str:
        """Name the figure by which the best weights of a stage are kept."""
        if isinstance(stage.task, MaskedSettings):
            return "loss"
        if isinstance(stage.task, CrossSettings):
            return FIGURE
        wanted, trained = self.settings.run.select, [space for space in SPACES if space in stage.task.spaces]
        space = wanted if wanted in trained else trained[-1]
        return f"{stage.task.towers[-1]}/{space}"


def tell_pairs(name: str, task: ContrastiveSettings | CrossSettings, pairs: Pairs) -> None:
    """Log how many pairs a stage learns from, and warn where spaces learn from satisfied clicks and there are none.

    Raises:
        DataError: then nothing at all would be learned.
    """
    count = int(pairs.satisfied.sum())
    satisfied = "" if pairs.hide_title else f", {count} pairs of satisfied clicks"
    _log.info("stage '%s': %d pairs, %d queries%s", name, len(pairs.row_of), len(pairs.queries), satisfied)
    if isinstance(task, CrossSettings):
        learning, waiting = {FIGURE}, {FIGURE} if task.only_satisfied else set()
    else:
        learning, waiting = set(task.spaces), {space for space in task.spaces if space in task.satisfied_spaces}
    alone = isinstance(task, ContrastiveSettings) and not (task.teacher_weight or task.student_weight)
    if count or not waiting or alone:  # distances of vectors need no clicks
        return
    told = f"stage '{name}': no click satisfied (data.min_watch_s, min_completion; durations are of data.videos)"
    if waiting == learning:
        raise DataError(f"{told}: there is nothing to learn from; lower them, or let all clicks count")
    _log.warning("%s: %s learn nothing from clicks", told, ", ".join(sorted(waiting)))


class Mixed:
    """Batches of a stage, with a share of the steps taken from an earlier one, evenly spread.

    Args:
        own: batches of the stage.
        replayed: batches of the earlier stage.
        share: of the steps, in (0, 1).
    """

    def __init__(self, own: Batches, replayed: Batches, share: float) -> None:
        self._own, self._replayed, self._share = own, replayed, share

    def __call__(self, step: int) -> Batch:
        """Give the batch of a step; each kind is counted by itself, so that none of its batches is passed over."""
        before, after = math.floor(step * self._share), math.floor((step + 1) * self._share)
        return self._replayed(before) if after > before else self._own(step - before)


def trained_spaces(settings: FitSettings) -> tuple[str, ...]:
    """Give the spaces that any stage of a run trains; where none does, those of the run that it starts from."""
    named: set[str] = {space for stage in settings.all_stages for space in stage.task.spaces}
    if not named:
        named = {space for stage in settings.all_stages for space in _spaces_before(stage)}
    return tuple(space for space in SPACES if space in named)


def _spaces_before(stage: StageSettings) -> Sequence[str]:
    if stage.start_from is None or not (stage.start_from.run / "config.json").is_file():
        return ()
    spaces: list[str] = read_json(stage.start_from.run / "config.json").get("spaces", [])
    return spaces


def _merged(parts: Iterable[Figures]) -> Figures:
    merged: Figures = {}
    for part in parts:
        for kind, figures in part.items():
            merged[kind] = merged.get(kind, {}) | figures
    return merged


def _another(corpus: PreparedCorpus) -> PreparedCorpus:
    return PreparedCorpus.open(corpus.folder)
