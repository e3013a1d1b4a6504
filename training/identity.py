"""Which run a folder holds: hashes of everything that decides the result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmsearch.data.formats import check_readable
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import CorruptIndexError
from mmsearch.files import hash_bytes, hash_file, read_json
from training.checkpoints import Figures, OtherRunError
from training.config import DataSettings, FitSettings, StageSettings
from training.paths import RunPaths

#: Settings of a run that do not decide what it comes to (on a CPU), so that they may change when it goes on.
_FREE = (
    "dir",
    "save_every",
    "log_every",
    "tensorboard",
    "peak_tflops",
    "engine",
    "device",
    "activation_checkpointing",
    "load_threads",
)
#: Settings of `data.prepare` that came later. What they do to a corpus is in its hash; here they would end every run
#: that was begun before there were such settings.
LATER = ("retry_failed", "max_lost_share")
#: All settings that may change, as `training.other_run` names them.
FREE = (
    *(f"run.{name}" for name in _FREE),
    *(f"data.prepare.{name}" for name in LATER),
    *("compare", "stages.chunk_size", "data.root", "data.on_error"),
)


def run_hash_of(settings: FitSettings, corpus: PreparedCorpus, val_corpus: PreparedCorpus | None) -> str:
    """Hash what decides the result: settings (generations of old indexes named), but for where and how it runs, and all
    data."""
    dump = settings.model_dump(mode="json")
    del dump["compare"]
    for name in _FREE:
        del dump["run"][name]
    for stage, told in zip(dump["stages"], settings.stages, strict=True):
        del stage["chunk_size"]
        if getattr(told.task, "compatible", None) is None:  # as before there was such a setting
            stage["task"].pop("compatible", None)
        else:  # its generation is named, and the name holds a hash of all that stands there
            del stage["task"]["compatible"]["index"]
    if settings.run.keep == "last" and all(stage.patience is None for stage in settings.stages):
        del dump["run"]["validate_every"]
    for name in ("root", "corpus", "val_corpus", "val_videos"):  # what is in the corpora counts, not where they are
        del dump["data"][name]
    for name in LATER:
        del dump["data"]["prepare"][name]
    del dump["data"]["on_error"]  # a run that did not end at a bad row had none
    _hash_tables(dump["data"], settings.data)
    for stage in dump["stages"]:
        _hash_tables(stage["data"], settings.data)
    hashes = [one.content_hash.encode() for one in (corpus, val_corpus) if one is not None]
    tokenizer = settings.tokenizer.load()
    if tokenizer is not None:
        hashes.append(tokenizer.to_bytes())
    return hash_bytes(json.dumps(dump, sort_keys=True).encode(), *hashes)


def stage_record(settings: FitSettings, corpus: PreparedCorpus, number: int, before: Figures) -> dict[str, Any]:
    """Give what lineage tells of a stage that begins: what it is made of, and the figures before it."""
    stages = settings.all_stages
    stage = stages[number]
    compatible = getattr(stage.task, "compatible", None)
    old = {} if compatible is None else {"compatible_with": compatible.generation}
    return {
        "name": stage.name,
        "settings": stage.model_dump(mode="json"),
        "settings_hash": hash_bytes(json.dumps(stage.model_dump(mode="json"), sort_keys=True).encode()),
        "data": {"corpus": corpus.content_hash} | {p.name: hash_file(p) for p in _files_of(settings, stage)} | old,
        "parent": _parent(stages, number),
        "before": before,
    }


def _parent(stages: list[StageSettings], number: int) -> dict[str, Any]:
    start = stages[number].start_from
    found: dict[str, Any] = {"stage": stages[number - 1].name} if number else {"weights": "random or pretrained"}
    if start is not None:
        path = start.run / "model.safetensors" if start.run.is_dir() else start.run
        found |= {"run": str(start.run), "parts": start.parts, "hash": hash_file(path) if path.is_file() else None}
    return found


def _hash_tables(dump: dict[str, Any], data: DataSettings) -> None:
    """Put the hash of each table in place of its path: data that was moved is the same data.

    Raises:
        DataError: a table cannot be read.
    """
    for name in {"interactions", "judgments", "val_judgments", "val_interactions", "videos"} & dump.keys():
        dump[name] = None if dump[name] is None else _hash_of(data.path(Path(dump[name])))
    if "holdout" in dump:
        dump["holdout"] = [_hash_of(data.path(Path(path))) for path in dump["holdout"]]


def _hash_of(path: Path) -> str:
    check_readable(path)
    return hash_file(path)


def _files_of(settings: FitSettings, stage: StageSettings) -> list[Path]:
    data = settings.data
    logs = stage.data.interactions or data.interactions
    grades = stage.data.judgments or data.judgments
    pairs = "grades" if stage.task.type == "graded" else getattr(stage.task, "pairs", None)
    path = {"clicks": logs, "grades": grades}.get(str(pairs))
    return [] if path is None else [data.path(path)]


def has_ended(paths: RunPaths, run_hash: str) -> bool:
    """Tell whether the folder holds this run, finished.

    Raises:
        OtherRunError: it holds another finished run.
        CorruptIndexError: it cannot be told.
    """
    if not paths.fingerprints.is_file():
        return False
    record = read_json(paths.fingerprints)
    if not isinstance(record, dict):
        raise CorruptIndexError(f"{paths.fingerprints}: is not what a finished run writes; remove it to finish again")
    if record.get("run_hash") != run_hash:
        raise OtherRunError(f"{paths.folder}: holds a finished run with other settings or data; give another run.dir")
    return True
