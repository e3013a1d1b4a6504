"""The loaders that `docs/howto/operate-index.md` shows, run as they stand there on what an export wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.index.tools.export import export_npy, export_parquet
from mmsearch.protocols import Embedded
from mmsearch.types import Space

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "operate-index.md"
IDS = ["a\tb", "back\\slash", "视频", "none", "e"]


def block(first_line: str) -> str:
    """Give the one Python block of the page that begins so."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    (found,) = [text for text in blocks if text.startswith(first_line)]
    return found


@pytest.fixture
def truth(tmp_path, monkeypatch) -> dict[str, list[float]]:
    """Export five videos, of which one has no vector; give the vectors of the others."""
    space = Space("content", 256, "bb22")
    row = {"name": "content", "dim": 256, "fingerprint": "bb22", "output": "content"}
    (tmp_path / "tower").mkdir()
    (tmp_path / "tower" / "query_tower.json").write_text(
        json.dumps({"format_version": 1, "max_length": 8, "spaces": [row]})
    )
    vectors = np.random.default_rng(0).standard_normal((5, 256)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    with GenerationWriter(tmp_path / "index", [space], dtype="float32") as writer:
        writer.add(IDS, {"content": Embedded(vectors, np.array([True, True, True, False, True]))})
        writer.publish(query_tower=tmp_path / "tower", source={})
    index = ForwardIndex.open(tmp_path / "index")
    export_parquet(index, tmp_path / "vectors.parquet")
    export_npy(index, tmp_path / "vectors")
    monkeypatch.chdir(tmp_path)
    return {doc_id: vector.tolist() for doc_id, vector in zip(IDS, vectors, strict=True) if doc_id != "none"}


@pytest.fixture
def loaded() -> dict:
    """What the block that reads Parquet defines."""
    names: dict = {}
    exec(block("import pyarrow.parquet"), names)
    return names


def test_rows_are_those_with_a_vector(truth, loaded):
    assert [row for some in loaded["rows"]("vectors.parquet", "content", 2) for row in some] == list(truth.items())


def test_lines_for_pgvector_are_those_of_copy(truth, loaded):
    exec(block("# pgvector"), loaded)
    lines = list(loaded["copy_lines"]("vectors.parquet", "content"))
    assert [line.partition("\t")[0] for line in lines] == ["a\\tb", "back\\\\slash", "视频", "e"]
    for line, vector in zip(lines, truth.values(), strict=True):
        _, text = line.removesuffix("\n").split("\t")
        assert json.loads(text) == vector


def test_lines_for_vespa_are_puts(truth, loaded):
    exec(block("# Vespa"), loaded)
    found = [json.loads(line) for line in loaded["vespa_lines"]("vectors.parquet", "content")]
    assert [put["put"] for put in found] == [f"id:videos:video::{doc_id}" for doc_id in truth]
    assert [put["fields"]["content"]["values"] for put in found] == list(truth.values())


def test_the_pair_of_npy_loads_as_it_is(truth):
    names: dict = {}
    exec(block("# faiss, numpy"), names)
    np.testing.assert_array_equal(names["vectors"], np.float32(list(truth.values())))
    assert names["ids"] == list(truth)


def test_qdrant_finds_what_was_loaded(truth, loaded):
    client = pytest.importorskip("qdrant_client")
    exec(block("# Qdrant").replace('"http://localhost:6333"', '":memory:"'), loaded)
    (found,) = loaded["client"].query_points("videos", query=truth["视频"], limit=1).points
    assert isinstance(loaded["client"], client.QdrantClient)
    assert (found.payload["doc_id"], found.score) == ("视频", pytest.approx(1, abs=1e-5))


def test_milvus_finds_what_was_loaded(truth, loaded):
    pytest.importorskip("milvus_lite")
    exec(block("# Milvus").replace('"http://localhost:19530"', '"milvus.db"'), loaded)
    found = loaded["client"].search("videos", [truth["视频"]], limit=1)[0][0]
    assert (found["id"], found["distance"]) == ("视频", pytest.approx(1, abs=1e-5))
    loaded["client"].close()
