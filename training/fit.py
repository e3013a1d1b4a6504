"""A whole run: data, tokenizer, model, stages, and the model folder at the end. Starting it again goes on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
import yaml
from torch import Tensor

from mmsearch.allocator import keep_freed_memory
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.files import hash_bytes, sole_writer, write_bytes, write_json
from mmsearch.models.checkpoint import save_model, write_model_config
from mmsearch.models.fingerprints import model_spaces
from mmsearch.models.inputs import InputMaker
from mmsearch.models.match import MatchModel
from mmsearch.models.pretrained import load_pretrained, start_from
from mmsearch.nn.distributed import barrier, rank
from mmsearch.text import Tokenizer
from training.checkpoints import Figures, Position, forget_best, latest_checkpoint, read_tensors
from training.config import DataSettings, FitSettings, StageData, StageSettings
from training.corpora import open_corpora
from training.engines.choice import make_engine
from training.freezing import Freezing
from training.identity import FREE, has_ended, run_hash_of, stage_record
from training.lineage import Lineage
from training.loop import Stage, StageLoop, tell_change
from training.old_index import compatible_with, pinned
from training.other_run import differences_told
from training.paths import RunPaths
from training.preflight import check_stages
from training.processes import together
from training.reach import unreached
from training.stages import Sources, trained_spaces
from training.tables import RunTables
from training.tracking import Tracker
from training.weights import put_weights, unique_tensors

#: Characters of the corpus that a tokenizer is trained on at most: more does not change a vocabulary much.
_TOKENIZER_CHARS = 200_000_000

_log = logging.getLogger(__name__)


def fit(settings: FitSettings) -> Path:
    """Train a model through all stages and write it into `run.dir`.

    A run that was killed goes on from its last checkpoint and ends with the same bytes as one that was not (on a CPU
    with the same number of threads and processes); it may go on with another number of processes or another engine. A
    run that has ended is left as it is. Under `torchrun` or `deepspeed` every process calls this.

    Returns:
        The folder: `model.safetensors`, `config.json`, `tokenizer/`, `fingerprints.json` (written last),
        `config.yaml` (all settings), `metrics.jsonl`, `lineage.json`, `checkpoints/`.

    Raises:
        ConfigError: settings contradict each other, the corpus, or the run that the folder holds.
        DataError: data cannot be read, the loss is not finite, or another process trains in the folder.
    """
    keep_freed_memory()
    if settings.run.num_threads is not None:
        torch.set_num_threads(settings.run.num_threads)
    with together(settings.run.device) as device, sole_writer(settings.run.dir) if rank() == 0 else nullcontext():
        barrier()  # rank 0 holds the folder
        _Run(settings, device).go()
    return settings.run.dir


@dataclass(frozen=True)
class _Outcome:
    """What a stage left: weights of the model by name."""

    weights: dict[str, Tensor]
    figures: Figures


class _Run:
    """One run in one process."""

    def __init__(self, settings: FitSettings, device: torch.device) -> None:
        resolved = settings.model.resolve()
        self._settings, self._device = pinned(settings.model_copy(update={"model": resolved})), device
        self._paths = RunPaths(settings.run.dir)

    def go(self) -> None:
        """Do what is left to do of the run."""
        settings, paths = self._settings, self._paths
        corpus, val_corpus = open_corpora(settings, paths)
        run_hash = run_hash_of(settings, corpus, val_corpus)
        with differences_told(paths.config, settings, FREE):
            if has_ended(paths, run_hash):
                _log.info("%s: this run has ended already", paths.folder)
                return
            found = latest_checkpoint(paths.checkpoints, run_hash)
        self._compatible_with = compatible_with(settings)  # now: an old index may be gone when the run ends
        tokenizer = _tokenizer(settings, corpus, RunTables.of(settings, paths))
        maker = InputMaker(settings.model, tokenizer)
        if rank() == 0:
            write_bytes(paths.config, _as_yaml(settings))
            write_model_config(paths.folder, settings.model, trained_spaces(settings), tokenizer)
        barrier()
        self._run_hash, self._tokenizer = run_hash, tokenizer
        self._sources = Sources(settings, corpus, val_corpus, maker, paths)
        outcome = self._run_stages(found)
        if rank() == 0:
            self._finish(outcome)
        barrier()

    def _run_stages(self, found: tuple[Path, Position] | None) -> _Outcome:
        total_steps = found[1].total_steps if found else 0
        if found is not None:
            _log.info("going on from step %d", total_steps)
        lineage = Lineage(self._paths.lineage, rank())
        outcome: _Outcome | None = None
        if found is not None and found[1].ended:
            outcome = _Outcome(_of_model(read_tensors(found[0], "model")), found[1].figures)
            lineage.end(found[1].stage, {"after": outcome.figures})  # it may have been killed just before
        left = self._stages_left(found)  # reads all data: what is missing is told before the first step
        model = MatchModel(self._settings.model, self._tokenizer.vocab_size, trained_spaces(self._settings))
        fresh = [stage.settings for stage, resumed in left if resumed is None]
        check_stages(model, fresh, self._sources, self._tokenizer)
        del model
        tensorboard = self._settings.run.tensorboard
        with Tracker(self._paths.folder, total_steps, tensorboard=tensorboard, rank=rank()) as tracker:
            for stage, resumed in left:
                outcome = self._run_stage(stage, resumed, outcome, tracker, lineage)
        if outcome is None:  # there is a stage at least, and it ran or had ended
            raise RuntimeError("no stage ran")
        return outcome

    def _stages_left(self, found: tuple[Path, Position] | None) -> list[tuple[Stage, tuple[Path, Position] | None]]:
        """Give the stages that are not over, the first with the checkpoint in its midst if there is one.

        The data of all is read here, before the first step: what is missing must not come out after days of training.
        """
        left, steps_before = [], 0
        for number, settings in enumerate(self._settings.all_stages):
            position = found[1] if found else None
            over = position is not None and (number < position.stage or (number == position.stage and position.ended))
            if not over:
                stage = Stage(
                    number,
                    settings,
                    self._sources.batches(number),
                    steps_before,
                    self._sources.validation(settings),
                    self._sources.select(settings),
                )
                left.append((stage, found if position is not None and position.stage == number else None))
            steps_before += settings.steps
        return left

    def _run_stage(
        self,
        stage: Stage,
        resumed: tuple[Path, Position] | None,
        before: _Outcome | None,
        tracker: Tracker,
        lineage: Lineage,
    ) -> _Outcome:
        run, settings = self._settings.run, stage.settings
        model = self._model(settings, before, fresh=resumed is None)
        learner = self._sources.learner(model, settings)
        reach = unreached(model, self._sources.tasks(settings))
        freezing = Freezing(learner, settings.train, settings.freeze, reach)
        if run.activation_checkpointing:
            model.set_checkpointing(True)
        engine = make_engine(run.engine, learner, settings.optim, chunk_size=settings.chunk_size)
        loop = StageLoop(engine, stage, run, self._paths, tracker, self._run_hash, freezing)
        if resumed is None:
            if rank() == 0:
                forget_best(self._paths.checkpoints)
            figures = stage.validate(learner, stage.steps_before)
            lineage.begin(stage.number, stage_record(self._settings, self._sources.corpus, stage.number, figures))
        else:
            loop.resume(resumed[0].name, resumed[1])
        weights, figures = loop.run(0 if resumed is None else resumed[1].step)
        if rank() == 0:
            tell_change(settings.name, stage.select, lineage.before(stage.number), figures)
        lineage.end(stage.number, {"after": figures})
        engine.close()
        return _Outcome(_of_model(weights), figures)

    def _model(self, stage: StageSettings, before: _Outcome | None, *, fresh: bool) -> MatchModel:
        """Give the model as a stage starts with it; one that goes on from a checkpoint gets its weights later."""
        settings = self._settings
        torch.manual_seed(settings.run.seed)
        model = MatchModel(settings.model, self._tokenizer.vocab_size, trained_spaces(settings))
        if fresh and before is not None:
            put_weights(model, before.weights)
        elif fresh:
            load_pretrained(model)
        if fresh and stage.start_from is not None:
            start_from(model, str(stage.start_from.run), stage.start_from.parts, self._tokenizer)
        if fresh and stage.student_from_teacher:
            model.renew_student()
        return model.to(self._device)

    def _finish(self, outcome: _Outcome) -> None:
        settings, folder = self._settings, self._paths.folder
        model = MatchModel(settings.model, self._tokenizer.vocab_size, trained_spaces(settings))
        put_weights(model, outcome.weights)
        save_model(folder, model, self._tokenizer)
        spaces = {space.name: space.fingerprint for space in model_spaces(model, self._tokenizer)}
        weights = hash_bytes(*(t.numpy().tobytes() for t in unique_tensors(model).values()))
        record = {"run_hash": self._run_hash, "weights": weights, "spaces": spaces}
        if self._compatible_with:
            record["compatible_with"] = self._compatible_with
        write_json(self._paths.fingerprints, record)


def _of_model(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take a learner's weights of the model; what the task added (a decoder) stays behind."""
    return {name.removeprefix("model."): t for name, t in weights.items() if name.startswith("model.")}


