"""A whole run: data, tokenizer, model, stages, and the model folder at the end. Starting it again goes on."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import torch
import yaml

from mmsearch.data.formats import check_readable
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.tables import read_interactions, read_judgments
from mmsearch.errors import ConfigError, CorruptIndexError, DataError
from mmsearch.files import hash_bytes, hash_file, read_json, sole_writer, write_bytes, write_json
from mmsearch.models.checkpoint import pick_device, save_model
from mmsearch.models.fingerprints import model_spaces
from mmsearch.models.inputs import InputMaker
from mmsearch.models.match import MatchModel
from mmsearch.text import Tokenizer
from training.batches import GradedBatches, PairBatches
from training.checkpoints import Position, latest_checkpoint, restore_model, restore_state, save_checkpoint
from training.config import DataSettings, FitSettings, StageSettings
from training.loop import Hooks, Stage, run_stage
from training.pairs import clicked_pairs, held_out, judged_rows, title_pairs
from training.tasks import GradedSettings
from training.tracking import MetricsLog
from training.validation import Validation

#: Bytes of text that a tokenizer is trained on at most: more does not change a vocabulary much.
_TOKENIZER_CHARS = 200_000_000

_log = logging.getLogger(__name__)


def fit(settings: FitSettings) -> Path:
    """Train a model through all stages and write it into `run.dir`.

    A run that was killed goes on from its last checkpoint and ends with the same bytes as one that was not (on a CPU
    with the same number of threads). A run that has ended is left as it is.

    Returns:
        The folder: `model.safetensors`, `config.json`, `tokenizer/`, `fingerprints.json` (written last),
        `config.yaml` (all settings), `metrics.jsonl`.

    Raises:
        ConfigError: settings contradict each other, the corpus, or the run that the folder holds.
        DataError: data cannot be read, the loss is not finite, or another process trains in the folder.
    """
    with sole_writer(settings.run.dir):
        return _fit(settings)


def _fit(settings: FitSettings) -> Path:
    run = settings.run
    if run.num_threads is not None:
        torch.set_num_threads(run.num_threads)
    corpus = PreparedCorpus.open(settings.data.corpus)
    settings.model.check_prepared(corpus.settings, settings.data.corpus)
    run_hash = _run_hash(settings, corpus)
    if _has_ended(run.dir, run_hash):
        _log.info("%s: this run has ended already", run.dir)
        return run.dir
    found = latest_checkpoint(run.dir / "checkpoints", run_hash)
    write_bytes(run.dir / "config.yaml", _as_yaml(settings))
    tokenizer = _tokenizer(settings, corpus)
    torch.manual_seed(run.seed)
    trained = {space for stage in settings.stages for space in stage.task.spaces}
    model = MatchModel(settings.model, tokenizer.vocab_size, trained).to(pick_device(run.device))
    if found is not None:
        restore_model(found[0], model)
        _log.info("going on from step %d", found[1].total_steps)
    _run_stages(settings, corpus, tokenizer, model, run_hash, found)
    save_model(run.dir, model, tokenizer)
    _write_fingerprints(run.dir, model, tokenizer, run_hash)
    return run.dir


def _run_stages(
    settings: FitSettings,
    corpus: PreparedCorpus,
    tokenizer: Tokenizer,
    model: MatchModel,
    run_hash: str,
    found: tuple[Path, Position] | None,
) -> None:
    run, checkpoints = settings.run, settings.run.dir / "checkpoints"
    maker = InputMaker(settings.model, tokenizer)
    validate = _validation(settings, maker)
    stages = _unfinished(settings, corpus, maker, found)
    metrics = MetricsLog(run.dir / "metrics.jsonl", found[1].total_steps if found else 0)
    for stage, start, resumed in stages:

        def save(optimizer: torch.optim.Optimizer, done: int, stage: Stage = stage) -> None:
            position = Position(stage.number, done, stage.steps_before + done, run_hash)
            save_checkpoint(checkpoints, model, optimizer, position)

        def restore(optimizer: torch.optim.Optimizer, resumed: Path | None = resumed) -> None:
            if resumed is not None:
                restore_state(resumed, model, optimizer)

        hooks = Hooks(save, restore, lambda: validate(model) if validate else {}, metrics)
        run_stage(model, stage, run, start, hooks)


def _unfinished(
    settings: FitSettings, corpus: PreparedCorpus, maker: InputMaker, found: tuple[Path, Position] | None
) -> list[tuple[Stage, int, Path | None]]:
    """Give the stages that are not done, each with the step and the checkpoint that it starts from.

    The data of all is read here, before the first step: what is missing must not come out after days of training.
    """
    excluded = held_out(settings.data)
    stages, steps_before = [], 0
    for number, stage in enumerate(settings.stages):
        start, resumed = _start(stage.steps, number, found)
        if start < stage.steps:
            batches = _batches(settings, stage, number, corpus, maker, excluded)
            stages.append((Stage(number, stage, batches, steps_before), start, resumed))
        steps_before += stage.steps
    return stages


def _start(steps: int, number: int, found: tuple[Path, Position] | None) -> tuple[int, Path | None]:
    """Give the step at which a stage starts, and the checkpoint of its optimizer if it starts in its midst."""
    if found is None or number > found[1].stage:
        return 0, None
    if number < found[1].stage:
        return steps, None
    return found[1].step, found[0]


def _batches(
    settings: FitSettings,
    stage: StageSettings,
    number: int,
    corpus: PreparedCorpus,
    maker: InputMaker,
    excluded: set[str],
) -> PairBatches | GradedBatches:
    seed = settings.run.seed * 1000 + number
    task = stage.task
    if isinstance(task, GradedSettings):
        if settings.data.judgments is None:
            raise ConfigError(f"stage '{stage.name}' learns from grades: give data.judgments")
        rows = judged_rows(corpus, read_judgments(settings.data.judgments), settings.data.aspect, excluded)
        return GradedBatches(corpus, rows, maker, task, batch_size=stage.batch_size, seed=seed)
    titles = task.pairs == "titles"
    pairs = title_pairs(corpus, excluded) if titles else clicked_pairs(corpus, settings.data, excluded)
    if not len(pairs.row_of):
        raise DataError(f"stage '{stage.name}': no {task.pairs[:-1]} names a video of the corpus that may be used")
    _log.info("stage '%s': %d pairs, %d queries", stage.name, len(pairs.row_of), len(pairs.queries))
    return PairBatches(corpus, pairs, maker, task, batch_size=stage.batch_size, seed=seed)


def _validation(settings: FitSettings, maker: InputMaker) -> Validation | None:
    if settings.data.val_judgments is None:
        return None
    corpus = PreparedCorpus.open(settings.data.corpus)  # its own: batches are made from the other in a thread
    judgments = read_judgments(settings.data.val_judgments)
    return Validation(corpus, judged_rows(corpus, judgments, settings.data.aspect, set()), maker)


def _tokenizer(settings: FitSettings, corpus: PreparedCorpus) -> Tokenizer:
    if settings.tokenizer.folder is not None:
        return Tokenizer.load(settings.tokenizer.folder)
    return Tokenizer.train(
        _texts(settings.data, corpus), vocab_size=settings.tokenizer.vocab_size, min_count=settings.tokenizer.min_count
    )


def _texts(data: DataSettings, corpus: PreparedCorpus) -> Iterator[str]:
    """Give what a tokenizer learns from: the queries that training sees, for they may be in a language or in words
    that no document uses, and then the texts of the corpus."""
    logged = (row.query for row in read_interactions(data.interactions)) if data.interactions else ()
    judged = (row.query for row in read_judgments(data.judgments)) if data.judgments else ()
    yield from dict.fromkeys(chain(logged, judged))
    seen = 0
    for number in range(len(corpus.row_groups)):
        for video in corpus.read_row_group(number):
            yield from video.texts.values()
            seen += sum(len(text) for text in video.texts.values())
        if seen > _TOKENIZER_CHARS:
            return


def _run_hash(settings: FitSettings, corpus: PreparedCorpus) -> str:
    """Hash what decides the result: settings but for the folder's name and how often to report, and all data."""
    dump = settings.model_dump(mode="json")
    for name in ("dir", "save_every", "validate_every", "log_every"):
        del dump["run"][name]
    data = settings.data
    files = [data.interactions, data.judgments, data.val_judgments, data.videos, *data.holdout]
    hashes = []
    for path in files:
        if path is not None:
            check_readable(path)
            hashes.append(hash_file(path).encode())
    if settings.tokenizer.folder is not None:
        hashes.append(Tokenizer.load(settings.tokenizer.folder).to_bytes())
    return hash_bytes(json.dumps(dump, sort_keys=True).encode(), corpus.content_hash.encode(), *hashes)


def _has_ended(folder: Path, run_hash: str) -> bool:
    ended = folder / "fingerprints.json"
    if not ended.is_file():
        return False
    record = read_json(ended)
    if not isinstance(record, dict):
        raise CorruptIndexError(f"{ended}: is not what a finished run writes; remove it to finish the run again")
    if record.get("run_hash") != run_hash:
        raise ConfigError(f"{folder}: holds a finished run with other settings or data; give another run.dir")
    return True


def _write_fingerprints(folder: Path, model: MatchModel, tokenizer: Tokenizer, run_hash: str) -> None:
    spaces = {space.name: space.fingerprint for space in model_spaces(model, tokenizer)}
    write_json(folder / "fingerprints.json", {"run_hash": run_hash, "spaces": spaces})


def _as_yaml(settings: FitSettings) -> bytes:
    text: str = yaml.safe_dump(settings.model_dump(mode="json"), allow_unicode=True, sort_keys=False)
    return text.encode()
