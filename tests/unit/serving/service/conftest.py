"""A tiny index with a query tower without torch, and a client of a service over it that needs no process."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from mean_tower import write_mean_tower
from starlette.testclient import TestClient

from mmsearch.index import GenerationWriter
from mmsearch.protocols import Embedded
from mmsearch.types import Space
from serving.service.app import build
from serving.service.metrics import Metrics
from serving.service.models import Models
from serving.service.settings import ServeSettings

DIM = 8
SPACES = (Space("cover", DIM, "aa11"), Space("perception", DIM, "cc33"), Space("content", DIM, "bb22"))
WORDS = ["red", "green", "blue", "yellow", "ball", "kite", "car", "fish", "cup", "boat", "大熊猫", "竹子"]
STRANGE_ID = 'a/b c"<script>alert(1)</script>\\?#%2F.mp4'
DOC_IDS = [f"d{number:02d}" for number in range(24)] + [STRANGE_ID]


def write_tower(folder: Path) -> Path:
    """Write a query tower: the L2-normalised mean of the embeddings of the tokens."""
    table = np.random.default_rng(5).standard_normal((400, DIM)).astype(np.float32)
    return write_mean_tower(folder, [" ".join(WORDS)], SPACES, table)


def publish(index: Path, tower: Path, seed: int = 0, doc_ids: list[str] = DOC_IDS) -> str:
    """Publish a generation of random vectors; every third document lacks the cover."""
    rng = np.random.default_rng(seed)
    made = {}
    for space in SPACES:
        vectors = rng.standard_normal((len(doc_ids), DIM)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        present = np.arange(len(doc_ids)) % 3 > 0 if space.name == "cover" else np.ones(len(doc_ids), bool)
        made[space.name] = Embedded(np.where(present[:, None], vectors, 0).astype(np.float32), present)
    with GenerationWriter(index, list(SPACES)) as writer:
        writer.add(doc_ids, made)
        return writer.publish(query_tower=tower, source={})


@pytest.fixture(scope="session")
def service_tower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The query tower of the tiny index."""
    return write_tower(tmp_path_factory.mktemp("tower"))


@pytest.fixture(scope="session")
def service_index(tmp_path_factory: pytest.TempPathFactory, service_tower: Path) -> Path:
    """A tiny index, to read."""
    index = tmp_path_factory.mktemp("served") / "index"
    publish(index, service_tower)
    return index


@pytest.fixture
def publish_anew(service_tower: Path):
    """Publish another generation into an index of one's own: `publish_anew(index, seed)` gives its name."""
    return lambda index, seed: publish(index, service_tower, seed)


@pytest.fixture
def client(service_index: Path):
    """Start a service in this process: `client(max_k=5, models={...})` gives a client of it."""
    with ExitStack() as stack:

        def start(host: str = "127.0.0.1", **settings: object) -> TestClient:
            # a busy machine may stall for longer than a deadline that suits a searcher
            given = {"models": {"tiny": {"index": str(service_index)}}, "deadline_ms": 60_000} | settings
            chosen = ServeSettings.model_validate(given)
            metrics = Metrics()
            models = stack.enter_context(Models(chosen, metrics))
            service = build(chosen, models, metrics)
            made = stack.enter_context(
                TestClient(service.gate, base_url=f"http://{host}", raise_server_exceptions=False)
            )
            made.service, made.models = service, models
            return made

        yield start
