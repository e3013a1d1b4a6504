"""What changed between two generations, against two dictionaries."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.index.tools.diff import compare
from mmsearch.protocols import Embedded
from mmsearch.types import Modality, Space

SPACE = Space("content", 4, "bb22")
UNITS = np.eye(4, dtype=np.float32)
#: doc_id -> (axis of its vector, or None; the hash of its title)
WORLDS = st.dictionaries(
    st.sampled_from("abcdefgh"), st.tuples(st.sampled_from([None, 0, 1]), st.integers(0, 2)), min_size=1
)


def publish(index_dir, tower, world, space=SPACE, base=None, deleted=(), contents=True, dtype="float16"):
    docs = sorted(world)
    axes = [world[doc][0] for doc in docs]
    vectors = np.stack([UNITS[axis or 0] for axis in axes]) if docs else np.empty((0, 4), np.float32)
    hashes = np.zeros((len(docs), 8), np.uint64)
    hashes[:, 0] = [world[doc][1] for doc in docs]
    with GenerationWriter(index_dir, [space], base=base, dtype=dtype) as writer:
        writer.add(
            docs,
            {space.name: Embedded(vectors, np.array([a is not None for a in axes], bool))},
            hashes if contents else None,
        )
        if deleted:
            writer.delete(sorted(deleted))
        return writer.publish(query_tower=tower if base is None or space is not SPACE else None, source={})


@pytest.fixture
def tower(tmp_path):
    def write(fingerprint="bb22"):
        folder = tmp_path / f"tower-{fingerprint}"
        folder.mkdir(exist_ok=True)
        row = {"name": "content", "dim": 4, "fingerprint": fingerprint, "output": "content"}
        (folder / "query_tower.json").write_text(json.dumps({"format_version": 1, "max_length": 8, "spaces": [row]}))
        return folder

    return write


@given(old=WORLDS, new=WORLDS, layered=st.booleans())
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_it_counts_as_dictionaries_do(tmp_path_factory, tower, old, new, layered):
    index_dir = tmp_path_factory.mktemp("diff")
    first = publish(index_dir, tower(), old)
    if layered:  # the same end, as what changed over the first
        changed = {doc: told for doc, told in new.items() if old.get(doc) != told}
        gone = set(old) - set(new)
        if not changed and not gone:
            return
        second = publish(index_dir, tower(), changed, base=first, deleted=gone)
    else:
        second = publish(index_dir, tower(), new)
    found = compare(ForwardIndex.open(index_dir, first), ForwardIndex.open(index_dir, second))
    both = sorted(set(old) & set(new))
    assert (found.num_added, found.num_removed) == (len(set(new) - set(old)), len(set(old) - set(new)))
    assert (sorted(found.added), sorted(found.removed)) == (sorted(set(new) - set(old)), sorted(set(old) - set(new)))
    assert found.num_docs == (len(old), len(new))
    changed = sum(old[doc][1] != new[doc][1] for doc in both)
    assert found.content == dict.fromkeys(map(str, Modality), 0) | {"any": changed, "title": changed}
    space = found.spaces["content"]
    pairs = [(old[doc][0], new[doc][0]) for doc in both]
    assert space.both == sum(None not in pair for pair in pairs)
    assert space.same_bytes == sum(a == b is not None for a, b in pairs)
    assert space.only_before == sum(a is not None and b is None for a, b in pairs)
    assert space.only_after == sum(b is not None and a is None for a, b in pairs)
    cosines = [float(a == b) for a, b in pairs if a is not None and b is not None]
    assert space.cosine == ({} if not cosines else pytest.approx({"min": min(cosines)} | {
        f"p{share:02d}": float(np.quantile(cosines, share / 100)) for share in (1, 10, 50)}, abs=1e-6))  # fmt: skip
    assert space.same_model


def test_vectors_stored_otherwise_are_compared_and_are_not_the_same_bytes(tmp_path, tower):
    world = {"a": (0, 1), "b": (1, 1)}
    names = [publish(tmp_path / "index", tower(), world, dtype=dtype) for dtype in ("float32", "int8")]
    space = compare(*(ForwardIndex.open(tmp_path / "index", name) for name in names)).spaces["content"]
    assert (space.both, space.same_bytes) == (2, 0)
    assert space.cosine["min"] == pytest.approx(1, abs=1e-6)


def test_vectors_of_spaces_that_went_or_came_are_lost_or_new(tmp_path, tower):
    world = {"a": (0, 1), "b": (None, 1), "c": (1, 1), "d": (0, 1)}
    first = publish(tmp_path / "index", tower(), world)
    other = Space("cover", 4, "ee55")
    folder = tower("ee55")
    row = {"name": "cover", "dim": 4, "fingerprint": "ee55", "output": "cover"}
    (folder / "query_tower.json").write_text(json.dumps({"format_version": 1, "max_length": 8, "spaces": [row]}))
    second = publish(tmp_path / "index", folder, {"a": (0, 1), "b": (0, 1), "e": (1, 1)}, space=other)
    found = compare(*(ForwardIndex.open(tmp_path / "index", name) for name in (first, second)))
    went, came = found.spaces["content"], found.spaces["cover"]
    assert (went.fingerprints_before, went.fingerprints_after) == (("bb22",), ())
    assert (went.both, went.only_before, went.only_after) == (0, 1, 0), "a; b had none, c and d are not in both"
    assert (came.fingerprints_before, came.fingerprints_after) == ((), ("ee55",))
    assert (came.both, came.only_before, came.only_after) == (0, 0, 2)
    back = compare(*(ForwardIndex.open(tmp_path / "index", name) for name in (second, first)))
    assert (back.spaces["content"].only_after, back.spaces["cover"].only_before) == (1, 2)


def test_a_space_that_an_upgrade_under_way_lacks_is_lost_where_the_new_model_is(tmp_path, tower):
    world = {"a": (0, 1), "b": (1, 1), "c": (0, 2)}
    first = publish(tmp_path / "index", tower(), world, contents=False)
    folder = tower("ee55")
    row = {"name": "cover", "dim": 4, "fingerprint": "ee55", "output": "cover"}
    (folder / "query_tower.json").write_text(json.dumps({"format_version": 1, "max_length": 8, "spaces": [row]}))
    space = Space("cover", 4, "ee55")
    second = publish(tmp_path / "index", folder, {"b": (0, 1)}, space=space, base=first, contents=False)
    found = compare(*(ForwardIndex.open(tmp_path / "index", name) for name in (first, second)))
    content, cover = found.spaces["content"], found.spaces["cover"]
    assert (content.both, content.only_before, content.only_after) == (2, 1, 0)
    assert (cover.both, cover.only_before, cover.only_after) == (0, 0, 1)


def test_an_upgrade_under_way_is_compared_model_by_model(tmp_path, tower):
    first = publish(tmp_path / "index", tower(), {"a": (0, 1), "b": (1, 1), "c": (0, 2)}, contents=False)
    newer = Space("content", 4, "cc33")
    second = publish(tmp_path / "index", tower("cc33"), {"b": (0, 1)}, space=newer, base=first, contents=False)
    found = compare(*(ForwardIndex.open(tmp_path / "index", name) for name in (first, second)))
    space = found.spaces["content"]
    assert (space.fingerprints_before, space.fingerprints_after) == (("bb22",), ("bb22", "cc33"))
    assert not space.same_model
    assert (space.both, space.same_bytes) == (3, 2)
    assert space.cosine["min"] == pytest.approx(0, abs=1e-6)
    assert found.content is None
    assert (
        compare(*(ForwardIndex.open(tmp_path / "index", first) for _ in "ab"), num_ids=0).spaces["content"].same_bytes
        == 3
    )
