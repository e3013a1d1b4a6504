"""Content hashes by column: the same as by video."""

from __future__ import annotations

import numpy as np
import pytest

from mmsearch.data.contents import NUM_CONTENTS, contents_of, read_contents
from mmsearch.data.key_sentences import KeySentences, hash_of, write_key_sentences
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.shards import ShardWriter
from mmsearch.errors import IntegrityError
from mmsearch.files import hash_bytes
from mmsearch.protocols import PreparedVideo
from mmsearch.types import Modality

ASR = list(Modality).index(Modality.ASR)
ODD = ["0" * 32, "f" * 32, "A" * 32, "1" * 31, "x", "é" * 16, "0" * 15 + "1" + "f" * 16]


def write(path, hashes):
    videos = [PreparedVideo(f"视频{i}", {}, None, (), given) for i, given in enumerate(hashes)]
    with ShardWriter(path, 3) as writer:
        for video in videos:
            writer.add(video)
        writer.flush()
    return videos


@pytest.mark.parametrize("odd", [[], ODD], ids=["of prepare", "of others"])
def test_columns_hold_what_videos_hold(tmp_path, odd):
    random = np.random.default_rng(0)
    usual = [hash_bytes(bytes([n])) for n in range(40)]
    hashes = [{m: h for m in Modality if random.random() < 0.7} for h in [*usual, *odd]]
    videos = write(tmp_path / "s.parquet", hashes)
    doc_ids, contents = read_contents(tmp_path / "s.parquet", None)
    assert doc_ids == [video.doc_id for video in videos]
    assert contents.shape == (len(videos), NUM_CONTENTS)
    np.testing.assert_array_equal(contents, contents_of(videos))
    there = np.array([[m in given for m in Modality] for given in hashes])
    np.testing.assert_array_equal(contents[:, : len(Modality)] != 0, there)
    if not odd:
        assert contents[0].max() == int(usual[0][:16], 16)


def test_key_sentences_stand_for_the_speech(tmp_path):
    write(tmp_path / "s.parquet", [{Modality.ASR: hash_bytes(b"a")}, {Modality.ASR: hash_bytes(b"b")}])
    rows = [KeySentences("视频0", "chosen", "greedy"), KeySentences("视频1", None, None)]
    write_key_sentences(tmp_path / "k.parquet", rows, 3)
    _, before = read_contents(tmp_path / "s.parquet", None)
    _, after = read_contents(tmp_path / "s.parquet", tmp_path / "k.parquet")
    assert after[0, ASR] == int(hash_of("chosen")[:16], 16) != before[0, ASR]
    assert after[1, ASR] == before[1, ASR]
    write_key_sentences(tmp_path / "k.parquet", rows[::-1], 3)
    with pytest.raises(IntegrityError, match="sentences of other videos"):
        read_contents(tmp_path / "s.parquet", tmp_path / "k.parquet")


def test_a_corpus_gives_its_blocks_in_order(tiny_corpus):
    corpus = PreparedCorpus.open(tiny_corpus)
    blocks = list(corpus.content_blocks())
    assert [len(ids) for ids, _ in blocks] == [shard.rows for shard in corpus.shards]
    assert [doc_id for ids, _ in blocks for doc_id in ids] == list(corpus.doc_ids)
    videos = corpus.read(range(corpus.num_videos))
    np.testing.assert_array_equal(np.concatenate([c for _, c in blocks]), contents_of(videos))
