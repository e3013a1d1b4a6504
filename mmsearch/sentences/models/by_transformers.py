"""A causal language model of Hugging Face transformers, in process."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from mmsearch.config import Settings
from mmsearch.errors import ConfigError
from mmsearch.extras import require
from mmsearch.files import hash_bytes, hash_file
from mmsearch.hub import locate
from mmsearch.sentences.models.protocol import Completion, Likelihood, Prompt, PromptTooLongError
from mmsearch.torchvision_guard import guard_torchvision

#: Endings of the files that a model and its tokenizer are loaded from.
_READ = frozenset({".safetensors", ".json", ".jinja", ".txt", ".model"})


class TransformersModelSettings(Settings):
    """A causal language model in this process."""

    type: Literal["transformers"] = "transformers"
    source: str
    """A local folder, or a name in the Hugging Face hub (fetched once). Safetensors only; no code of it runs."""
    device: str = "cpu"
    """Where it runs, such as cuda."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the weights."""
    batch_size: int = Field(8, ge=1)
    """Texts that are weighed together."""
    max_tokens: int = Field(8192, ge=64)
    """Longer prompts are refused."""

    def build(self) -> TransformersModel:
        """Load the weights."""
        return TransformersModel(self)


class TransformersModel:
    """A causal language model of transformers; one call runs at a time."""

    concurrency = 1

    def __init__(self, settings: TransformersModelSettings) -> None:
        self._torch = require("torch", extra="train")
        guard_torchvision()
        library = require("transformers", extra="train")
        folder = locate(settings.source, "language model")
        self.settings, self._lock = settings, threading.Lock()
        self.name = f"{folder.name}:{_hash(folder)}:{settings.dtype}"
        dtype = getattr(self._torch, settings.dtype)
        try:
            self._tokenizer = library.AutoTokenizer.from_pretrained(folder)
            self._model = library.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, use_safetensors=True)
        except (OSError, ValueError, KeyError) as error:
            raise ConfigError(f"{settings.source}: not a causal language model for transformers: {error}") from error
        self._model.to(settings.device).eval()

    def complete(self, prompt: Prompt, *, max_tokens: int, schema: Mapping[str, Any] | None = None) -> Completion:
        """Answer a prompt, by the chat template where there is one; see `LanguageModel`. The schema is not held."""
        del schema
        ids = prompt_ids(self._tokenizer, prompt)
        if len(ids) + max_tokens > self.settings.max_tokens:
            raise PromptTooLongError(
                f"the prompt of {len(ids)} tokens leaves no room within {self.settings.max_tokens} (model.max_tokens)"
            )
        batch = self._torch.tensor([ids], device=self.settings.device)
        with self._lock, self._torch.inference_mode():
            made = self._model.generate(
                batch,
                attention_mask=self._torch.ones_like(batch),
                max_new_tokens=max_tokens,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                repetition_penalty=1.0,  # a chat model's own would keep it from writing a digit twice
                pad_token_id=self._pad(),
            )[0, len(ids) :]
        return Completion(self._tokenizer.decode(made, skip_special_tokens=True), len(ids), len(made))

    def log_probabilities(self, prefixes: Sequence[str], text: str) -> list[Likelihood]:
        """Give the mean log-probability of a text behind each prefix, in batches; see `LanguageModel`."""
        wanted = self._tokenizer.encode(text, add_special_tokens=False)
        if not wanted:
            raise ValueError("the text has no tokens")
        rows = [self._start(prefix) + wanted for prefix in prefixes]
        longest = max(map(len, rows), default=0)
        if longest > self.settings.max_tokens:
            raise PromptTooLongError(
                f"a text of {longest} tokens does not fit within {self.settings.max_tokens} (model.max_tokens)"
            )
        size = self.settings.batch_size
        parts = (rows[at : at + size] for at in range(0, len(rows), size))
        return [one for part in parts for one in self._likelihoods(part, len(wanted))]

    def close(self) -> None:
        """Let go of the model's memory."""
        self._model = None

    def _likelihoods(self, rows: Sequence[list[int]], num_wanted: int) -> list[Likelihood]:
        """Score the last tokens of each row. Rows are padded on the right, where a causal model does not look."""
        torch, longest, device = self._torch, max(map(len, rows)), self.settings.device
        ids = torch.tensor([row + [self._pad()] * (longest - len(row)) for row in rows], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=device)
        with self._lock, torch.inference_mode():
            logits = self._model(input_ids=ids, attention_mask=mask).logits
            scored = []
            for number, row in enumerate(rows):
                told = logits[number, len(row) - num_wanted - 1 : len(row) - 1].float().log_softmax(-1)
                wanted = ids[number, len(row) - num_wanted : len(row)]
                scored.append(Likelihood(float(told.gather(-1, wanted[:, None]).mean()), len(row)))
        return scored

    def _start(self, prefix: str) -> list[int]:
        """Give the tokens of a prefix, with at least one: the first token of a text has no probability of its own."""
        ids = list(self._tokenizer.encode(prefix))
        return ids or [self._pad()]

    def _pad(self) -> int:
        pads = (self._tokenizer.pad_token_id, self._tokenizer.eos_token_id, 0)
        return int(next(pad for pad in pads if pad is not None))


def prompt_ids(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Give the tokens of a prompt: by the tokenizer's chat template, or without one, one text behind the other."""
    if tokenizer.chat_template is None:
        return list(tokenizer.encode(f"{prompt.system}\n\n{prompt.user}\n"))
    messages = [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    return list(tokenizer.encode(text, add_special_tokens=False))


def _hash(folder: Path) -> str:
    """Tell folders of one name apart by all that an answer depends on: weights, settings, tokenizer, chat template."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in _READ)
    return hash_bytes(*(part for path in files for part in (path.name.encode(), hash_file(path).encode())))[:16]
