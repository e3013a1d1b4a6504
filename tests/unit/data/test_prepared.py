"""The prepared corpus on disk: what comes out is what went in, and nothing broken is read in silence."""

from __future__ import annotations

import json
import pickle
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsearch.data.manifest import Manifest, Shard
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.shards import ShardWriter
from mmsearch.errors import DataError, FormatVersionError, IntegrityError
from mmsearch.files import hash_bytes, hash_file
from mmsearch.protocols import PreparedVideo
from mmsearch.types import TEXTS, Modality

ROW_GROUP = 4
SIZES = (11, 4, 1, 9)


def some_video(number: int, rng: random.Random) -> PreparedVideo:
    texts = {m: f"{m.value} {number} 中文 {rng.random()}" for m in TEXTS if rng.random() < 0.6}
    cover = rng.randbytes(300) if rng.random() < 0.6 else None
    frames = tuple(rng.randbytes(200) for _ in range(rng.choice([0, 3])))
    present = {*texts, *([Modality.COVER] if cover else []), *([Modality.FRAMES] if frames else [])}
    return PreparedVideo(f"v{number}", texts, cover, frames, {m: hash_bytes(rng.randbytes(9)) for m in present})


def write(folder, videos, sizes=SIZES):
    (folder / "shards").mkdir(parents=True)
    source, shards = iter(videos), []
    for number, size in enumerate(sizes):
        path = folder / "shards" / f"{number}.parquet"
        with ShardWriter(path, ROW_GROUP) as writer:
            for _ in range(size):
                writer.add(next(source))
            writer.flush()
        shards.append(Shard(path.name, size, path.stat().st_size, hash_file(path), writer.key))
    Manifest(PrepareSettings(row_group_size=ROW_GROUP), tuple(shards), {}, {}).write(folder)
    return folder


@pytest.fixture(scope="module")
def videos():
    rng = random.Random(4)
    return [some_video(n, rng) for n in range(sum(SIZES))]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, videos):
    return PreparedCorpus.open(write(tmp_path_factory.mktemp("corpus") / "a", videos))


@pytest.fixture
def folder(tmp_path, videos):
    return write(tmp_path / "mine", videos)


def test_rows_ids_and_row_groups(corpus, videos):
    assert corpus.num_videos == len(videos) == 25
    assert list(corpus.doc_ids) == [v.doc_id for v in videos]
    assert all(corpus.row_of[v.doc_id] == row for row, v in enumerate(videos))
    assert [len(group) for group in corpus.row_groups] == [4, 4, 3, 4, 1, 4, 4, 1]
    assert [row for group in corpus.row_groups for row in group] == list(range(25))
    assert [v for n in range(len(corpus.row_groups)) for v in corpus.read_row_group(n)] == videos
    assert [shard.rows for shard in corpus.shards] == list(SIZES)
    corpus.verify()


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.integers(0, 24), max_size=40))
def test_any_rows_in_any_order(corpus, videos, rows):
    assert corpus.read(rows) == [videos[row] for row in rows]


@pytest.mark.parametrize("row", [-1, 25])
def test_rows_that_are_not_there(corpus, row):
    with pytest.raises(IndexError, match="25"):
        corpus.read([0, row])
    with pytest.raises(IndexError, match="row group"):
        corpus.read_row_group(len(corpus.row_groups))


def test_it_goes_to_other_processes(corpus, videos):
    assert pickle.loads(pickle.dumps(corpus)).read([24, 3]) == [videos[24], videos[3]]


def test_the_content_hash_is_that_of_the_content(tmp_path, corpus, videos):
    same = PreparedCorpus.open(write(tmp_path / "same", videos))
    assert same.content_hash == corpus.content_hash
    assert [s.key for s in same.shards] == [s.key for s in corpus.shards]
    swapped = PreparedCorpus.open(write(tmp_path / "swapped", [videos[1], videos[0], *videos[2:]]))
    assert swapped.content_hash != corpus.content_hash
    assert [a.key == b.key for a, b in zip(swapped.shards, corpus.shards, strict=True)] == [False, True, True, True]


def test_an_empty_corpus(tmp_path):
    empty = PreparedCorpus.open(write(tmp_path / "empty", [], ()))
    assert (empty.num_videos, list(empty.doc_ids), list(empty.row_groups), empty.read([])) == (0, [], [], [])


def test_files_that_are_missing_or_of_another_size(folder):
    path = folder / "shards" / "1.parquet"
    data = path.read_bytes()
    path.write_bytes(data + b"x")
    with pytest.raises(IntegrityError, match=r"1\.parquet: .* instead of"):
        PreparedCorpus.open(folder)
    path.unlink()
    with pytest.raises(IntegrityError, match="missing"):
        PreparedCorpus.open(folder)
    with pytest.raises(DataError, match="no such file"):
        PreparedCorpus.open(folder.parent)


def test_manifests_that_cannot_be_believed(folder):
    path = folder / "corpus.json"
    good = json.loads(path.read_text())
    for change in ({"format_version": 3}, {"format_version": "1"}, {"content_hash": "0" * 32}, {"shards": []}):
        path.write_text(json.dumps(good | change))
        expected = FormatVersionError if change == {"format_version": 3} else IntegrityError
        with pytest.raises(expected, match=r"corpus\.json"):
            PreparedCorpus.open(folder)
    path.write_text("[]")
    with pytest.raises(IntegrityError):
        PreparedCorpus.open(folder)


def test_a_flipped_bit_is_found(folder, videos):
    path = folder / "shards" / "0.parquet"
    data = path.read_bytes()
    rng = random.Random(0)
    for _ in range(60):
        at = rng.randrange(len(data))
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :])
        with pytest.raises(IntegrityError, match="checksum"):
            PreparedCorpus.open(folder).verify()
        try:
            read = PreparedCorpus.open(folder).read(range(11))
        except IntegrityError:
            continue
        assert read == videos[:11], at
