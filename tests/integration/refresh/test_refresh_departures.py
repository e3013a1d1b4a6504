"""Served videos that the corpus has no more: told apart, and refused when they are too many."""

from __future__ import annotations

import json

import pytest

from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.errors import DataError
from mmsearch.index import ForwardIndex
from serving.refresh import refresh
from serving.rejections import rejected_ids
from serving.settings import RefreshSettings
from serving.upgrade import refresh_in_rounds

SETTINGS = RefreshSettings(batch_size=5, dtype="float32", shard_size=16, check_sample=0)
TITLES = {f"v{i}": f"title {i}" for i in range(50)}


def run(corpus, encoder, index, **changes):
    return refresh(corpus, encoder, encoder.export, index, SETTINGS.model_copy(update=changes))


def without(num):
    return {doc_id: title for doc_id, title in TITLES.items() if int(doc_id[1:]) >= num}


def reject(corpus, doc_ids, *lines):
    """List videos as rejected, each for two of its modalities, as prepare does."""
    rows = [{"doc_id": i, "modality": m, "reason": "lost", "detail": ""} for i in doc_ids for m in ("cover", "frames")]
    text = "".join(json.dumps(row) + "\n" for row in rows) + "".join(lines)
    (corpus.folder / "rejected.jsonl").write_text(text, encoding="utf-8")


@pytest.fixture
def served(new_corpus, new_encoder, tmp_path):
    run(new_corpus(TITLES), new_encoder(), tmp_path / "index")
    return tmp_path / "index"


def test_a_lost_folder_of_media_is_refused_before_anything_is_embedded(served, new_corpus, new_encoder):
    before = ForwardIndex.open(served).generation
    corpus, encoder = new_corpus(without(30) | {"v99": "new"}), new_encoder()
    reject(corpus, [f"v{i}" for i in range(28)] + ["v40", "v77"], "no json\n", "[]\n", '{"doc_id": 3}\n')
    with pytest.raises(DataError) as refused:
        run(corpus, encoder, served)
    told = str(refused.value)
    assert "30 of the 50 videos that are served would be deleted, more than max_deleted_share=0.5 allows" in told
    assert f"28 because prepare rejects them now (listed in {corpus.folder / 'rejected.jsonl'})" in told
    assert "2 that are gone from the table" in told
    assert "max_deleted_share=1" in told
    assert encoder.asked == []
    assert ForwardIndex.open(served).generation == before
    assert not (served / ".work").exists()
    assert run(corpus, encoder, served, max_deleted_share=1).published
    assert ForwardIndex.open(served).num_docs == 21


def test_below_the_limit_it_is_done_and_rejected_ones_are_told(served, new_corpus, new_encoder, caplog):
    corpus = new_corpus(without(25))
    reject(corpus, ["v1", "v2", "v30"])
    done = run(corpus, new_encoder(), served)
    counts = done.plan.counts
    assert (counts.deleted, counts.rejected, counts.gone) == (25, 2, 23)
    (told,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told.startswith("2 served videos are left out because prepare rejects them now: they are listed in ")
    assert ForwardIndex.open(served).num_docs == 25


def test_what_only_left_the_table_is_no_warning(served, new_corpus, new_encoder, caplog):
    assert run(new_corpus(without(5)), new_encoder(), served).plan.counts.gone == 5
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_tiny_index_may_lose_most_of_what_it_holds(new_corpus, new_encoder, tmp_path):
    run(new_corpus(without(29)), new_encoder(), tmp_path / "index")
    assert run(new_corpus(without(48)), new_encoder(), tmp_path / "index").plan.counts.deleted == 19
    assert ForwardIndex.open(tmp_path / "index").num_docs == 2


def test_the_rounds_of_a_new_model_refuse_as_well(served, new_corpus, new_encoder):
    encoder = new_encoder("2")
    with pytest.raises(DataError, match="30 of the 50 videos"):
        refresh_in_rounds(
            new_corpus(without(30)), encoder, encoder.export, served, SETTINGS.model_copy(update={"publish_every": 16})
        )
    assert encoder.asked == []


def test_rows_that_were_put_aside_count_as_rejected_where_this_run_put_them_aside(new_corpus, monkeypatch):
    corpus = new_corpus(TITLES)
    reject(corpus, ["v1"])
    rows = [{"row": {"doc_id": "v2"}}, {"row": "v3,torn"}, {"row": {"doc_id": ""}}, {}]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (corpus.folder / "rejected_rows.jsonl").write_text(text, encoding="utf-8")
    assert [set(block) for block in rejected_ids(corpus)] == [{"v1"}]
    monkeypatch.setattr(type(corpus), "settings", PrepareSettings(on_error="quarantine"))
    assert [set(block) for block in rejected_ids(corpus)] == [{"v1", "v2"}]
    (corpus.folder / "rejected.jsonl").unlink()
    assert list(rejected_ids(corpus)) == [["v2"]]
