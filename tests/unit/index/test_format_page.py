"""A second reader, written from docs/reference/index-format.md alone: what is on the disk is what the page says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xxhash

from mmsearch.index import ForwardIndex, GenerationWriter

IDS = [f"doc-{i}" for i in range(40)] + ["视频"]


class Page:
    """One generation, as the page tells it; no code of ours."""

    def __init__(self, index_dir: Path, name: str) -> None:
        self.folder = index_dir / "generations" / name
        manifest = (self.folder / "manifest.json").read_bytes()
        assert name.split("-")[1] == xxhash.xxh3_64_hexdigest(manifest)
        self.manifest = json.loads(manifest)
        files = {p.relative_to(self.folder).as_posix() for p in self.folder.rglob("*") if p.is_file()}
        assert files == {*self.manifest["files"], "manifest.json"}
        for file, told in self.manifest["files"].items():
            data = (self.folder / file).read_bytes()
            assert (len(data), xxhash.xxh3_128_hexdigest(data)) == (told["bytes"], told["xxh3"])
            assert not file.endswith(".npy") or data[:8] == b"\x93NUMPY\x01\x00"
            assert not file.endswith(".npy") or int.from_bytes(data[8:10], "little") == 118
        self.base = Page(index_dir, self.manifest["base"]) if self.manifest["base"] else None
        self.num_base = self.base.manifest["num_docs"] if self.base else 0

    def load(self, name: str) -> np.ndarray:
        return np.load(self.folder / name)

    def row(self, doc_id: str) -> int | None:
        """The row in both layers together; None = there is no such document."""
        hashes, rows = self.load("ids.hashes.npy"), self.load("ids.rows.npy")
        text, offsets = self.load("ids.text.npy").tobytes(), self.load("ids.offsets.npy")
        assert (np.diff(hashes.astype(object)) >= 0).all()
        at = int(np.searchsorted(hashes, np.uint64(xxhash.xxh3_64_intdigest(doc_id.encode()))))
        while at < len(hashes) and hashes[at] == xxhash.xxh3_64_intdigest(doc_id.encode()):
            row = int(rows[at])
            if text[offsets[row] : offsets[row + 1]].decode() == doc_id:
                if self.base and self.load("deleted.npy")[row]:
                    return None
                return self.num_base + row
            at += 1
        found = self.base.row(doc_id) if self.base else None
        assert found is None or found not in self.superseded()
        return found

    def superseded(self) -> set[int]:
        there = "superseded.npy" in self.manifest["files"]
        return set(self.load("superseded.npy").tolist()) if there else set()

    def vector(self, space: dict, row: int) -> np.ndarray | None:
        if row < self.num_base:
            return self.base.vector(space, row)
        own = row - self.num_base
        if not self.load(f"present.{space['name']}.npy")[own]:
            return None
        codes = self.load(f"vectors.{space['name']}.npy")[own].astype(np.float32).reshape(space["num_codes"], -1)
        if space["dtype"] == "int8":
            codes = codes * self.load(f"scales.{space['name']}.npy")[own][:, None]
        return codes.reshape(-1)

    def check_blocks(self, space: dict) -> None:
        name, width = space["name"], space["num_codes"] * space["dim"]
        height = 262144 // (width * {"int8": 1, "float16": 2, "float32": 4}[space["dtype"]])
        columns = [f"vectors.{name}.npy", f"scales.{name}.npy", f"present.{name}.npy"]
        arrays = [self.load(column) for column in columns if column in self.manifest["files"]]
        starts = range(0, self.manifest["num_docs"], height)
        hashes = [xxhash.xxh3_64_intdigest(b"".join(a[s : s + height].tobytes() for a in arrays)) for s in starts]
        assert self.load(f"blocks.{name}.npy").tolist() == hashes


@pytest.mark.parametrize("dtype", ["float16", "float32", "int8"])
def test_a_reader_written_from_the_page_finds_the_same(tmp_path, tower, spaces, embed, dtype):
    contents = np.random.default_rng(1).integers(1, 1 << 60, (41, 8)).astype(np.uint64)
    with GenerationWriter(tmp_path / "index", spaces, dtype=dtype) as writer:
        writer.add(IDS, embed(41), contents)
        base = writer.publish(query_tower=tower, source={"from": "here"})
    with GenerationWriter(tmp_path / "index", spaces, base=base) as writer:
        writer.add(["doc-3", "new"], embed(2, seed=7), contents[:2])
        writer.delete(["doc-5", "视频"])
        writer.publish(query_tower=None, source={})
    index = ForwardIndex.open(tmp_path / "index")
    page = Page(tmp_path / "index", (tmp_path / "index" / "CURRENT").read_text().removesuffix("\n"))
    asked = [*IDS, "new", "nobody"]
    rows = [page.row(doc_id) for doc_id in asked]
    assert [-1 if row is None else row for row in rows] == index.rows(asked).tolist()
    assert rows[IDS.index("doc-5")] is rows[IDS.index("视频")] is rows[-1] is None
    assert page.superseded() == {3, 5, 40}
    np.testing.assert_array_equal(page.base.load("contents.npy"), index.contents(np.arange(41)))
    for space in page.manifest["spaces"]:
        vectors, present = index.vectors(space["name"], index.rows(asked))
        for row, vector, there in zip(rows, vectors, present, strict=True):
            told = None if row is None else page.vector(space, row)
            assert (told is not None) == there
            if there:
                np.testing.assert_array_equal(told, vector)
        page.check_blocks(space)
        page.base.check_blocks(space)
    assert (page.manifest["num_deleted"], page.manifest["num_superseded"]) == (2, 3)