def _tokenizer(settings: FitSettings, corpus: PreparedCorpus, tables: RunTables) -> Tokenizer:
    given = settings.tokenizer.load()
    if given is not None:
        return given
    return Tokenizer.train(
        _texts(settings, corpus, tables),
        vocab_size=settings.tokenizer.vocab_size,
        min_count=settings.tokenizer.min_count,
    )


def _texts(settings: FitSettings, corpus: PreparedCorpus, tables: RunTables) -> Iterator[str]:
    """Give what a tokenizer learns from: the queries that training sees, for they may be in a language or in words
    that no document uses, and then the texts of the corpus."""
    sources: list[DataSettings | StageData] = [settings.data, *(stage.data for stage in settings.stages)]
    logs = dict.fromkeys(source.interactions for source in sources if source.interactions)
    grades = dict.fromkeys(source.judgments for source in sources if source.judgments)
    logged = (row.query for log in logs for row in tables.interactions(log))
    judged = (row.query for path in grades for row in tables.judgments(path))
    yield from dict.fromkeys(chain(logged, judged))
    seen = 0
    for number in range(len(corpus.row_groups)):
        for video in corpus.read_row_group(number):
            yield from video.texts.values()
            seen += sum(len(text) for text in video.texts.values())
        if seen > _TOKENIZER_CHARS:
            return


def _as_yaml(settings: FitSettings) -> bytes:
    text: str = yaml.safe_dump(settings.model_dump(mode="json"), allow_unicode=True, sort_keys=False)
    return text.encode()
