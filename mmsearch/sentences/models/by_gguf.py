"""A language model from a GGUF file, in process, by llama.cpp (xllamacpp)."""

from __future__ import annotations

import http.client
import json
import secrets
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from mmsearch.config import Settings
from mmsearch.errors import ConfigError
from mmsearch.extras import require
from mmsearch.files import hash_file
from mmsearch.sentences.models.protocol import (
    TOO_LONG,
    Completion,
    Likelihood,
    ModelRefusedError,
    Prompt,
    PromptTooLongError,
)
from mmsearch.sentences.shown import shown

_FORCED = 1000.0
_LIKELIEST, _ALL = 1000, 10_000_000


class GgufModelSettings(Settings):
    """A GGUF file, run by llama.cpp in this process."""

    type: Literal["gguf"] = "gguf"
    path: Path
    """The file."""
    max_tokens: int = Field(8192, ge=64)
    """Length of the context: prompt and answer together. A prompt that does not fit is asked with fewer sentences."""
    num_threads: int = Field(1, ge=1)
    """Threads of the model."""

    def build(self) -> GgufModel:
        """Load the file."""
        return GgufModel(self)


class GgufModel:
    """A GGUF file in llama.cpp; one call runs at a time."""

    concurrency = 1

    def __init__(self, settings: GgufModelSettings) -> None:
        if not settings.path.is_file():
            raise ConfigError(f"{settings.path}: no such file; model.path names a GGUF file")
        self.name = f"{settings.path.name}:{hash_file(settings.path)[:16]}"
        self._key = secrets.token_hex(16)
        self._server = _open(settings, self._key)
        self._address = urlsplit(self._server.listening_address).netloc
        self._lock, self._max_tokens = threading.Lock(), settings.max_tokens
        self._plain = self._tokens("a", special=False)[-1]
        self._partial: set[int] = set()  # tokens that end within a character

    def complete(self, prompt: Prompt, *, max_tokens: int, schema: Mapping[str, Any] | None = None) -> Completion:
        """Answer a prompt by the chat template of the file; see `LanguageModel`."""
        messages = [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}]
        body: dict[str, Any] = {"messages": messages, "max_tokens": max_tokens, "temperature": 0}
        if schema is not None:
            form = {"name": "answer", "schema": dict(schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        with self._lock:
            try:
                answer = _checked(self._server.handle_chat_completions(body))
            except PromptTooLongError as error:
                raise PromptTooLongError(f"{error}; model.max_tokens is {self._max_tokens}") from error
        usage = answer["usage"]
        text = answer["choices"][0]["message"]["content"] or ""
        return Completion(text, usage["prompt_tokens"], usage["completion_tokens"])

    def log_probabilities(self, prefixes: Sequence[str], text: str) -> list[Likelihood]:
        """Give the mean log-probability of a text behind each prefix; see `LanguageModel`.

        llama.cpp tells the log-probability (of the raw logits, over the whole vocabulary) of what it samples alone. So
        the text is sampled token by token, each forced by a bias, which those logits do not hold; what stands before
        is kept in its cache. Costs one pass over the prefix, and one or two steps a token of the text.
        """
        with self._lock:
            wanted = self._tokens(text, special=False)
            if not wanted:
                raise ValueError("the text has no tokens")
            return [self._likelihood(self._tokens(prefix, special=True), wanted) for prefix in prefixes]

    def close(self) -> None:
        """Let go of the model's memory."""
        self._server = None

    def _likelihood(self, prefix: list[int], wanted: list[int]) -> Likelihood:
        total, before = 0.0, list(prefix)
        for token in wanted:
            total += self._log_probability(before, token)
            before.append(token)
        return Likelihood(total / len(wanted), len(before))

    def _log_probability(self, before: list[int], token: int) -> float:
        """Give log p(token | before); of a token that ends within a character llama.cpp tells it in a list alone."""
        if token not in self._partial:
            told = self._sample(before, token, 1)
            if told is not None and told["id"] == token:
                return float(told["logprob"])
            self._partial.add(token)
        for width in (_LIKELIEST, _ALL):
            told = self._sample(before, self._plain, width)
            for other in told["top_logprobs"] if told is not None else ():
                if other["id"] == token:
                    return float(other["logprob"])
        raise ModelRefusedError(f"llama.cpp tells no probability of token {token}")

    def _sample(self, before: list[int], forced: int, width: int) -> Any:
        """Sample one token, forced, and give it with the `width` likeliest; None where llama.cpp holds them back."""
        body = {"prompt": before, "max_tokens": 1, "temperature": 0, "logprobs": width, "cache_prompt": True}
        answer = _checked(self._server.handle_completions(body | {"logit_bias": {str(forced): _FORCED}}))
        told = answer["choices"][0].get("logprobs")
        return told["content"][0] if told and told.get("content") else None

    def _tokens(self, text: str, *, special: bool) -> list[int]:
        """Split a text as the file's tokenizer does: the one thing that its server offers over loopback alone."""
        connection = http.client.HTTPConnection(self._address, timeout=60)
        try:
            body = json.dumps({"content": text, "add_special": special, "parse_special": False})
            head = {"Content-Type": "application/json", "Authorization": f"Bearer {self._key}"}
            connection.request("POST", "/tokenize", body, head)
            return [int(token) for token in json.loads(connection.getresponse().read())["tokens"]]
        finally:
            connection.close()


def _open(settings: GgufModelSettings, key: str) -> Any:
    """Load the file. The server that comes with it listens on loopback, at a free port, behind a key made here."""
    library = require("xllamacpp", extra="gguf")
    wanted = library.CommonParams()
    wanted.model.path = str(settings.path)
    wanted.n_ctx, wanted.n_parallel, wanted.warmup, wanted.verbosity = settings.max_tokens, 1, False, -1
    for processor in (wanted.cpuparams, wanted.cpuparams_batch):
        processor.n_threads, processor.poll = settings.num_threads, 0  # polling burns a core while it waits
    wanted.api_keys, wanted.ui, wanted.endpoint_slots = [key], False, False
    wanted.cache_ram_mib = 0  # old prompts are not asked again; by default it keeps them, up to 8 GiB
    try:
        return library.Server(wanted)
    except (RuntimeError, ValueError, OSError) as error:
        raise ConfigError(f"{settings.path}: llama.cpp cannot load it ({error}); is it a whole GGUF file?") from error


def _checked(answer: Any) -> Any:
    if isinstance(answer, str | bytes):
        answer = json.loads(answer)
    if not isinstance(answer, dict) or "choices" not in answer:
        told = answer.get("error", answer) if isinstance(answer, dict) else answer
        problem = shown(str(told.get("message", told) if isinstance(told, dict) else told), 200)
        raise (PromptTooLongError if TOO_LONG.search(problem) else ModelRefusedError)(f"llama.cpp: {problem}")
    return answer
