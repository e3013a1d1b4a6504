"""A tiny query tower without torch (embedding look-up, mean, L2 norm) and an index of its documents."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mean_tower import write_mean_model, write_mean_tower

from mmsearch.index import GenerationWriter
from mmsearch.protocols import Embedded
from mmsearch.types import Space

DIM = 8
SPACES = (Space("cover", DIM, "aa11"), Space("content", DIM, "bb22"))
WORDS = ["red", "panda", "climbs", "a", "tree", "大熊猫", "吃", "竹子", "cooking", "noodles", "at", "home"]
DOC_IDS = [f"v{i}" for i in range(30)]


@pytest.fixture(scope="session")
def table() -> np.ndarray:
    return np.random.default_rng(5).standard_normal((400, DIM)).astype(np.float32)


@pytest.fixture
def tower(tmp_path: Path, table: np.ndarray) -> Path:
    return write_mean_tower(tmp_path / "tower", [" ".join(WORDS)], SPACES, table)


@pytest.fixture
def write_tower_model(tower: Path) -> Callable[..., None]:
    """Write another model.onnx: `write_tower_model(table, ("query", "content"))`."""
    return partial(write_mean_model, tower / "model.onnx")


@pytest.fixture
def rewrite_tower(tower: Path) -> Callable[..., None]:
    """Change query_tower.json: `rewrite_tower(lambda told: told["spaces"][0].update(dim=9))`."""

    def change(how: Callable[[dict], object]) -> None:
        told = json.loads((tower / "query_tower.json").read_text())
        how(told)
        (tower / "query_tower.json").write_text(json.dumps(told))

    return change


@pytest.fixture
def embedded() -> dict[str, Embedded]:
    rng = np.random.default_rng(9)
    made = {}
    for space in SPACES:
        vectors = rng.standard_normal((len(DOC_IDS), DIM)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        made[space.name] = Embedded(vectors, np.arange(len(DOC_IDS)) % 7 != 3)
    return made


@pytest.fixture
def index_dir(tmp_path: Path, tower: Path, embedded: dict[str, Embedded]) -> Path:
    with GenerationWriter(tmp_path / "index", SPACES, dtype="float32") as writer:
        writer.add(DOC_IDS, embedded)
        writer.publish(query_tower=tower, source={})
    return tmp_path / "index"


#: The spaces of a served model: `content` with several codes, and some single modalities; all have one query vector.
WIDE = (
    *SPACES[:1],
    Space("frames", DIM, "cc33"),
    Space("perception", DIM, "dd44"),
    Space("content", DIM, "bb22", 3),
    Space("content.title", DIM, "ee55"),
    Space("content.asr", DIM, "ff66"),
)


def unit_codes(num_docs: int, num_codes: int, seed: int) -> np.ndarray:
    """Random codes of length 1, [num_docs, num_codes * DIM]."""
    codes = np.random.default_rng(seed).standard_normal((num_docs, num_codes, DIM)).astype(np.float32)
    codes /= np.linalg.norm(codes, axis=2, keepdims=True)
    return codes.reshape(num_docs, -1)


@pytest.fixture
def publish_wide(tmp_path: Path, tower: Path) -> Callable[..., Path]:
    """Publish 30 documents in some spaces; every space lacks other documents: `publish_wide(WIDE, selection="max")`."""

    def publish(spaces: tuple[Space, ...] = WIDE, *, seed: int = 0, dtype: str = "float32", **told: Any) -> Path:
        rows = [
            {"name": s.name, "dim": s.dim, "fingerprint": s.fingerprint, "output": "query", "num_codes": s.num_codes}
            | {"sharpness": 4.0}
            | told
            for s in spaces
        ]
        (tower / "query_tower.json").write_text(json.dumps({"format_version": 2, "max_length": 16, "spaces": rows}))
        places = np.arange(len(DOC_IDS))
        embedded = {
            s.name: Embedded(unit_codes(len(DOC_IDS), s.num_codes, seed + at), (places + at) % 5 != 0)
            for at, s in enumerate(spaces)
        }
        contents = np.ones((len(DOC_IDS), 8), np.uint64)
        contents[:, 2] = places % 2  # every other document has a cover
        with GenerationWriter(tmp_path / "wide", spaces, dtype=dtype) as writer:
            writer.add(DOC_IDS, embedded, contents)
            writer.publish(query_tower=tower, source={"seed": seed})
        return tmp_path / "wide"

    return publish
