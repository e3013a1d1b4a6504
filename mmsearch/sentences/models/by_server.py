"""A language model behind an OpenAI-compatible server: vLLM, the server of llama.cpp, or a service."""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal

from pydantic import Field, field_validator

from mmsearch.config import Settings
from mmsearch.errors import ConfigError
from mmsearch.extras import require
from mmsearch.sentences.models.connection import Connection, Reply
from mmsearch.sentences.models.protocol import (
    TOO_LONG,
    Completion,
    Likelihood,
    ModelRefusedError,
    ModelUnavailableError,
    Prompt,
    PromptTooLongError,
)
from mmsearch.sentences.models.retry import TryAgainError, with_retries
from mmsearch.sentences.shown import shown

_WRONG_SETTINGS = {401: "the key is not accepted", 403: "access is denied", 404: "no such model or address"}
_PASSING = {408, 409, 425, 429}
_OURS = {"model", "messages", "prompt", "max_tokens", "response_format", "stream", "echo", "logprobs", "n"}
_SHOWN_CHARS, _LONGEST_EXTRA = 300, 10_000


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
    timeout_s: float = Field(60.0, gt=0, le=3600, allow_inf_nan=False)
    """A whole answer must be there by then."""
    max_tries: int = Field(5, ge=1, le=100)
    """Tries where a server is unreachable, overloaded (429) or failing (5xx)."""
    pause_s: float = Field(1.0, ge=0, le=60, allow_inf_nan=False)
    """First pause between tries; it doubles, is random, and heeds `Retry-After`."""
    hold_to_schema: bool = True
    """Ask the server to hold answers to a JSON schema (`response_format`); set false for one that refuses."""
    extra_body: dict[str, Any] = {}
    """Further fields of every request, as the server has them: `{chat_template_kwargs: {enable_thinking: false}}`."""

    @field_validator("base_url")
    @classmethod
    def _is_address(cls, url: str) -> str:
        if not url.startswith(("http://", "https://")) or "@" in url:
            raise ValueError("must begin with http:// or https://, and hold no password")
        return url.rstrip("/")

    @field_validator("extra_body")
    @classmethod
    def _is_extra(cls, extra: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(_OURS & extra.keys()):
            raise ValueError(f"must not hold {', '.join(taken)}: these are set here")
        try:
            size = len(json.dumps(extra, allow_nan=False))
        except (TypeError, ValueError, RecursionError):
            raise ValueError("must hold what JSON can") from None
        if size > _LONGEST_EXTRA:
            raise ValueError(f"must not be longer than {_LONGEST_EXTRA:,} characters as JSON")
        return extra

    def build(self) -> ServerModel:
        """Open the model."""
        return ServerModel(self)


class ServerModel:
    """Talk to an OpenAI-compatible server: `/chat/completions` to answer, `/completions` with `echo` for likelihoods.

    Redirects are not followed, proxies and .netrc not read, answers bounded in size and time. `close` may be called
    from any thread: requests that wait then fail at once.
    """

    def __init__(self, settings: ServerModelSettings) -> None:
        httpx = require("httpx", extra="llm")
        self.settings, self.concurrency = settings, settings.max_in_flight
        extra = json.dumps(settings.extra_body, sort_keys=True) if settings.extra_body else ""
        self.name = f"{settings.model} at {settings.base_url} {extra}".strip()
        self._key = _key(settings.api_key_variable) if settings.api_key_variable else None
        headers = {} if self._key is None else {"Authorization": f"Bearer {self._key}"}
        context = httpx.create_ssl_context(trust_env=False)
        self._open = partial(Connection, httpx, headers, settings.timeout_s, context)
        self._slots = threading.BoundedSemaphore(settings.max_in_flight)
        self._lock, self._closed = threading.Lock(), threading.Event()
        self._connections: list[Connection] = []
        self._idle: list[Connection] = []

    def complete(self, prompt: Prompt, *, max_tokens: int, schema: Mapping[str, Any] | None = None) -> Completion:
        """Answer a prompt; see `LanguageModel`."""
        messages = [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}]
        body: dict[str, Any] = {"messages": messages, "max_tokens": max_tokens, "temperature": 0}
        if schema is not None and self.settings.hold_to_schema:
            form = {"name": "answer", "schema": dict(schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        answer = self._post("/chat/completions", body)
        try:
            return Completion(_text(answer["choices"][0]["message"]["content"]), *_usage(answer))
        except (KeyError, IndexError, TypeError) as error:
            raise ModelRefusedError("the server's answer has no text in choices[0].message.content") from error

    def log_probabilities(self, prefixes: Sequence[str], text: str) -> list[Likelihood]:
        """Give the mean log-probability of a text behind each prefix; see `LanguageModel`. vLLM can, many cannot."""
        return [self._log_probability(prefix, text) for prefix in prefixes]

    def close(self) -> None:
        """Close the connections; requests under way, and those that come, get no answer."""
        self._closed.set()
        with self._lock:
            connections, self._connections = self._connections, []
        for connection in connections:
            connection.close()

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
        settings = self.settings
        data = json.dumps(settings.extra_body | body | {"model": settings.model}).encode()
        with self._slots:
            connection = self._connection()
            try:
                return with_retries(
                    lambda: self._try(connection, settings.base_url + path, data),
                    max_tries=settings.max_tries,
                    pause_s=settings.pause_s,
                    sleep=self._closed.wait,
                )
            finally:
                with self._lock:
                    self._idle.append(connection)

    def _connection(self) -> Connection:
        """Give one that nobody uses; there are never more than slots."""
        with self._lock:
            if self._closed.is_set():
                raise ModelUnavailableError(f"{self.settings.base_url}: the connections were closed here")
            if not self._idle:
                self._connections.append(self._open())
                return self._connections[-1]
            return self._idle.pop()

    def _try(self, connection: Connection, url: str, data: bytes) -> Any:
        reply = connection.post(url, data)
        self._check(url, reply)
        try:
            return json.loads(reply.content)
        except (ValueError, RecursionError) as error:
            raise TryAgainError(f"{url}: the answer is not JSON") from error

    def _check(self, url: str, reply: Reply) -> None:
        status = reply.status
        if status == 200:
            return
        if status in _PASSING or status >= 500:
            seconds = (reply.retry_after or "").strip()
            raise TryAgainError(f"{url}: HTTP {status}", float(seconds[:6]) if seconds.isdecimal() else None)
        told = self._told(reply.content)
        if status in _WRONG_SETTINGS:
            problem = f"{url}: HTTP {status}: {_WRONG_SETTINGS[status]}"
            raise ConfigError(f"{problem}; check base_url, model and the key{told}")
        if status == 413 or TOO_LONG.search(told):
            raise PromptTooLongError(f"{url}: HTTP {status}, the prompt is too long{told}")
        raise ModelRefusedError(f"{url}: HTTP {status}{told}")

    def _told(self, content: bytes) -> str:
        """Give what a server says of an error, harmless and cut, and without our key, which some repeat."""
        text = content[: 16 * _SHOWN_CHARS].decode("utf-8", "replace")
        try:
            said = json.loads(content)
            error = said.get("error", said)
            found = error.get("message") if isinstance(error, dict) else error
            text = found if isinstance(found, str) else text
        except (ValueError, RecursionError, AttributeError):
            pass
        cleaned = shown(text.replace(self._key, "(the key)") if self._key else text, _SHOWN_CHARS)
        return f"; the server says: {cleaned}" if cleaned else ""


def _key(variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not key.isascii() or not key.isprintable() or not key:
        raise ConfigError(f"the environment variable {variable} holds no key; set it, or model.api_key_variable=null")
    return key


def _text(content: Any) -> str:
    """Read the content of a message: a text, null, or a list of parts of which those with a `text` count."""
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if isinstance(part, dict) and part.get("type") == "text")
    if not isinstance(content, str | None):
        raise TypeError
    return content or ""


def _usage(answer: Mapping[str, Any]) -> tuple[int, int]:
    """Give tokens of prompt and answer; servers may leave them out, or write anything there."""
    usage = answer.get("usage")
    told = usage if isinstance(usage, dict) else {}
    counts = [told.get(key) for key in ("prompt_tokens", "completion_tokens")]
    prompt, completion = (count if type(count) is int and count >= 0 else 0 for count in counts)
    return prompt, completion
