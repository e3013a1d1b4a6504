"""Key sentences beside the shards of a corpus: read with the videos, counted in the hashes, checked."""

from dataclasses import replace

import pytest

from mmsearch.data.key_sentences import SENTENCES, KeySentences, content_key, hash_of, write_key_sentences
from mmsearch.data.manifest import Manifest, Shard
from mmsearch.data.prepare import prepare
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import IntegrityError
from mmsearch.files import hash_file
from mmsearch.types import Modality


@pytest.fixture
def plain(tmp_path):
    rows = [f'{{"doc_id": "d{i}", "title": "title {i}", "asr": "one {i}. two {i}."}}\n' for i in range(5)]
    (tmp_path / "videos.jsonl").write_text("".join(rows) + '{"doc_id": "silent", "title": "no speech"}\n')
    prepare(
        tmp_path / "videos.jsonl", tmp_path / "corpus", PrepareSettings(shard_size=4, row_group_size=2, num_workers=1)
    )
    return tmp_path / "corpus"


def add_sentences(folder, chosen, *, doc_ids=None):
    """Write files of sentences for every shard, and the manifest that names them."""
    corpus, manifest = PreparedCorpus.open(folder), Manifest.read(folder)
    (folder / SENTENCES).mkdir(exist_ok=True)
    files, at = [], 0
    for number, shard in enumerate(manifest.shards):
        ids = (doc_ids or corpus.doc_ids)[at : at + shard.rows]
        rows = [KeySentences(i, chosen.get(i), "greedy" if i in chosen else None) for i in ids]
        path = folder / SENTENCES / f"{number}.parquet"
        write_key_sentences(path, rows, manifest.settings.row_group_size)
        key = content_key(shard.key, rows)
        files.append(Shard(path.name, shard.rows, path.stat().st_size, hash_file(path), key))
        at += shard.rows
    replace(manifest, sentences=tuple(files)).write(folder)


def test_sentences_come_with_the_videos_and_towers_read_them(plain):
    before = {video.doc_id: video for video in PreparedCorpus.open(plain).read(range(6))}
    add_sentences(plain, {f"d{i}": f"two {i}." for i in range(5)})
    corpus = PreparedCorpus.open(plain)
    corpus.verify()
    for video in corpus.read(range(6)):
        was = before[video.doc_id]
        assert video.texts == was.texts
        if video.doc_id == "silent":
            assert video == was
            continue
        assert video.read_as(Modality.ASR) == video.key_sentences == f"two {video.doc_id[1:]}."
        assert was.read_as(Modality.ASR) == was.texts[Modality.ASR]
        assert video.hashes == {**was.hashes, Modality.ASR: hash_of(video.key_sentences)}


def test_only_shards_whose_sentences_change_change_their_key(plain):
    keys = [[shard.key for shard in PreparedCorpus.open(plain).shards]]
    for chosen in ({}, {"d0": "one 0."}, {"d0": "two 0."}, {"d0": "two 0.", "d4": "one 4."}):
        add_sentences(plain, chosen)
        keys.append([shard.key for shard in PreparedCorpus.open(plain).shards])
    assert keys[0] == keys[1]
    assert len({first for first, _ in keys}) == 3
    assert len({second for _, second in keys}) == 2


def test_damaged_and_exchanged_files_are_told(plain):
    add_sentences(plain, {"d0": "one 0."}, doc_ids=["d3", "d2", "d1", "d0", "silent", "d4"])
    with pytest.raises(IntegrityError, match=r"0\.parquet: holds sentences of other videos"):
        PreparedCorpus.open(plain).read([0])
    add_sentences(plain, {"d0": "one 0."})
    path = plain / SENTENCES / "0.parquet"
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    corpus = PreparedCorpus.open(plain)
    with pytest.raises(IntegrityError, match=r"0\.parquet"):
        corpus.verify()
    path.write_bytes(data[:-1])
    with pytest.raises(IntegrityError, match=r"0\.parquet: .* bytes instead of"):
        PreparedCorpus.open(plain)
