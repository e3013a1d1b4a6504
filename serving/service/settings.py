"""Settings of the service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from mmsearch.config import Settings

ModelName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Recall = Literal["exact", "flat", "hnsw", "ivf_pq"]


class ServedModel(Settings):
    """A forward index that is served under a name."""

    index: Path
    """Folder of the forward index; a new generation in it is served within `check_every_s`."""
    corpus: Path | None = None
    """Folder of the prepared corpus that the index was refreshed from: titles and covers of the page. Null = none."""
    recall: Recall | None = "exact"
    """What answers `/v1/search`: an `exact` search, which holds all vectors of a searched space once more in the memory
    of each worker; or a faiss index of this kind, which `mmsearch index ann` built; a generation without one is
    searched exactly. Null = the model is only scored."""
    on_mixed: Literal["match", "newest", "refuse"] = "match"
    """How a generation that holds vectors of two models is scored; see `mmsearch score --on-mixed`."""


class ServeSettings(Settings):
    """What is served, to whom, and within which bounds. Bounds hold for each worker."""

    models: Annotated[dict[ModelName, ServedModel], Field(min_length=1)]
    """The models by name; the first answers requests that name none. The page compares two."""
    judgments: Path | None = None
    """A judgments table, whose grades the page and `/v1/search` show. Null = none."""
    host: str = "127.0.0.1"
    """Address to listen at. Another than loopback opens the service to the network: set `api_keys_file`."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """TCP port; 0 = one that is free, which the log names."""
    num_workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Processes that answer requests; they share the pages of the index. One for each core is best."""
    num_threads: Annotated[int, Field(ge=1)] = 1
    """Threads of the query tower for one query."""
    cache_size: Annotated[int, Field(ge=0)] = 4096
    """Queries whose vectors each worker remembers, 4 bytes a component for each; 0 = none."""
    check_every_s: Annotated[float, Field(gt=0)] = 1.0
    """How often each worker looks for a new generation."""
    max_query_chars: Annotated[int, Field(ge=1)] = 1000
    """A longer query is refused. The query tower reads the first tokens alone."""
    max_doc_ids: Annotated[int, Field(ge=1)] = 10_000
    """Candidates of one request at most."""
    max_k: Annotated[int, Field(ge=1, le=10_000)] = 200
    """Results of one search at most."""
    max_body_bytes: Annotated[int, Field(ge=1024)] = 1 << 20
    """A longer body is refused before it is read."""
    body_timeout_s: Annotated[float, Field(gt=0)] = 10.0
    """A head has to be there within that time of its first byte, a body within that time again, and of an answer
    something has to be taken within that time."""
    queue_size: Annotated[int, Field(ge=1)] = 64
    """Requests of a model that wait or are scored; one more is answered 429. The same bound holds for searches."""
    max_batch: Annotated[int, Field(ge=1)] = 8
    """Requests that are scored together at most, out of those that wait."""
    batch_wait_ms: Annotated[float, Field(ge=0, le=100)] = 0.0
    """How long the first request of a batch waits for others. 0 = no wait: a batch is what came while the one before it
    was scored, so that there are batches only under load."""
    deadline_ms: Annotated[float, Field(gt=0, le=60_000)] = 1000.0
    """Time for a request that names none, from its arrival: what is not scored then is missing, and `late` is true; a
    request of which nothing is scored then is answered 429."""
    max_connections: Annotated[int, Field(ge=1)] = 1024
    """Open connections; requests of all are answered 503 while there are more."""
    keep_alive_s: Annotated[float, Field(gt=0)] = 75.0
    """An idle connection is closed after that time; longer than a balancer before it keeps its own."""
    drain_s: Annotated[float, Field(ge=0)] = 1.0
    """After SIGTERM, `/readyz` says 503 for so long, while requests are still taken; then no connection is accepted."""
    grace_s: Annotated[float, Field(gt=0)] = 30.0
    """Time for the requests that are under way to end after that; they are cut off then."""
    api_keys_file: Path | None = None
    """A file with a line `NAME KEY` for each client; then every request of `/v1` and `/metrics` needs a key. A changed
    file counts within a second; keys are printable ASCII, 16 characters or more. Null = no keys."""
    allowed_hosts: tuple[str, ...] | None = None
    """Names that a request may call this host by (its `Host` header); null = `localhost`, `127.0.0.1` and `[::1]` where
    `host` is loopback, which keeps web pages of strangers from asking through a name that they point here, and any name
    elsewhere."""
    allow_page: bool = True
    """Serve the page at `/`."""
    access_log: bool = True
    """Log each request, as one line of JSON."""
    log_queries: bool = False
    """Log what was typed, too. It may be personal."""

    @model_validator(mode="after")
    def _fit(self) -> ServeSettings:
        if self.max_body_bytes < self.max_query_chars:
            raise ValueError("max_body_bytes is less than max_query_chars: no such query could come in")
        return self

    @property
    def default_model(self) -> str:
        """The model that answers requests that name none."""
        return next(iter(self.models))

    @property
    def is_loopback(self) -> bool:
        """Whether nobody outside this machine can reach the service."""
        return self.host in ("127.0.0.1", "::1", "localhost")
