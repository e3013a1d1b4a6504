"""What other programs load, against what the index says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mmsearch.errors import DataError, FingerprintError
from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.index.tools.export import export_npy, export_parquet

IDS = [f"doc-{i}" for i in range(50)]


@pytest.fixture
def index(publish, tmp_path, embed) -> ForwardIndex:
    """A base and an overlay: two deleted, one replaced, one new."""
    name = publish(IDS)
    with GenerationWriter(tmp_path / "index", ForwardIndex.open(tmp_path / "index").spaces, base=name) as writer:
        writer.add(["doc-7", "new"], embed(2, seed=5))
        writer.delete(["doc-0", "doc-49"])
        writer.publish(query_tower=None, source={})
    return ForwardIndex.open(tmp_path / "index")


def expected(index: ForwardIndex, space: str) -> dict[str, np.ndarray | None]:
    rows = index.rows([*IDS, "new"])
    vectors, present = index.vectors(space, rows)
    told = zip([*IDS, "new"], rows, vectors, present, strict=True)
    return {doc_id: vector if there else None for doc_id, row, vector, there in told if row >= 0}


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_parquet_holds_every_live_document_once_and_null_where_it_has_no_vector(index, tmp_path, dtype):
    done = export_parquet(index, tmp_path / "v.parquet", dtype=dtype)
    table = pq.read_table(tmp_path / "v.parquet")
    assert table.schema.names == ["doc_id", "cover", "content"]
    told = json.loads(table.schema.metadata[b"mmsearch"])
    assert (told["generation"], told["num_docs"]) == (index.generation, 49)
    assert [space["fingerprint"] for space in told["spaces"]] == ["aa11", "bb22"]
    doc_ids = table["doc_id"].to_pylist()
    for name in ("cover", "content"):
        truth = expected(index, name)
        assert sorted(doc_ids) == sorted(truth)
        assert done.num_vectors[name] == sum(vector is not None for vector in truth.values())
        for doc_id, vector in zip(doc_ids, table[name].to_pylist(), strict=True):
            if truth[doc_id] is None:
                assert vector is None
            else:
                np.testing.assert_array_equal(np.array(vector, dtype), truth[doc_id].astype(dtype))
    assert done.num_damaged == {"cover": 0, "content": 0}


def test_npy_holds_pairs_of_ids_and_vectors(index, tmp_path):
    export_npy(index, tmp_path / "out", spaces=["content"])
    truth = {doc_id: vector for doc_id, vector in expected(index, "content").items() if vector is not None}
    ids = (tmp_path / "out" / "content.ids.txt").read_text().split("\n")[:-1]
    vectors = np.load(tmp_path / "out" / "content.npy")
    assert vectors.dtype == np.float32
    assert sorted(ids) == sorted(truth)
    np.testing.assert_array_equal(vectors, np.stack([truth[doc_id] for doc_id in ids]))
    assert json.loads((tmp_path / "out" / "index.json").read_text())["spaces"][0]["name"] == "content"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"content.npy", "content.ids.txt", "index.json"}


def test_damaged_vectors_are_left_out_and_counted(index, tmp_path):
    path = tmp_path / "index" / "generations" / index.base / "vectors.cover.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 64  # the block's checksum fails: all of its documents are missing
    path.write_bytes(data)
    reopened = ForwardIndex.open(tmp_path / "index")
    done = export_parquet(reopened, tmp_path / "v.parquet")
    base_rows = reopened.present("cover")[: len(IDS)]
    assert done.num_damaged == {"cover": int(base_rows.sum()), "content": 0}
    assert pq.read_table(tmp_path / "v.parquet")["cover"].null_count == 49 - done.num_vectors["cover"]


def test_what_cannot_be_written_leaves_nothing(publish, index, tmp_path):
    with pytest.raises(DataError, match=r"no space 'frames'.*cover, content"):
        export_parquet(index, tmp_path / "v.parquet", spaces=["frames"])
    (tmp_path / "there").mkdir()
    with pytest.raises(DataError, match="is there already"):
        export_npy(index, tmp_path / "there")
    publish(["a\nb", "c", "d", "e"])
    with pytest.raises(DataError, match=r"'a\\nb' holds a line end"):
        export_npy(ForwardIndex.open(tmp_path / "index"), tmp_path / "out")
    assert {path.name for path in Path(tmp_path).iterdir()} == {"index", "tower", "there"}
    export_parquet(ForwardIndex.open(tmp_path / "index"), tmp_path / "v.parquet")
    assert pq.read_table(tmp_path / "v.parquet")["doc_id"].to_pylist()[0] == "a\nb"


def test_vectors_of_two_models_are_not_written_as_one(index, tmp_path, tower, embed):
    told = json.loads((tower / "query_tower.json").read_text())
    for space in told["spaces"]:
        space["fingerprint"] += "-new"
    (tower / "query_tower.json").write_text(json.dumps(told))
    newer = [type(space)(space.name, space.dim, space.fingerprint + "-new") for space in index.spaces]
    with GenerationWriter(tmp_path / "index", newer, base=index.base) as writer:
        writer.add(["doc-1"], embed(1))
        writer.publish(query_tower=tower, source={})
    with pytest.raises(FingerprintError, match=f"export its base {index.base}"):
        export_parquet(ForwardIndex.open(tmp_path / "index"), tmp_path / "v.parquet")
