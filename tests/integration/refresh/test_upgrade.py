"""A new model over an older one's index, in rounds: what is served between them, and what comes out."""

from __future__ import annotations

import numpy as np
import pytest

from mmsearch.errors import DataError
from mmsearch.index import ForwardIndex
from mmsearch.index.generations import list_generations
from serving.refresh import refresh
from serving.settings import RefreshSettings
from serving.upgrade import refresh_in_rounds

TITLES = [f"video number {n}" for n in range(60)]
ROUNDS = RefreshSettings(batch_size=4, shard_size=8, publish_every=16, keep_generations=9)
PLAIN = ROUNDS.model_copy(update={"publish_every": None})


@pytest.fixture
def upgraded(new_corpus, new_encoder, tmp_path):
    """Publish 60 videos of an older model; give corpus, the new model's encoder, and the index."""
    corpus, old = new_corpus(TITLES), new_encoder("1")
    refresh(corpus, old, old.export, tmp_path / "index", PLAIN)
    return corpus, new_encoder("2", 3), tmp_path / "index"


def test_rounds_end_with_the_bytes_of_one_refresh(upgraded, served_bytes, tmp_path):
    corpus, encoder, index_dir = upgraded
    done = refresh_in_rounds(corpus, encoder, encoder.export, index_dir, ROUNDS)
    assert done.num_embedded == 60
    assert done.quarantined == ()
    assert len(encoder.asked) == 60 + 4 * 16  # each video once, and the sample of each of the four generations
    bases = [info.base for info in list_generations(index_dir)]
    first = ForwardIndex.open(index_dir, list_generations(index_dir)[0].name)
    assert bases == [None, first.generation, first.generation, first.generation, None]
    refresh(corpus, encoder, encoder.export, tmp_path / "alone", PLAIN)
    assert served_bytes(index_dir) == served_bytes(tmp_path / "alone")


def test_between_rounds_every_video_is_served_by_one_of_the_models(upgraded, new_encoder, expected_vectors, tmp_path):
    corpus, encoder, index_dir = upgraded
    seen = []
    encoder.before = lambda: seen.append(ForwardIndex.open(index_dir))
    refresh_in_rounds(corpus, encoder, encoder.export, index_dir, ROUNDS)
    counts = [len(index.versions[-1].rows) for index in seen if len(index.versions) == 2]
    assert sorted(set(counts)) == [16, 32, 48]
    index = next(one for one in seen if len(one.versions) == 2 and len(one.versions[-1].rows) == 32)
    assert index.num_docs == 60
    assert index.source["upgrade_from"] == index.base
    rows = index.rows(list(corpus.doc_ids))
    older, newer = index.versions
    assert set(rows[:32]) == set(newer.rows)
    assert set(rows[32:]) <= set(older.rows)
    for version, encoded, part in ((newer, encoder, rows[:32]), (older, new_encoder("1"), rows[32:])):
        assert version.spaces == encoded.spaces
        expected = expected_vectors(corpus, encoded, "content")
        own = expected[:32] if version is newer else expected[32:]
        np.testing.assert_allclose(index.vectors("content", part)[0], own, atol=1e-3)


def test_killed_in_a_round_it_goes_on_from_the_last(upgraded, new_encoder, served_bytes, tmp_path):
    corpus, encoder, index_dir = upgraded

    def stop():
        if len(encoder.asked) >= 40:
            raise KeyboardInterrupt

    encoder.before = stop
    with pytest.raises(KeyboardInterrupt):
        refresh_in_rounds(corpus, encoder, encoder.export, index_dir, ROUNDS)
    assert len(ForwardIndex.open(index_dir).versions[-1].rows) == 16
    again = new_encoder("2", 3)
    refresh_in_rounds(corpus, again, again.export, index_dir, ROUNDS)
    assert again.asked[:8] == [f"v{n}" for n in range(24, 32)], "nothing that was finished was done again"
    refresh(corpus, again, again.export, tmp_path / "alone", PLAIN)
    assert served_bytes(index_dir) == served_bytes(tmp_path / "alone")


def test_without_an_older_model_there_are_no_rounds(new_corpus, new_encoder, tmp_path):
    corpus, encoder, index_dir = new_corpus(TITLES), new_encoder(), tmp_path / "index"
    refresh_in_rounds(corpus, encoder, encoder.export, index_dir, ROUNDS)
    assert len(list_generations(index_dir)) == 1
    changed = new_corpus([f"{title}, changed" for title in TITLES])
    refresh_in_rounds(changed, encoder, encoder.export, index_dir, ROUNDS)  # the same model: nothing to bridge
    refresh_in_rounds(changed, encoder, encoder.export, index_dir, ROUNDS.model_copy(update={"anew": True}))
    assert [info.base for info in list_generations(index_dir)] == [None] * len(list_generations(index_dir))


def test_a_poisoned_video_keeps_its_older_vector_until_the_end(upgraded, new_encoder, tmp_path):
    corpus, encoder, index_dir = upgraded
    encode, seen = encoder.encode, []

    def poisoned(videos):
        found = encode(videos)
        for place, video in enumerate(videos):
            if video.doc_id == "v3":
                found["content"].vectors[place] = np.nan
        return found

    encoder.encode = poisoned
    encoder.before = lambda: seen.append(ForwardIndex.open(index_dir))
    done = refresh_in_rounds(corpus, encoder, encoder.export, index_dir, ROUNDS)
    assert [video.doc_id for video in done.quarantined] == ["v3"]
    assert done.num_embedded == 59
    mixed = next(one for one in seen if len(one.versions) == 2)
    assert int(mixed.rows(["v3"])[0]) in mixed.versions[0].rows
    assert ForwardIndex.open(index_dir).rows(["v3"]).tolist() == [-1]


def test_an_overlay_of_something_else_is_not_undone(upgraded, new_encoder, new_corpus):
    corpus, encoder, index_dir = upgraded
    third = new_encoder("3")
    third.before = lambda: len(third.asked) >= 40 and (_ for _ in ()).throw(DataError("stop"))
    with pytest.raises(DataError, match="stop"):
        refresh_in_rounds(corpus, third, third.export, index_dir, ROUNDS)
    before = len(list_generations(index_dir))
    refresh_in_rounds(corpus, encoder, encoder.export, index_dir, ROUNDS)
    assert len(list_generations(index_dir)) == before + 1
    assert ForwardIndex.open(index_dir).spaces == encoder.spaces
