"""Refreshes of whole tables while a stream is followed into the same index."""

import json
import os
import threading

import pytest

from mmsearch.data.prepare import prepare
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.index.lock import BusyIndexError, WriteLock
from serving.follow.recipe import Recipe
from serving.follow.settings import FollowSettings
from serving.patience import patiently
from serving.plan import make_plan
from serving.plan_report import cost_of, to_json, to_table
from serving.refresh import refresh
from serving.refresh_lock import RefreshLock
from serving.settings import RefreshSettings

TITLES = {f"v{number}": f"title {number}" for number in range(12)}


def without(titles, *doc_ids):
    return {doc_id: title for doc_id, title in titles.items() if doc_id not in doc_ids}


@pytest.fixture
def refreshed(lab, tmp_path, monkeypatch):
    """Refresh the index from a table with these titles; give whether that published, and how many were embedded."""

    def run(titles, weights="1", meanwhile=None):
        rows = [{"doc_id": doc_id, "title": title} for doc_id, title in titles.items()]
        (tmp_path / "videos.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        settings = lab.PREPARE.model_copy(update={"num_workers": 1})
        prepare(tmp_path / "videos.jsonl", tmp_path / "corpus", settings)
        encoder, corpus = lab.Encoder(weights), PreparedCorpus.open(tmp_path / "corpus")
        if meanwhile is not None:
            embed = encoder.encode
            monkeypatch.setattr(encoder, "encode", lambda videos: (meanwhile(), embed(videos))[1])
        done = refresh(corpus, encoder, encoder.export, tmp_path / "index", RefreshSettings(dtype="float32"))
        return done.published, done.num_embedded

    return run


def test_each_sees_what_the_other_did(lab, tmp_path, follow, append, refreshed, caplog):
    index = tmp_path / "index"
    assert refreshed(TITLES) == (True, 12)
    follower = follow()
    append(lab.upsert("v1", "one"), lab.delete("v2"), lab.upsert("w1", "new"), lab.upsert("v3", TITLES["v3"]))
    follower.settle()
    assert follower.pipeline.embedded == ["v1", "w1"], "the hashes of a refresh are those of a follower"
    followed = {k: v for k, v in TITLES.items() if k != "v2"} | {"v1": "one", "w1": "new"}
    lab.check_served(index, followed, gone=["v2"])

    assert refreshed(followed) == (False, 0), "the overlay is what the table says"
    table = {**followed, "v5": "by the table"}
    assert refreshed(table) == (True, 1), "vectors of the overlay are copied into the next base"
    assert ForwardIndex.open(index).base is None
    follower.settle()
    follower.settle()
    lab.check_served(index, table, gone=["v2"])
    assert ForwardIndex.open(index).base is None, "nothing is missing in it"

    append(lab.upsert("w2", "newer"), lab.upsert("v6", "newer"), lab.delete("v7"), lab.delete("v8"), lab.delete("w1"))
    follower.settle()
    assert "deleted by a stream" not in caplog.text
    assert refreshed(TITLES)[0], "a table that is older than the one before takes back what that one held"
    assert "2 videos of the table were deleted by a stream since: they come back until its follower has" in caplog.text
    assert (ForwardIndex.open(index).rows(["v7", "v8"]) >= 0).all()
    follower.settle()
    follower.settle()
    lab.check_served(index, {**without(TITLES, "v7", "v8"), "w2": "newer", "v6": "newer"}, gone=["v7", "v8", "w1"])

    plan = make_plan(PreparedCorpus.open(tmp_path / "corpus"), lab.Encoder(), index, RefreshSettings(dtype="float32"))
    cost = cost_of(plan, lab.Encoder().spaces, "float32")
    assert (plan.counts.new, to_json(plan, cost)["brought_back"]) == (2, 2)
    cells = [list(column.cells)[1] for column in to_table(plan, cost).columns]
    assert cells == ["2", "of these deleted by a stream since", "they come back until its follower has read again"]


def test_a_follower_publishes_while_videos_are_embedded(lab, tmp_path, follow, append, refreshed):
    index = tmp_path / "index"
    refreshed(TITLES)
    follower = follow()
    followed = {k: v for k, v in TITLES.items() if k != "v3"} | {"w9": "brought meanwhile"}

    def meanwhile():
        append(lab.upsert("w9", "brought meanwhile"), lab.delete("v3"))
        follower.settle()
        lab.check_served(index, followed, gone=["v3"])
        with pytest.raises(BusyIndexError, match=f"process {os.getpid()} is refreshing"):
            RefreshLock(index)

    table = {**TITLES, "v5": "by the table"}
    assert refreshed(table, meanwhile=meanwhile)[0]
    follower.settle()
    follower.settle()
    lab.check_served(index, {**followed, "v5": "by the table"}, gone=["v3"])


def test_the_index_tells_how_its_videos_were_prepared(lab, tmp_path, follow, append, refreshed):
    refreshed(TITLES)
    index = tmp_path / "index"
    assert Recipe.of(ForwardIndex.open(index), FollowSettings()).settings == lab.PREPARE
    append(lab.upsert("v1", "one"))
    follow().settle()
    assert ForwardIndex.open(index).base is not None
    assert Recipe.of(ForwardIndex.open(index), FollowSettings()).settings == lab.PREPARE


def test_who_publishes_for_a_moment_only_is_waited_for(lab, tmp_path):
    lab.publish_base(tmp_path / "index", TITLES)
    lock = WriteLock(tmp_path / "index")
    threading.Timer(0.2, lock.release).start()
    with (
        patiently(lambda: GenerationWriter(tmp_path / "index", lab.Encoder().spaces), 30),
        pytest.raises(BusyIndexError, match=f"process {os.getpid()} is publishing here"),
    ):
        patiently(lambda: WriteLock(tmp_path / "index"), 0.1)
