"""A refresh over an index that is served: what it embeds, what it copies, what it drops, what it tells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmsearch.errors import IntegrityError
from mmsearch.index import ForwardIndex
from mmsearch.index.generations import serve
from mmsearch.index.layout import vectors_file
from mmsearch.types import Modality
from serving.plan import make_plan
from serving.quarantine import read_quarantine
from serving.refresh import refresh
from serving.settings import RefreshSettings

SETTINGS = RefreshSettings(batch_size=5, dtype="float32", shard_size=7, check_sample=0)
TITLES = {f"v{i}": f"title {i}" for i in range(60)}
#: Two changed, three new ones between the others, four gone.
CHANGED = {k: v for k, v in TITLES.items() if k not in ("v0", "v20", "v21", "v59")}
CHANGED = dict(sorted({**CHANGED, "v7": "another", "v33": "one more", "v100": "a", "v101": "b", "v102": "c"}.items()))
TO_EMBED = {"v7", "v33", "v100", "v101", "v102"}


def run(corpus, encoder, index, chosen=SETTINGS, **changes):
    return refresh(corpus, encoder, encoder.export, index, chosen.model_copy(update=changes))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_only_new_and_changed_videos_are_embedded_and_the_bytes_are_those_of_a_cold_refresh(
    new_corpus, new_encoder, tmp_path, served_bytes, dtype
):
    run(new_corpus(TITLES), new_encoder(), tmp_path / "index", dtype=dtype)
    encoder = new_encoder()
    done = run(new_corpus(CHANGED), encoder, tmp_path / "index", dtype=dtype)
    assert set(encoder.asked) == TO_EMBED
    assert len(encoder.asked) == 5 == done.num_embedded
    counts = done.plan.counts
    assert (counts.new, counts.changed, counts.unchanged, counts.deleted) == (3, 2, 54, 4)
    assert {m for m, number in counts.changed_by.items() if number} == {Modality.TITLE}
    index = ForwardIndex.open(tmp_path / "index")
    index.verify()
    assert list(index.doc_ids) == list(CHANGED), "the order is that of the corpus, and what is deleted is gone"
    assert index.rows(["v20"])[0] == -1
    run(new_corpus(CHANGED), new_encoder(), tmp_path / "cold", dtype=dtype)
    assert served_bytes(tmp_path / "index") == served_bytes(tmp_path / "cold")


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(st.integers(0, 30), st.integers(0, 2), min_size=1), min_size=1, max_size=3))
def test_any_history_ends_with_the_bytes_of_a_cold_refresh(
    new_corpus, new_encoder, tmp_path_factory, served_bytes, history
):
    folder = tmp_path_factory.mktemp("history")
    before = {}
    for videos in history:
        titles = {f"v{i}": f"title {title}" for i, title in videos.items()}
        encoder = new_encoder()
        run(new_corpus(titles), encoder, folder / "index", max_deleted_share=1.0)
        assert set(encoder.asked) == {doc_id for doc_id, title in titles.items() if before.get(doc_id) != title}
        before = titles
    run(new_corpus(before), new_encoder(), folder / "cold")
    assert served_bytes(folder / "index") == served_bytes(folder / "cold")


def test_a_corpus_that_is_only_cut_or_sorted_otherwise_changes_nothing(new_corpus, new_encoder, tmp_path):
    name = run(new_corpus(TITLES), new_encoder(), tmp_path / "index").generation
    encoder = new_encoder()
    corpus = new_corpus(dict(reversed(TITLES.items())), size=9)
    done = run(corpus, encoder, tmp_path / "index")
    assert not done.plan.same_corpus, "found by comparing video by video"
    assert (done.generation, done.published, encoder.asked) == (name, False, [])


@pytest.mark.parametrize("how", ["weights", "codes", "anew"])
def test_another_model_embeds_everything(new_corpus, new_encoder, tmp_path, how):
    run(new_corpus(TITLES), new_encoder(), tmp_path / "index")
    encoder = new_encoder("2" if how == "weights" else "1", num_codes=2 if how == "codes" else 1)
    done = run(new_corpus(CHANGED), encoder, tmp_path / "index", anew=how == "anew")
    assert sorted(encoder.asked) == sorted(CHANGED)
    assert (done.plan.num_copied, done.plan.counts.unchanged) == (0, 54)


def test_what_is_served_without_content_hashes_is_embedded_once_more(new_corpus, new_encoder, tmp_path, monkeypatch):
    corpus = new_corpus(TITLES)
    run(corpus, new_encoder(), tmp_path / "index")
    monkeypatch.setattr(ForwardIndex, "has_contents", False)  # as a generation of format 2 says
    assert make_plan(corpus, new_encoder(), tmp_path / "index", SETTINGS).is_noop, "it is of this very corpus"
    plan = make_plan(new_corpus(CHANGED), new_encoder(), tmp_path / "index", SETTINGS)
    assert (plan.anew, plan.num_embedded) == ("what is served holds no content hashes", len(CHANGED))


def test_a_refresh_that_failed_within_goes_on_to_the_same_bytes(new_corpus, new_encoder, tmp_path, served_bytes):
    more = CHANGED | {f"v{i}": "new" for i in range(200, 220)}
    for name in ("one", "two"):
        run(new_corpus(TITLES), new_encoder(), tmp_path / name)
    run(new_corpus(more), new_encoder(), tmp_path / "one")
    broken = new_encoder()
    broken.before = lambda: 1 / 0 if len(broken.asked) >= 14 else None
    with pytest.raises(ZeroDivisionError):
        run(new_corpus(more), broken, tmp_path / "two")
    assert len(list((tmp_path / "two" / ".work").glob("*/*.npz"))) == 2
    encoder = new_encoder()
    run(new_corpus(more), encoder, tmp_path / "two")
    assert len(encoder.asked) == 25 - 14
    assert served_bytes(tmp_path / "two") == served_bytes(tmp_path / "one")


def test_vectors_in_damaged_blocks_are_not_copied_but_made_again(new_corpus, new_encoder, tmp_path, served_bytes):
    run(new_corpus(TITLES), new_encoder(), tmp_path / "index")
    served = tmp_path / "index" / "generations" / (tmp_path / "index" / "CURRENT").read_text().strip()
    path = served / vectors_file("content")
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    encoder = new_encoder()
    run(new_corpus(CHANGED), encoder, tmp_path / "index")
    assert set(encoder.asked) >= TO_EMBED
    assert len(encoder.asked) > len(TO_EMBED)
    run(new_corpus(CHANGED), new_encoder(), tmp_path / "cold")
    assert served_bytes(tmp_path / "index") == served_bytes(tmp_path / "cold")


@pytest.mark.parametrize("same_corpus", [True, False])
def test_a_flipped_bit_is_mended_though_nothing_else_changed(
    new_corpus, new_encoder, tmp_path, served_bytes, monkeypatch, same_corpus
):
    monkeypatch.setattr("serving.damage._WINDOW", 4 * 8 * 9)  # a block in several windows
    index = tmp_path / "index"
    name = run(new_corpus(TITLES), new_encoder(), index).generation
    sound = served_bytes(index)
    corpus = new_corpus(TITLES, size=16 if same_corpus else 9)
    path = index / "generations" / name / vectors_file("content")
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    encoder = new_encoder()
    done = run(corpus, encoder, index)
    assert done.published, "it would have been told to be up to date"
    assert set(encoder.asked) == set(TITLES), "all of its block"
    assert served_bytes(index) == sound
    again = new_encoder()
    done = run(corpus, again, index)
    assert (again.asked, done.published, done.plan.same_corpus) == ([], False, True)


class Poisoned:
    """Makes an encoder give NaN for some videos."""

    def __init__(self, encoder, *doc_ids):
        encode = encoder.encode

        def poisoned(videos):
            embedded = encode(videos)
            for row, video in enumerate(videos):
                if video.doc_id in doc_ids:
                    embedded["content"].vectors[row, 0] = np.nan
            return embedded

        encoder.encode = poisoned


def test_a_video_in_quarantine_is_not_tried_again_until_something_changes(new_corpus, new_encoder, tmp_path):
    index, corpus = tmp_path / "index", new_corpus(TITLES)
    first = new_encoder()
    Poisoned(first, "v7")
    done = run(corpus, first, index)
    assert [video.doc_id for video in done.quarantined] == ["v7"]
    assert ForwardIndex.open(index).num_docs == 59
    again = new_encoder()
    done = run(corpus, again, index)
    assert (again.asked, done.published, done.quarantined) == ([], False, ())
    assert [row.video.doc_id for row in done.plan.left_out] == ["v7"]
    assert [row.video.doc_id for row in read_quarantine(index)] == ["v7"]
    changed = new_encoder()
    Poisoned(changed, "v7")
    done = run(new_corpus({**TITLES, "v7": "changed"}), changed, index)
    assert (changed.asked, done.published) == (["v7"], False), "nothing but it would have changed"
    mended = new_encoder()
    done = run(new_corpus(TITLES | {"v7": "changed"}), mended, index, retry_quarantined=True)
    assert (mended.asked, done.published) == (["v7"], True)
    assert read_quarantine(index) == []
    assert ForwardIndex.open(index).rows(["v7"])[0] == 7


def test_a_served_video_that_cannot_be_embedded_any_more_is_not_served_as_it_was(new_corpus, new_encoder, tmp_path):
    run(new_corpus(TITLES), new_encoder(), tmp_path / "index")
    encoder = new_encoder()
    Poisoned(encoder, "v7")
    done = run(new_corpus({**TITLES, "v7": "changed"}), encoder, tmp_path / "index")
    assert done.published
    assert ForwardIndex.open(tmp_path / "index").rows(["v7"])[0] == -1


def test_after_a_way_back_what_is_in_quarantine_is_dropped_again(new_corpus, new_encoder, tmp_path):
    index = tmp_path / "index"
    first = run(new_corpus(TITLES), new_encoder(), index).generation
    encoder, corpus = new_encoder(), new_corpus({**TITLES, "v7": "changed"})
    Poisoned(encoder, "v7")
    run(corpus, encoder, index)
    serve(index, first)
    again = new_encoder()
    done = run(corpus, again, index)
    assert (again.asked, done.published, done.plan.num_dropped) == ([], True, 1)
    assert ForwardIndex.open(index).rows(["v7"])[0] == -1


def test_a_title_that_changes_between_a_kill_and_the_next_try_is_not_missed(new_corpus, new_encoder, tmp_path):
    broken = new_encoder()
    broken.before = lambda: 1 / 0 if len(broken.asked) >= 14 else None
    with pytest.raises(ZeroDivisionError):
        run(new_corpus(TITLES), broken, tmp_path / "index")
    encoder = new_encoder()
    run(new_corpus({**TITLES, "v3": "another"}), encoder, tmp_path / "index")
    assert "v3" in encoder.asked
    assert len(encoder.asked) == 60 - 7, "the item without it was kept"


def test_a_model_that_gives_other_vectors_than_it_says_is_found_out_before_the_swap(new_corpus, new_encoder, tmp_path):
    name = run(new_corpus(TITLES), new_encoder(), tmp_path / "index").generation
    liar = new_encoder("2")
    honest = liar.spaces
    encode = liar.encode

    def encode_otherwise(videos):
        liar.spaces = honest
        embedded = encode(videos)
        liar.spaces = new_encoder().spaces
        return embedded

    liar.encode, liar.spaces = encode_otherwise, new_encoder().spaces
    with pytest.raises(IntegrityError, match=r"in space 'co\w+', video 'v\d+' has cosine -?0\.\d+ between"):
        run(new_corpus(CHANGED), liar, tmp_path / "index", check_sample=16)
    assert ForwardIndex.open(tmp_path / "index").generation == name
    assert not list((tmp_path / "index" / "generations").glob(".*"))


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_a_sound_generation_passes_the_check(new_corpus, new_encoder, tmp_path, caplog, dtype):
    run(new_corpus(TITLES), new_encoder(num_codes=3), tmp_path / "index", dtype=dtype)
    encoder = new_encoder(num_codes=3)
    Poisoned(encoder, "v33")
    with caplog.at_level("INFO"):
        run(new_corpus(CHANGED), encoder, tmp_path / "index", dtype=dtype, check_sample=20)
    assert "before the swap: lowest cosine 0.99" in caplog.text or "lowest cosine 1.0" in caplog.text
    assert len(encoder.asked) in (5 + 19, 5 + 20), "the sample was embedded once more, without the one in quarantine"
