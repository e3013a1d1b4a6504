"""What a refresh publishes, what it does not do twice, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from mmsearch.errors import DataError, FingerprintError
from mmsearch.index import ForwardIndex
from serving.refresh import refresh
from serving.settings import RefreshSettings

SETTINGS = RefreshSettings(batch_size=5, dtype="float32", shard_size=16, check_sample=0)
TITLES = [f"title {i}" for i in range(50)]


@pytest.mark.parametrize("num_codes", [1, 3])
def test_it_publishes_the_vectors_of_every_video(new_corpus, new_encoder, tmp_path, expected_vectors, num_codes):
    corpus, encoder = new_corpus(TITLES), new_encoder(num_codes=num_codes)
    name = refresh(corpus, encoder, encoder.export, tmp_path / "index", SETTINGS).generation
    index = ForwardIndex.open(tmp_path / "index")
    index.verify()
    assert index.generation == name
    assert list(index.doc_ids) == [f"v{i}" for i in range(50)] == encoder.asked
    assert index.source["corpus_hash"] == corpus.content_hash
    for space in ("cover", "content"):
        vectors, present = index.vectors(space, np.arange(50))
        assert present.tolist() == [space == "content" or i % 5 != 0 for i in range(50)]
        np.testing.assert_array_equal(vectors[present], expected_vectors(corpus, encoder, space)[present])
    assert not (tmp_path / "index" / ".work").exists()


def test_a_second_refresh_of_the_same_publishes_nothing(new_corpus, new_encoder, tmp_path, caplog):
    first = new_encoder()
    name = refresh(new_corpus(TITLES), first, first.export, tmp_path / "index", SETTINGS).generation
    again = new_encoder()
    with caplog.at_level("INFO"):
        done = refresh(new_corpus(TITLES), again, again.export, tmp_path / "index", SETTINGS)
    assert (done.generation, done.published) == (name, False)
    assert again.asked == []
    assert "is up to date" in caplog.text


@pytest.mark.parametrize("change", ["corpus", "weights", "dtype", "codes"])
def test_every_change_publishes(new_corpus, new_encoder, tmp_path, change):
    first = new_encoder()
    name = refresh(new_corpus(TITLES), first, first.export, tmp_path / "index", SETTINGS).generation
    corpus = new_corpus([*TITLES[:-1], "another title"] if change == "corpus" else TITLES)
    second = new_encoder("2" if change == "weights" else "1", num_codes=2 if change == "codes" else 1)
    settings = SETTINGS.model_copy(update={"dtype": "float16"}) if change == "dtype" else SETTINGS
    assert refresh(corpus, second, second.export, tmp_path / "index", settings).generation != name
    assert ForwardIndex.open(tmp_path / "index").spaces == second.spaces


def test_a_failed_refresh_goes_on_where_it_was(new_corpus, new_encoder, tmp_path, served_bytes):
    undisturbed = new_encoder()
    refresh(new_corpus(TITLES), undisturbed, undisturbed.export, tmp_path / "one", SETTINGS)
    broken = new_encoder()

    def fail() -> None:
        if len(broken.asked) > 40:
            raise RuntimeError("out of memory")

    broken.before = fail
    with pytest.raises(RuntimeError, match="out of memory"):
        refresh(new_corpus(TITLES), broken, broken.export, tmp_path / "two", SETTINGS)
    kept = sorted((tmp_path / "two" / ".work").glob("*/*.npz"))
    assert len(kept) == 2
    kept[0].write_bytes(kept[0].read_bytes()[:-9] + b"\0" * 9)
    whole = new_encoder()
    refresh(new_corpus(TITLES), whole, whole.export, tmp_path / "two", SETTINGS)
    assert len(whole.asked) == 50 - 16, "one shard was kept whole; the damaged one and the last two were made again"
    assert served_bytes(tmp_path / "two") == served_bytes(tmp_path / "one")


@pytest.mark.parametrize("change", [{"weights": "2"}, {"num_codes": 2}])
def test_shards_of_another_model_are_not_taken(new_corpus, new_encoder, tmp_path, expected_vectors, change):
    first = new_encoder()
    first.before = lambda: first.asked[40:] and 1 / 0
    with pytest.raises(ZeroDivisionError):
        refresh(new_corpus(TITLES), first, first.export, tmp_path / "index", SETTINGS)
    second = new_encoder(**change)
    corpus = new_corpus(TITLES)
    refresh(corpus, second, second.export, tmp_path / "index", SETTINGS)
    assert len(second.asked) == 50
    vectors, _ = ForwardIndex.open(tmp_path / "index").vectors("content", np.arange(50))
    np.testing.assert_array_equal(vectors, expected_vectors(corpus, second, "content"))


@pytest.mark.parametrize("between", ["nothing to do", "another title", "another model", "another dtype"])
def test_another_refresh_leaves_unfinished_work_alone(new_corpus, new_encoder, tmp_path, between):
    index, old = tmp_path / "index", new_encoder("1")
    refresh(new_corpus(TITLES), old, old.export, index, SETTINGS)
    upgrade = new_encoder("2")
    upgrade.before = lambda: upgrade.asked[40:] and 1 / 0
    with pytest.raises(ZeroDivisionError):
        refresh(new_corpus(TITLES), upgrade, upgrade.export, index, SETTINGS)
    other = new_encoder("3" if between == "another model" else "1")
    settings = SETTINGS.model_copy(update={"dtype": "float16"} if between == "another dtype" else {})
    corpus = new_corpus([*TITLES[:-1], "another title"] if between == "another title" else TITLES)
    done = refresh(corpus, other, other.export, index, settings)
    assert done.published == (between != "nothing to do")
    again = new_encoder("2")
    refresh(new_corpus(TITLES), again, again.export, index, SETTINGS)
    assert len(again.asked) == 50 - 32, "the two shards that were finished are not done again"
    assert not (index / ".work").exists()


def test_what_a_killed_end_left_is_cleared_when_there_is_nothing_to_do(new_corpus, new_encoder, tmp_path, monkeypatch):
    index, encoder = tmp_path / "index", new_encoder()
    with monkeypatch.context() as killed:
        killed.setattr("serving.run.clear", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            refresh(new_corpus(TITLES), encoder, encoder.export, index, SETTINGS)
    assert (index / ".work").exists()
    assert not refresh(new_corpus(TITLES), encoder, encoder.export, index, SETTINGS).published
    assert not (index / ".work").exists()


def test_a_video_whose_vector_is_not_finite_is_left_out(new_corpus, new_encoder, tmp_path):
    poisoned = new_encoder()
    encode = poisoned.encode

    def poison(videos):
        embedded = encode(videos)
        for i, video in enumerate(videos):
            if video.doc_id == "v21":
                embedded["content"].vectors[i, 3] = np.nan
        return embedded

    poisoned.encode = poison
    refresh(new_corpus(TITLES), poisoned, poisoned.export, tmp_path / "index", SETTINGS)
    index = ForwardIndex.open(tmp_path / "index")
    assert list(index.doc_ids) == [f"v{i}" for i in range(50) if i != 21]


def test_a_query_tower_of_another_model_is_refused_before_the_work(new_corpus, new_encoder, tmp_path):
    encoder = new_encoder()
    with pytest.raises(FingerprintError, match="exported query tower has fingerprint cover-2"):
        refresh(new_corpus(TITLES), encoder, new_encoder("2").export, tmp_path / "index", SETTINGS)
    assert encoder.asked == []


def test_an_empty_corpus_is_refused(new_corpus, new_encoder, tmp_path):
    encoder = new_encoder()
    with pytest.raises(DataError, match="no documents"):
        refresh(new_corpus([]), encoder, encoder.export, tmp_path / "index", SETTINGS)
