"""A language model behind an OpenAI-compatible server: vLLM, the server of llama.cpp, or a service."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, field_validator

from mmsearch.config import Settings
from mmsearch.errors import ConfigError
from mmsearch.extras import require
from mmsearch.sentences.models.protocol import Completion, Likelihood, ModelRefusedError, Prompt
from mmsearch.sentences.models.retry import TryAgainError, with_retries

_MAX_ANSWER_BYTES = 8 * 2**20
_WRONG_SETTINGS = {401: "the key is not accepted", 403: "access is denied", 404: "no such model or address"}
_PASSING = {408, 409, 425, 429}


class ServerModelSettings(Settings):
    """A model behind an OpenAI-compatible server."""

    type: Literal["openai"] = "openai"
    base_url: str
    """Address up to the version, such as http://127.0.0.1:8000/v1; the only address that is ever called."""
    model: str
    """Name of the model at the server."""
    api_key_variable: str | None = None
    """Environment variable that holds the key; null = none is sent. A key never stands in settings."""
    max_in_flight: int = Field(8, ge=1, le=1024)
    """Requests that run at the same time; more wait here, not in the server's queue."""
    timeout_s: float = Field(60.0, gt=0)
    """A whole answer must be there by then."""
    max_tries: int = Field(5, ge=1)
    """Tries where a server is unreachable, overloaded (429) or failing (5xx)."""
    pause_s: float = Field(1.0, ge=0)
    """First pause between tries; it doubles, is random, and heeds `Retry-After`."""
    hold_to_schema: bool = True
    """Ask the server to hold answers to a JSON schema (`response_format`); set false for one that refuses."""

    @field_validator("base_url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")) or "@" in url:
            raise ValueError("must begin with http:// or https://, and hold no password")
        return url.rstrip("/")

    def build(self) -> ServerModel:
        """Open the model."""
        return ServerModel(self)


class ServerModel:
    """Talk to an OpenAI-compatible server: `/chat/completions` to answer, `/completions` with `echo` for likelihoods.

    Redirects are not followed, proxies and .netrc not read, answers bounded in size and time.
    """

    def __init__(self, settings: ServerModelSettings) -> None:
        httpx = require("httpx", extra="llm")
        self.settings, self.name, self.concurrency = settings, settings.model, settings.max_in_flight
        self._failed: type[Exception] = httpx.HTTPError
        headers = {"Authorization": f"Bearer {_key(settings.api_key_variable)}"} if settings.api_key_variable else {}
        self._client = httpx.Client(
            headers=headers, timeout=settings.timeout_s, follow_redirects=False, trust_env=False
        )
        self._slots = threading.BoundedSemaphore(settings.max_in_flight)

    def complete(self, prompt: Prompt, *, max_tokens: int, schema: Mapping[str, Any] | None = None) -> Completion:
        """Answer a prompt; see `LanguageModel`."""
        messages = [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}]
        body: dict[str, Any] = {"messages": messages, "max_tokens": max_tokens, "temperature": 0}
        if schema is not None and self.settings.hold_to_schema:
            form = {"name": "answer", "schema": dict(schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        answer = self._post("/chat/completions", body)
        try:
            text = answer["choices"][0]["message"]["content"] or ""
            return Completion(str(text), *_usage(answer))
        except (KeyError, IndexError, TypeError) as error:
            raise ModelRefusedError("the server's answer has no choices[0].message.content") from error

    def log_probabilities(self, prefixes: Sequence[str], text: str) -> list[Likelihood]:
        """Give the mean log-probability of a text behind each prefix; see `LanguageModel`. vLLM can, many cannot."""
        return [self._log_probability(prefix, text) for prefix in prefixes]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _log_probability(self, prefix: str, text: str) -> Likelihood:
        body = {"prompt": prefix + text, "max_tokens": 1, "temperature": 0, "echo": True, "logprobs": 1}
        answer = self._post("/completions", body)
        try:
            told = answer["choices"][0]["logprobs"]
            pairs = list(zip(told["text_offset"], told["token_logprobs"], strict=True))
            found = [float(value) for at, value in pairs if len(prefix) <= at < len(prefix) + len(text)]
        except (KeyError, IndexError, TypeError, ValueError):
            found = []
        if not found or not all(math.isfinite(value) for value in found):
            raise ConfigError(
                f"{self.settings.base_url}: this server does not tell the log-probabilities of a given text "
                "(`echo` with `logprobs`, as vLLM does); use method=select, or model.type=gguf or transformers"
            )
        return Likelihood(sum(found) / len(found), len(pairs))

    def _post(self, path: str, body: dict[str, Any]) -> Any:
        data = json.dumps(body | {"model": self.settings.model}).encode()
        with self._slots:
            return with_retries(
                lambda: self._try(path, data), max_tries=self.settings.max_tries, pause_s=self.settings.pause_s
            )

    def _try(self, path: str, data: bytes) -> Any:
        url, headers = self.settings.base_url + path, {"Content-Type": "application/json"}
        deadline, received = time.monotonic() + self.settings.timeout_s, bytearray()
        try:
            with self._client.stream("POST", url, content=data, headers=headers) as response:
                for chunk in response.iter_bytes():
                    received += chunk
                    if len(received) > _MAX_ANSWER_BYTES:
                        raise ModelRefusedError(f"{url}: the answer is longer than {_MAX_ANSWER_BYTES} bytes")
                    if time.monotonic() > deadline:
                        raise TryAgainError(f"{url}: no whole answer within {self.settings.timeout_s:g} s")
                self._check(url, response.status_code, response.headers.get("retry-after"))
            return json.loads(received)
        except self._failed as error:
            raise TryAgainError(f"{url}: {type(error).__name__}: {error}") from error
        except (ValueError, RecursionError) as error:
            raise TryAgainError(f"{url}: the answer is not JSON") from error

    def _check(self, url: str, status: int, retry_after: str | None) -> None:
        if status in _WRONG_SETTINGS:
            raise ConfigError(f"{url}: HTTP {status}: {_WRONG_SETTINGS[status]}; check base_url, model and the key")
        if status in _PASSING or status >= 500:
            seconds = (retry_after or "").strip()
            raise TryAgainError(f"{url}: HTTP {status}", float(seconds[:6]) if seconds.isdecimal() else None)
        if status != 200:
            raise ModelRefusedError(f"{url}: HTTP {status}")


def _key(variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not key.isascii() or not key.isprintable() or not key:
        raise ConfigError(f"the environment variable {variable} holds no key; set it, or model.api_key_variable=null")
    return key


def _usage(answer: Mapping[str, Any]) -> tuple[int, int]:
    """Give tokens of prompt and answer; servers may leave them out."""
    usage = answer.get("usage") or {}
    counts = [usage.get(key) for key in ("prompt_tokens", "completion_tokens")]
    prompt, completion = (count if type(count) is int and count >= 0 else 0 for count in counts)
    return prompt, completion
