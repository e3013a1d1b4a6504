"""Damage: where it is, and how many vectors it costs."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from mmsearch.errors import CorruptIndexError, DataError
from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.index.recall.build import build_ann
from mmsearch.index.recall.settings import AnnSettings
from mmsearch.index.tools.inspection import find_generation, inspect
from mmsearch.index.tools.verification import verify_generation
from mmsearch.protocols import Embedded
from mmsearch.types import Space

IDS = [f"doc-{i}" for i in range(60)]


@pytest.fixture
def index_dir(publish, tmp_path, embed) -> Path:
    """A base with a faiss index, and an overlay."""
    name = publish(IDS)
    build_ann(tmp_path / "index", AnnSettings.model_validate({"structure": {"type": "flat"}, "spaces": ["cover"]}))
    with GenerationWriter(tmp_path / "index", ForwardIndex.open(tmp_path / "index").spaces, base=name) as writer:
        writer.add(["doc-7", "new"], embed(2, seed=5))
        writer.delete(["doc-0"])
        writer.publish(query_tower=None, source={"why": "test"})
    return tmp_path / "index"


def files_of(index_dir: Path) -> list[Path]:
    """All files that a checksum covers."""
    found = [path for path in index_dir.rglob("*") if path.is_file()]
    return sorted(path for path in found if path.name not in ("CURRENT", ".lock") and path.parent.parent.name != "ann")


def test_every_flipped_bit_of_every_file_is_found_at_its_place(index_dir):
    current = ForwardIndex.open(index_dir).generation
    chance = random.Random(2)
    assert [done.damaged for done in verify_generation(index_dir, current)] == [[], []]
    files = files_of(index_dir) + list((index_dir / "ann").rglob("*.faiss"))
    for path in files:
        whole = path.read_bytes()
        if not whole:
            continue
        damaged = bytearray(whole)
        bit = chance.randrange(8 * len(whole))
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        found = [damage for done in verify_generation(index_dir, current) for damage in done.damaged]
        assert [damage.file for damage in found] == [path.relative_to(index_dir).as_posix()]
        path.write_bytes(whole)


def test_the_vectors_that_cannot_be_used_are_counted(tmp_path, tower):
    spaces = (Space("cover", 4, "aa11"), Space("content", 8, "bb22"))
    rng = np.random.default_rng(0)
    num = 70_000  # content: 2^14 rows in a block of 256 KiB
    present = rng.random(num) > 0.2
    embedded = {}
    for space in spaces:
        vectors = rng.standard_normal((num, space.dim)).astype(np.float32)
        embedded[space.name] = Embedded(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), present)
    with GenerationWriter(tmp_path / "index", spaces) as writer:
        writer.add([str(i) for i in range(num)], embedded)
        name = writer.publish(query_tower=tower, source={})
    folder = tmp_path / "index" / "generations" / name
    path = folder / "vectors.content.npy"
    data = bytearray(path.read_bytes())
    data[128 + 16 * 20_000] ^= 1
    path.write_bytes(data)
    (found,) = verify_generation(tmp_path / "index", name)
    (damage,) = found.damaged
    assert damage.num_vectors == int(present[1 << 14 : 1 << 15].sum())
    assert found.bytes == sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json")
    path.write_bytes(data[:-2])
    (folder / "ids.text.npy").unlink()
    (found,) = verify_generation(tmp_path / "index", name)
    told = {damage.file.rpartition("/")[2]: (damage.problem, damage.num_vectors) for damage in found.damaged}
    assert told["vectors.content.npy"][0].startswith("has ")
    assert told["ids.text.npy"] == ("cannot be read: No such file or directory", None)


def test_a_damaged_manifest_is_told_and_a_missing_generation_refused(index_dir):
    index = ForwardIndex.open(index_dir)
    base, current = index.base, index.generation
    del index
    path = index_dir / "generations" / current / "manifest.json"
    path.write_bytes(path.read_bytes()[:-5])
    (found,) = verify_generation(index_dir, current)
    assert [damage.file for damage in found.damaged] == [f"generations/{current}/manifest.json"]
    assert verify_generation(index_dir, base)[0].damaged == []
    with pytest.raises(CorruptIndexError, match="g000009"):
        verify_generation(index_dir, "g000009-0123456789abcdef")


def test_what_is_in_it_is_told(index_dir):
    index = ForwardIndex.open(index_dir)
    found = inspect(index_dir)
    assert (found.generation, found.num_docs, found.num_rows) == (index.generation, 60, 63)
    assert [(layer.num_rows, layer.num_deleted, layer.num_superseded) for layer in found.layers] == [
        (60, 0, 0),
        (3, 1, 2),
    ]
    assert [layer.has_query_tower for layer in found.layers] == [True, False]
    for space in found.spaces:
        assert space.num_vectors == int(index.present(space.name).sum())
        assert space.missing_share == pytest.approx(1 - space.num_vectors / 60)
        assert space.bytes == sum(path.stat().st_size for path in index_dir.rglob(f"*.{space.name}.npy"))
        assert space.generation == index.base
    assert [(ann.space, ann.structure.type) for ann in found.ann] == [("cover", "flat")]
    assert found.source == {"why": "test"}


def test_generations_go_by_name_and_number(index_dir):
    names = sorted(path.name for path in (index_dir / "generations").iterdir())
    assert [find_generation(index_dir, told) for told in ("1", "g000002", names[0])] == [names[0], names[1], names[0]]
    for told in ("3", "g1x", "", "../generations", "٣"):
        with pytest.raises(DataError, match=r"there is no generation .*; there are: g000001"):
            find_generation(index_dir, told)
