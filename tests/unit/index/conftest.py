"""Small indexes for the tests of this room."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from mmsearch.index import GenerationWriter
from mmsearch.index.manifest import Dtype
from mmsearch.protocols import Embedded
from mmsearch.types import Space

SPACES = (Space("cover", 4, "aa11"), Space("content", 8, "bb22"))

Publish = Callable[..., str]


@pytest.fixture
def spaces() -> tuple[Space, ...]:
    return SPACES


@pytest.fixture
def embed() -> Callable[..., dict[str, Embedded]]:
    """Random unit vectors; a fifth of them not present."""

    def make(num: int, seed: int = 0) -> dict[str, Embedded]:
        rng = np.random.default_rng(seed)
        made = {}
        for space in SPACES:
            vectors = rng.standard_normal((num, space.dim)).astype(np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            made[space.name] = Embedded(vectors, rng.random(num) > 0.2)
        return made

    return make


@pytest.fixture
def tower(tmp_path: Path) -> Path:
    """The part of a query tower folder that the index reads, and a file that it only carries."""
    folder = tmp_path / "tower"
    (folder / "tokenizer").mkdir(parents=True)
    rows = [{"name": s.name, "dim": s.dim, "fingerprint": s.fingerprint, "output": s.name} for s in SPACES]
    (folder / "query_tower.json").write_text(json.dumps({"format_version": 1, "max_length": 8, "spaces": rows}))
    (folder / "tokenizer" / "tokenizer.json").write_text("{}")
    return folder


@pytest.fixture
def publish(tmp_path: Path, tower: Path, embed: Callable[..., dict[str, Embedded]]) -> Publish:
    """Publish documents to `tmp_path/index`; gives the name of the generation."""

    def run(
        doc_ids: Sequence[str] = ("a", "b", "c", "d", "e"), seed: int = 0, keep: int = 2, dtype: Dtype = "float16"
    ) -> str:
        with GenerationWriter(tmp_path / "index", SPACES, dtype=dtype) as writer:
            writer.add(list(doc_ids), embed(len(doc_ids), seed))
            return writer.publish(query_tower=tower, source={"seed": seed}, keep=keep)

    return run


@pytest.fixture
def lay(tmp_path: Path, embed: Callable[..., dict[str, Embedded]]) -> Publish:
    """Publish an overlay on `base` in `tmp_path/index`; gives its name. Vectors are those of the seed."""

    def run(base: str, doc_ids: Sequence[str] = (), deleted: Sequence[str] = (), seed: int = 0) -> str:
        with GenerationWriter(tmp_path / "index", SPACES, base=base) as writer:
            writer.add(list(doc_ids), embed(len(doc_ids), seed))
            writer.delete(list(deleted))
            return writer.publish(query_tower=None, source={"seed": seed})

    return run
