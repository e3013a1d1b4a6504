"""The language model that is fine-tuned: loaded, given an adapter, merged with it."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmsearch.errors import ConfigError, CorruptIndexError
from mmsearch.extras import require
from mmsearch.files import fsync_file, fsync_folder, hash_file, permit_as_usual
from mmsearch.hub import locate
from mmsearch.models.checkpoint import disk_errors_told
from mmsearch.torchvision_guard import guard_torchvision
from training.sft.settings import BaseModelSettings, LoraSettings

_SPECIAL = ("bos_token_id", "eos_token_id", "pad_token_id")


def load_tokenizer(folder: Path) -> Any:
    """Read the tokenizer of a folder of transformers.

    Raises:
        ConfigError: there is none, or it knows no end of a text, and an answer could not be ended.
    """
    try:
        tokenizer = _transformers().AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{folder}: no tokenizer for transformers: {error}") from error
    if tokenizer.eos_token_id is None:
        raise ConfigError(f"{folder}: the tokenizer has no eos_token; give it one in tokenizer_config.json")
    return tokenizer


def load_base(folder: Path, settings: BaseModelSettings) -> Any:
    """Read a causal language model; its code never runs, and nothing is unpickled.

    Of how it generates only the special tokens are kept: sampling, and a penalty on repeating tokens as many chat
    models have it, would spoil lists of numbers, here and wherever the merged model is served.

    Raises:
        ConfigError: the folder holds none.
    """
    library, dtype = _transformers(), getattr(torch, settings.dtype)
    try:
        model = library.AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{folder}: not a causal language model for transformers: {error}") from error
    special = {name: getattr(model.generation_config, name) for name in _SPECIAL}
    model.generation_config = library.GenerationConfig(do_sample=False, **special)
    return model


def locate_base(settings: BaseModelSettings) -> Path:
    """Give the folder of the model, fetched once if it is a name in the hub."""
    return locate(settings.source, "language model", ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja"))


def with_adapter(base: Any, settings: LoraSettings, seed: int) -> Any:
    """Freeze a model and give it an adapter that changes nothing yet (B is zero); the seed decides A.

    Raises:
        ConfigError: `lora.targets` names no linear layer of it.
    """
    peft = require("peft", extra="sft")
    torch.manual_seed(seed)
    targets = settings.targets if isinstance(settings.targets, str) else list(settings.targets)
    config = peft.LoraConfig(
        task_type="CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets,
    )
    try:
        with _quiet():
            return peft.get_peft_model(base, config)
    except ValueError as error:
        raise ConfigError(f"lora.targets: {targets}: {error}") from error


def checkpoint_activations(model: Any) -> None:
    """Let a model compute its activations again in the backward pass instead of keeping them."""
    with _quiet():
        model.gradient_checkpointing_enable({"use_reentrant": False})


def adapter_weights(model: nn.Module) -> dict[str, Tensor]:
    """Give what is learned, by name: copies on the CPU."""
    return {name: p.detach().cpu().clone() for name, p in model.named_parameters() if p.requires_grad}


def put_adapter(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put what was learned into a model with a fresh adapter.

    Raises:
        CorruptIndexError: they are of another adapter.
    """
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if learned.keys() != weights.keys() or any(learned[n].shape != t.shape for n, t in weights.items()):
        raise CorruptIndexError("the checkpoint holds another adapter than `lora` describes; remove it to start anew")
    with torch.no_grad():
        for name, parameter in learned.items():
            parameter.copy_(weights[name])


def save_adapter(folder: Path, model: Any) -> None:
    """Write the adapter as peft reads it (and vLLM, beside its base model)."""
    with disk_errors_told(folder), _quiet():
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder, safe_serialization=True)
        _fsync(folder)


def save_merged(folder: Path, model: Any, tokenizer: Any) -> None:
    """Add the adapter to the weights and write a model of transformers, which needs no peft; `model` is used up.

    Text is ended by the token that the answers were taught to end with, whatever else ended it before.
    """
    with disk_errors_told(folder), _quiet():
        merged = model.merge_and_unload(safe_merge=True)
        ends = merged.generation_config.eos_token_id
        ends = [] if ends is None else [ends] if isinstance(ends, int) else list(ends)
        if tokenizer.eos_token_id not in ends:
            merged.generation_config.eos_token_id = [*ends, tokenizer.eos_token_id]
        shutil.rmtree(folder, ignore_errors=True)
        merged.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        _fsync(folder)


def hash_of_folder(folder: Path) -> list[str]:
    """Give hashes of the configuration and the weights of a model folder, in the order of their names."""
    files = [folder / "config.json", *sorted(folder.glob("*.safetensors"))]
    return [hash_file(path) for path in files if path.is_file()]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep quiet of what peft and transformers say to each other about names that are going to change."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning)
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        yield


def _transformers() -> Any:
    guard_torchvision()  # transformers may import torchvision behind any of its models
    transformers = require("transformers", extra="sft")
    transformers.utils.logging.disable_progress_bar()  # it knows nothing of terminals and logs
    return transformers


def _fsync(folder: Path) -> None:
    for path in folder.iterdir():
        permit_as_usual(path)
        fsync_file(path)
    fsync_folder(folder)
    fsync_folder(folder.parent)
