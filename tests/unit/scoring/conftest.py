"""A tiny query tower without torch (embedding look-up, mean, L2 norm) and an index of its documents."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mmsearch.index import GenerationWriter
from mmsearch.protocols import Embedded
from mmsearch.text import Tokenizer
from mmsearch.types import Space

DIM = 8
SPACES = (Space("cover", DIM, "aa11"), Space("content", DIM, "bb22"))
WORDS = ["red", "panda", "climbs", "a", "tree", "大熊猫", "吃", "竹子", "cooking", "noodles", "at", "home"]
DOC_IDS = [f"v{i}" for i in range(30)]


def write_model(path: Path, table: np.ndarray, outputs: tuple[str, ...] = ("query",)) -> None:
    """Write an ONNX model: the L2-normalised mean of the embeddings of the real tokens, under each output name."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["tokens"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["weights"]),
        helper.make_node("Mul", ["tokens", "weights"], ["real"]),
        helper.make_node("ReduceSum", ["real", "middle"], ["sum"], keepdims=0),
        *(helper.make_node("LpNormalization", ["sum"], [name], axis=-1, p=2) for name in outputs),
    ]
    shape = ["batch", "length"]
    graph = helper.make_graph(
        nodes,
        "tower",
        [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", table.shape[1]]) for name in outputs],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([-1], np.int64), "last"),
            numpy_helper.from_array(np.array([1], np.int64), "middle"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


@pytest.fixture(scope="session")
def table() -> np.ndarray:
    return np.random.default_rng(5).standard_normal((400, DIM)).astype(np.float32)


@pytest.fixture
def tower(tmp_path: Path, table: np.ndarray) -> Path:
    folder = tmp_path / "tower"
    folder.mkdir()
    Tokenizer.train([" ".join(WORDS)] * 3, vocab_size=400, min_count=1).save(folder / "tokenizer")
    write_model(folder / "model.onnx", table)
    rows = [{"name": s.name, "dim": s.dim, "fingerprint": s.fingerprint, "output": "query"} for s in SPACES]
    (folder / "query_tower.json").write_text(json.dumps({"format_version": 1, "max_length": 16, "spaces": rows}))
    return folder


@pytest.fixture
def write_tower_model(tower: Path) -> Callable[..., None]:
    """Write another model.onnx: `write_tower_model(table, ("query", "content"))`."""
    return partial(write_model, tower / "model.onnx")


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
