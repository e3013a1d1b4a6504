"""faiss indexes beside a generation: what they find, and when they are not to be used."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import numpy as np
import pytest

from mmsearch.errors import ConfigError, CorruptIndexError, DataError, FormatVersionError
from mmsearch.files import sole_writer
from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.index.recall.approximate import ApproximateSearch
from mmsearch.index.recall.build import build_ann
from mmsearch.index.recall.search import ExactSearch
from mmsearch.index.recall.settings import AnnSettings
from mmsearch.protocols import Embedded
from mmsearch.types import Space

IDS = [f"doc-{i}" for i in range(900)]
#: 39 vectors for each of 16 centroids are enough
STRUCTURES = {"flat": {}, "hnsw": {"links": 8}, "ivf_pq": {"bits": 4, "num_lists": 8, "num_probes": 8}}


def settings(kind: str, **more: object) -> AnnSettings:
    structure = {"type": kind, **STRUCTURES[kind]}
    return AnnSettings.model_validate({"structure": structure, "num_queries": 20, "overfetch": 4, **more})


@pytest.fixture
def index_dir(publish, tmp_path) -> Path:
    publish(IDS)
    return tmp_path / "index"


def random_query(dim: int, seed: int = 1) -> np.ndarray:
    query = np.random.default_rng(seed).standard_normal(dim).astype(np.float32)
    return query / np.linalg.norm(query)


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf_pq"])
def test_what_is_found_is_scored_as_exactly(index_dir, kind):
    built = build_ann(index_dir, settings(kind))
    index = ForwardIndex.open(index_dir)
    assert [(told.space, told.generation) for told in built] == [(n, index.generation) for n in ("cover", "content")]
    exact, search = ExactSearch(index), ApproximateSearch(index, index_dir, kind)
    for told, space in zip(built, index.spaces, strict=True):
        assert told.num_vectors == int(index.present(space.name).sum())
        assert (told.recall.measured_with, told.recall.num_queries, told.recall.at) == ("documents", 20, 100)
        assert told.recall.value > 0.8
        query = random_query(space.dim)
        (best, scores), (found, own) = (which.search(space.name, query, 30) for which in (exact, search))
        assert len(found) == 30
        assert len(set(found) & set(best)) > 20
        by_id = dict(zip(best, scores, strict=True))
        for doc_id, score in zip(found, own, strict=True):
            assert score == pytest.approx(by_id.get(doc_id, score), abs=1e-6)
        assert list(own) == sorted(own, reverse=True)


def test_recall_is_the_share_of_the_best_that_is_found(index_dir):
    """One list of many is looked into: the figure is what a count over the same queries gives."""
    narrow = {"type": "ivf_pq", "bits": 4, "num_lists": 16, "num_probes": 1}
    queries = {"content": np.stack([random_query(8, seed) for seed in range(25)])}
    chosen = AnnSettings.model_validate(
        {"structure": narrow, "spaces": ["content"], "recall_at": 10, "overfetch": 1, "num_queries": 20}
    )
    (told,) = build_ann(index_dir, chosen, queries)
    index = ForwardIndex.open(index_dir)
    exact, search = ExactSearch(index), ApproximateSearch(index, index_dir, "ivf_pq")
    shares = []
    for query in queries["content"][:20]:
        best, found = (set(which.search("content", query, 10)[0]) for which in (exact, search))
        shares.append(len(best & found) / 10)
    assert told.recall.value == pytest.approx(np.mean(shares), abs=1e-6)
    assert told.recall.value < 0.95
    assert told.recall.measured_with == "queries"


def test_documents_of_several_codes_are_found_by_any_of_them(tmp_path, tower):
    space = Space("content", 8, "bb22", num_codes=3)
    told = json.loads((tower / "query_tower.json").read_text()) | {"format_version": 2}
    told["spaces"] = [{"name": "content", "dim": 8, "fingerprint": "bb22", "output": "content", "num_codes": 3}]
    (tower / "query_tower.json").write_text(json.dumps(told))
    codes = np.random.default_rng(0).standard_normal((200, 3, 8)).astype(np.float32)
    codes /= np.linalg.norm(codes, axis=2, keepdims=True)
    with GenerationWriter(tmp_path / "index", [space], dtype="float32") as writer:
        writer.add(IDS[:200], {"content": Embedded(codes.reshape(200, 24), np.arange(200) % 9 != 4)})
        writer.publish(query_tower=tower, source={})
    (built,) = build_ann(tmp_path / "index", settings("hnsw"))
    assert built.num_vectors == 3 * 178
    index = ForwardIndex.open(tmp_path / "index")
    found, scores = ApproximateSearch(index, tmp_path / "index").search("content", random_query(8), 10)
    best, expected = ExactSearch(index).search("content", random_query(8), 10)
    assert found == best
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert built.recall.value > 0.95


def test_over_a_base_what_changed_counts_at_once(index_dir, tower, embed):
    build_ann(index_dir, settings("hnsw"))
    base = ForwardIndex.open(index_dir)
    query = random_query(8)
    best, _ = ExactSearch(base).search("content", query, 40)
    new = embed(2)
    for name in new:
        new[name] = Embedded(np.tile(query if name == "content" else random_query(4), (2, 1)), np.ones(2, bool))
    with GenerationWriter(index_dir, base.spaces, base=base.generation) as writer:
        writer.add(["new", best[0]], new)
        writer.delete(best[1:30])  # more than the first look can bring
        writer.publish(query_tower=None, source={})
    index = ForwardIndex.open(index_dir)
    found, scores = ApproximateSearch(index, index_dir).search("content", query, 12)
    assert set(found[:2]) == {"new", best[0]}
    assert scores[:2] == pytest.approx([1, 1], abs=1e-3)
    assert found[2:] == best[30:40]
    assert build_ann(index_dir, settings("flat"))[0].generation == base.generation


def test_while_an_upgrade_is_under_way_each_model_has_its_query_vector(index_dir, tower, embed):
    build_ann(index_dir, settings("flat"))
    base = ForwardIndex.open(index_dir)
    told = json.loads((tower / "query_tower.json").read_text())
    for space in told["spaces"]:
        space["fingerprint"] += "-new"
    (tower / "query_tower.json").write_text(json.dumps(told))
    newer = [Space(space.name, space.dim, space.fingerprint + "-new") for space in base.spaces]
    with GenerationWriter(index_dir, newer, base=base.generation) as writer:
        writer.add(IDS[:300], embed(300, seed=4))
        writer.publish(query_tower=tower, source={})
    index = ForwardIndex.open(index_dir)
    vectors = [random_query(8, seed) for seed in (1, 2)]
    scores = {}  # of every document by the vector of its own model
    for query, version in zip(vectors, index.versions, strict=True):
        for rows, found in index.blocks("content", version.rows):
            scores |= {index.doc_ids[row]: vector @ query for row, vector in zip(rows.tolist(), found, strict=True)}
    expected = sorted(scores, key=lambda doc_id: -scores[doc_id])[:40]
    for search in (ExactSearch(index), ApproximateSearch(index, index_dir, "flat")):
        ids, values = search.search("content", vectors, 40)
        np.testing.assert_allclose(values, [scores[doc_id] for doc_id in expected], atol=1e-6)
        assert set(ids) == set(expected)
        newest, _ = search.search("content", [None, vectors[1]], 500)
        assert set(newest) == set(IDS[:300]) & set(scores)
        with pytest.raises(DataError, match="vectors of 2 models, and 1 query vectors"):
            search.search("content", vectors[0], 5)


def test_nothing_is_found_for_a_query_of_zeros_and_nothing_twice(index_dir):
    build_ann(index_dir, settings("flat"))
    search = ApproximateSearch(ForwardIndex.open(index_dir), index_dir, "flat")
    assert search.search("cover", np.zeros(4, np.float32), 5)[0] == []
    found, scores = search.search("cover", random_query(4), 10_000)
    assert len(set(found)) == len(found) == int(ForwardIndex.open(index_dir).present("cover").sum())
    assert np.isfinite(scores).all()


def test_damaged_vectors_are_built_into_nothing(index_dir):
    index = ForwardIndex.open(index_dir)
    path = index_dir / "generations" / index.generation / "vectors.cover.npy"
    row = int(np.flatnonzero(index.present("cover"))[5])
    data = bytearray(path.read_bytes())
    at = len(data) - len(IDS) * 8 + row * 8
    data[at : at + 8] = np.full(4, np.nan, "<f2").tobytes()
    path.write_bytes(data)
    (built,) = build_ann(index_dir, settings("flat", spaces=["cover"]))
    # a block of 256 KiB holds all of these vectors, and its checksum fails
    assert built.num_vectors < int(index.present("cover").sum())
    found, _ = ApproximateSearch(ForwardIndex.open(index_dir), index_dir, "flat").search("cover", random_query(4), 5)
    assert IDS[row] not in found


def ann_files(index_dir: Path) -> list[Path]:
    return sorted((index_dir / "ann" / ForwardIndex.open(index_dir).generation).iterdir())


@pytest.mark.parametrize("harm", ["flip", "truncate", "remove", "swap", "later", "garbage"])
def test_what_is_not_what_was_built_is_never_loaded(index_dir, harm):
    build_ann(index_dir, settings("hnsw"))
    data = next(p for p in ann_files(index_dir) if p.suffix == ".faiss" and p.name.startswith("content."))
    told = data.with_name("content.hnsw.json")
    whole = bytearray(data.read_bytes())
    if harm == "flip":
        whole[len(whole) // 2] ^= 4
        data.write_bytes(whole)
    elif harm == "truncate":
        data.write_bytes(whole[:-3])
    elif harm == "remove":
        data.unlink()
    elif harm == "swap":
        told.write_bytes(told.with_name("cover.hnsw.json").read_bytes())
    elif harm == "later":
        told.write_text(told.read_text().replace('"format_version": 1', '"format_version": 2'))
    else:
        told.write_bytes(b"{")
    search = ApproximateSearch(ForwardIndex.open(index_dir), index_dir)
    with pytest.raises(FormatVersionError if harm == "later" else CorruptIndexError):
        search.search("content", random_query(8), 5)
    assert search.search("cover", random_query(4), 5)[0]
    if harm != "later":  # what a newer mmsearch wrote is left to it
        build_ann(index_dir, settings("hnsw"))
        assert ApproximateSearch(ForwardIndex.open(index_dir), index_dir).search("content", random_query(8), 5)[0]


def test_one_built_from_another_generation_is_not_found(index_dir, publish):
    build_ann(index_dir, settings("hnsw"))
    publish(IDS, seed=2)
    with pytest.raises(DataError, match=r"no hnsw index of space 'content' was built for g000002.*mmsearch index ann"):
        ApproximateSearch(ForwardIndex.open(index_dir), index_dir).search("content", random_query(8), 5)
    old = index_dir / "ann" / ForwardIndex.open(index_dir).generation
    foreign = index_dir / "ann" / next(p.name for p in (index_dir / "ann").iterdir())
    foreign.rename(old)
    with pytest.raises(CorruptIndexError, match="is of g000001"):
        ApproximateSearch(ForwardIndex.open(index_dir), index_dir).search("content", random_query(8), 5)


def test_a_build_leaves_nothing_behind_but_what_it_made(index_dir, publish):
    build_ann(index_dir, settings("hnsw"))
    before = ann_files(index_dir)
    folder = before[0].parent
    for stray in (".content.hnsw.tmp", "content.hnsw.0123456789abcdef.faiss"):  # what a crash leaves
        (folder / stray).write_bytes(b"half")
    (folder.with_name("g000000-0123456789abcdef")).mkdir()  # of a generation that is gone
    build_ann(index_dir, settings("hnsw", seed=3))
    assert [p.suffix for p in ann_files(index_dir)].count(".faiss") == 2
    assert [p.name for p in ann_files(index_dir) if p.suffix == ".json"] == ["content.hnsw.json", "cover.hnsw.json"]
    assert [p.name for p in (index_dir / "ann").iterdir()] == [folder.name]


def test_they_go_with_their_generation(index_dir, publish):
    for seed in (1, 2, 3):
        build_ann(index_dir, settings("flat", spaces=["cover"]))
        publish(IDS[:50], seed=seed)
    there = {path.name for path in (index_dir / "generations").iterdir()}
    assert {path.name for path in (index_dir / "ann").iterdir()} < there
    assert len(there) == 2


def test_two_builds_at_once_are_refused(index_dir):
    build_ann(index_dir, settings("flat"))
    with sole_writer(ann_files(index_dir)[0].parent), pytest.raises(DataError, match="another process"):
        build_ann(index_dir, settings("flat"))


@pytest.mark.parametrize("room", [0, 100, 10_000])
def test_a_full_disk_is_told_and_the_earlier_one_is_found(index_dir, room):
    build_ann(index_dir, settings("flat"))
    before = {path: path.read_bytes() for path in ann_files(index_dir)}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with pytest.raises(DataError, match="writing failed: File too large; make room"):
            build_ann(index_dir, settings("flat", seed=9))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {path: path.read_bytes() for path in ann_files(index_dir)} == before
    assert ApproximateSearch(ForwardIndex.open(index_dir), index_dir, "flat").search("cover", random_query(4), 5)[0]


@pytest.mark.parametrize(
    ("structure", "what"),
    [
        ({"type": "ivf_pq"}, "too few to learn from"),
        ({"type": "ivf_pq", "bits": 4, "num_subvectors": 3}, "does not divide"),
    ],
)
def test_what_cannot_be_built_is_told_before_anything_is(index_dir, structure, what):
    with pytest.raises(ConfigError, match=what):
        build_ann(index_dir, AnnSettings.model_validate({"structure": structure}))
    assert not (index_dir / "ann").exists()


def test_an_unknown_space_and_a_gpu_that_is_not_there_are_told(index_dir):
    with pytest.raises(DataError, match=r"no space 'frames' in g000001.*; there are: cover, content"):
        build_ann(index_dir, settings("flat", spaces=["frames"]))
    if not __import__("faiss").get_num_gpus():
        with pytest.raises(ConfigError, match="sees no GPU"):
            build_ann(index_dir, settings("ivf_pq", device="cuda"))


@pytest.mark.gpu
@pytest.mark.parametrize("kind", ["flat", "ivf_pq"])
def test_a_gpu_finds_what_the_cpu_finds(index_dir, kind):
    if not __import__("faiss").get_num_gpus():
        pytest.skip("this faiss sees no GPU")
    build_ann(index_dir, settings(kind, device="cuda"))
    index = ForwardIndex.open(index_dir)
    on_gpu, on_cpu = (ApproximateSearch(index, index_dir, kind, device=device) for device in ("cuda", "cpu"))
    found, expected = (set(which.search("content", random_query(8), 20)[0]) for which in (on_gpu, on_cpu))
    assert len(found & expected) >= 18
