"""A whole run of fine-tuning: pairs, model, steps, adapter and merged model. Starting it again goes on."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import yaml

from mmsearch.errors import ConfigError, DataError
from mmsearch.files import hash_bytes, sole_writer, write_bytes, write_json
from mmsearch.models.checkpoint import pick_device
from mmsearch.sentences import DocumentFrequencies, counted_text
from training.checkpoints import latest_checkpoint, read_tensors
from training.identity import has_ended
from training.other_run import differences_told
from training.paths import RunPaths
from training.sft.asking import ExampleMaker
from training.sft.examples import Example, Order, hash_of
from training.sft.loop import STAGE, SftLoop
from training.sft.model import (
    checkpoint_activations,
    hash_of_folder,
    load_base,
    load_tokenizer,
    locate_base,
    put_adapter,
    save_adapter,
    save_merged,
    with_adapter,
)
from training.sft.pairs import Pair, read_pairs, split_off
from training.sft.settings import SftSettings
from training.sft.validation import AnswerValidation
from training.tracking import Tracker

#: Settings of a run that do not decide what it comes to, so that they may change when it goes on.
_FREE = {"dir", "save_every", "log_every", "tensorboard", "device", "activation_checkpointing"}
_log = logging.getLogger(__name__)


def sft(settings: SftSettings) -> Path:
    """Fine-tune a language model on pairs of transcripts and key sentences, and merge what it learned.

    A run that was killed goes on from its last checkpoint and ends with the same weights as one that was not (on a CPU
    with the same number of threads). A run that has ended is left as it is. It runs in one process, on one device.

    Returns:
        The folder: `merged/` (a model of transformers), `adapter/` (of peft), `metrics.jsonl`, `config.yaml`,
        `checkpoints/`, `fingerprints.json` (written last).

    Raises:
        ConfigError: the model, its tokenizer or the device cannot be used; the folder holds another run.
        DataError: pairs cannot be read or used, the loss is not finite, or another process trains in the folder.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ConfigError("sft runs in one process; start it without torchrun")
    if settings.run.num_threads is not None:
        torch.set_num_threads(settings.run.num_threads)
    with sole_writer(settings.run.dir):
        _go(settings, RunPaths(settings.run.dir))
    return settings.run.dir


@dataclass(frozen=True)
class _Data:
    """Examples to learn from and to validate on."""

    learned: list[Example]
    held: list[Example]


def _go(settings: SftSettings, paths: RunPaths) -> None:
    device = pick_device(settings.run.device)
    base = locate_base(settings.model)
    tokenizer = load_tokenizer(base)
    data = _examples(settings, tokenizer)
    run_hash = _run_hash(settings, data, base)
    with differences_told(paths.config, settings, {f"run.{name}" for name in _FREE}):
        if has_ended(paths, run_hash):
            _log.info("%s: this run has ended already", paths.folder)
            return
        found = latest_checkpoint(paths.checkpoints, run_hash)
    write_bytes(paths.config, _as_yaml(settings))
    _log.info("%d pairs to learn from, %d to validate on", len(data.learned), len(data.held))
    model = with_adapter(load_base(base, settings.model), settings.lora, settings.run.seed).to(device)
    if found is not None and found[1].ended:
        put_adapter(model, read_tensors(found[0], "model"))
        figures = found[1].figures.get(STAGE, {})
    else:
        figures = _train(settings, data, model, tokenizer, run_hash)
    save_adapter(paths.folder / "adapter", model)
    save_merged(paths.folder / "merged", model, tokenizer)
    write_json(paths.fingerprints, {"run_hash": run_hash, "figures": figures})


def _train(settings: SftSettings, data: _Data, model: Any, tokenizer: Any, run_hash: str) -> dict[str, float]:
    run, paths = settings.run, RunPaths(settings.run.dir)
    found = latest_checkpoint(paths.checkpoints, run_hash)
    start = 0 if found is None else found[1].step
    if run.activation_checkpointing:
        checkpoint_activations(model)
    validate = AnswerValidation(
        data.held,
        tokenizer,
        run.decoded,
        settings.sentences.select.max_answer_tokens,
        settings.chunk_size,
        run.precision,
    )
    batches = Order(data.learned, settings.batch_size, run.seed)
    with Tracker(paths.folder, start if found else -1, tensorboard=run.tensorboard) as tracker:
        loop = SftLoop(model, settings, batches, validate, tracker, run_hash)
        if found is not None:
            _log.info("going on from step %d", start)
            loop.resume(found[0].name, found[1])
        return loop.run(start)


def _examples(settings: SftSettings, tokenizer: Any) -> _Data:
    data, sentences = settings.data, settings.sentences
    pairs = read_pairs(data.pairs, sentences)
    if not pairs:
        raise DataError(f"{data.pairs}: no pairs in it")
    if data.val_pairs is not None:
        learned, held = pairs, read_pairs(data.val_pairs, sentences)
    else:
        learned, held = split_off(pairs, data.val_share)
    if not learned:
        raise DataError(f"{data.pairs}: no pair is left to learn from; lower data.val_share or give more pairs")
    maker = ExampleMaker(tokenizer, sentences, _frequencies(settings, learned, held), settings.model.max_tokens)
    return _Data(maker.make_all(learned, "to learn from"), maker.make_all(held, "to validate on"))


def _frequencies(settings: SftSettings, learned: list[Pair], held: list[Pair]) -> DocumentFrequencies:
    given = settings.sentences.frequencies
    if given is not None:
        return DocumentFrequencies.load(given)
    most = settings.sentences.max_transcript_chars
    texts = (counted_text(pair.title, pair.transcript, most) for pair in chain(learned, held))
    return DocumentFrequencies.of(texts, settings.sentences.segmenter)


def _run_hash(settings: SftSettings, data: _Data, base: Path) -> str:
    """Hash what decides the result: settings, the weights that it starts from, and all tokens that a model sees."""
    dump = settings.model_dump(mode="json", exclude={"run": _FREE, "data": True, "sentences": True})
    del dump["model"]["source"]
    parts = [json.dumps(dump, sort_keys=True), hash_of(data.learned), hash_of(data.held), *hash_of_folder(base)]
    return hash_bytes(*(part.encode() for part in parts))


def _as_yaml(settings: SftSettings) -> bytes:
    text: str = yaml.safe_dump(settings.model_dump(mode="json"), allow_unicode=True, sort_keys=False)
    return text.encode()
