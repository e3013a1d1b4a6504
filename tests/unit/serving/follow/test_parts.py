"""The small parts of a follower: bookmark, rejects, changes of an entry, embedding by halves, status, recipe."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from mmsearch.data.lines import Unreadable
from mmsearch.data.schema import RowError
from mmsearch.errors import ConfigError
from mmsearch.protocols import Embedded, PreparedVideo
from mmsearch.types import Modality, Space
from serving.follow import rejects, superseded
from serving.follow.bookmark import Bookmark
from serving.follow.change import Change, ChangeReader
from serving.follow.encode import encode
from serving.follow.events import Encoded, Failed
from serving.follow.recipe import Recipe
from serving.follow.rejects import Rejects
from serving.follow.settings import FollowSettings
from serving.follow.status import Status
from serving.follow.stream import Entry, open_stream
from serving.follow.superseded import Superseded


def entry(number, cells):
    return Entry({"line": number}, f"f.jsonl:{number}", cells, 0.0, (number,), 10)


def test_a_bookmark_comes_back_and_a_damaged_one_is_none(tmp_path, caplog):
    assert Bookmark.read(tmp_path) == Bookmark()
    mark = Bookmark("g1", {"file": "a", "offset": 3, "line": 1}, None)
    mark.write(tmp_path)
    assert Bookmark.read(tmp_path) == mark
    for damaged in ("{", "[]", '{"generation": "g", "position": 3, "since": null}'):
        (tmp_path / "bookmark.json").write_text(damaged)
        assert Bookmark.read(tmp_path) == Bookmark()
    assert caplog.text.count("cannot be used") == 3


def test_a_reject_is_listed_once_however_often_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(rejects, "_MAX_LISTED", 3)
    path, bad = tmp_path / "rejected.jsonl", RowError("cover", "no such file")
    with Rejects(path) as kept:
        assert kept.add(entry(1, {"doc_id": "v1"}), bad)
        assert not kept.add(entry(1, {"doc_id": "v1"}), bad)
        assert kept.add(entry(2, {"doc_id": "v1"}), bad), "another line"
        assert kept.add(entry(2, {"doc_id": "v1"}), RowError("cover", "truncated")), "another reason"
    with Rejects(path) as kept:  # as after a kill
        assert not kept.add(entry(1, {"doc_id": "v1"}), bad)
        assert kept.add(entry(1, {"doc_id": "v2"}), bad), "another row"
        assert kept.add(entry(1, {"doc_id": "v1"}), bad), "too long ago to be known"
        assert kept.count == 2
    assert len(path.read_text().splitlines()) == 5


def test_rejects_are_told_in_full_and_do_not_fill_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(rejects, "_MAX_BYTES", 20_000)
    with Rejects(tmp_path / "of" / "rejected.jsonl") as kept:
        kept.add(entry(1, {"doc_id": "v1", "cover": "x"}), RowError("cover", "truncated: half of it"))
        for number in range(2, 10):
            kept.add(entry(number, Unreadable("nonsense", "x" * 9_000)), RowError(None, "nonsense"))
    old, new = ((tmp_path / "of" / name).read_text().splitlines() for name in ("rejected.jsonl.1", "rejected.jsonl"))
    assert kept.count == len(old) + len(new) == 9
    assert len(old) > 1
    first = json.loads(old[0])
    assert first == {
        "where": "f.jsonl:1",
        "column": "cover",
        "reason": "truncated: half of it",
        "row": {"doc_id": "v1", "cover": "x"},
    }
    assert max(map(len, old)) < 5_000


def test_an_entry_is_a_row_or_a_delete(tmp_path):
    reader = ChangeReader(tmp_path)
    change = reader.read(entry(1, {"doc_id": 7, "title": "t", "cover": "a.jpg", "colour": "red"}))
    assert (change.doc_id, change.video.cover) == ("7", str(tmp_path / "a.jpg"))
    assert reader.read(entry(2, {"op": "upsert", "doc_id": "v1"})).video is not None
    assert reader.read(entry(3, {"op": "delete", "doc_id": 7, "title": "old"})) == Change("7", None)
    for cells, column in [
        ({"op": "delete"}, "doc_id"),
        ({"op": "delete", "doc_id": ["a"]}, "doc_id"),
        ({"op": ["delete"], "doc_id": "a"}, "op"),
        ({"title": "t"}, "doc_id"),
        ({"doc_id": "v", "duration_s": "long"}, "duration_s"),
        (Unreadable("nonsense", "x"), None),
    ]:
        with pytest.raises(RowError) as told:
            reader.read(entry(4, cells))
        assert told.value.column == column


def test_only_what_is_replaced_by_a_good_entry_is_passed_over(tmp_path, monkeypatch):
    rows = [{"doc_id": "a"}, {"doc_id": "b"}, {"op": "delete", "doc_id": "a"}, {"doc_id": "a", "duration_s": "x"}]
    backlog = [entry(number, cells) for number, cells in enumerate(rows)]
    known = Superseded(backlog, ChangeReader(tmp_path))
    assert [known.holds(one, one.cells["doc_id"]) for one in backlog] == [True, False, False, False]
    assert not known.holds(entry(9, {}), "a"), "the backlog is over"
    monkeypatch.setattr(superseded, "_MAX_IDS", 1)
    assert not Superseded(backlog, ChangeReader(tmp_path)).holds(backlog[0], "a"), "nobody looked so far ahead"


class Tower:
    """Refuses batches of more than two, and some titles alone."""

    spaces = (Space("content", 4, "f"),)

    def encode(self, videos):
        if len(videos) > 2 or any(video.doc_id == "boom" for video in videos):
            raise MemoryError("too much")
        vectors = np.zeros((len(videos), 4), np.float32)
        vectors[:, 0] = [{"nan": np.nan, "long": 2.0}.get(video.doc_id, 1.0) for video in videos]
        return {"content": Embedded(vectors, np.array([video.doc_id != "absent" for video in videos]))}


def test_a_video_that_cannot_be_embedded_costs_no_other():
    ids = ["a", "boom", "b", "nan", "absent", "long", "c"]
    hashes = {Modality.TITLE: "0" * 15 + "1" + "f" * 16}
    batch = [(SimpleNamespace(doc_id=name), PreparedVideo(name, {}, None, (), hashes)) for name in ids]
    events = encode(batch, Tower())
    assert [event.ticket.doc_id for event in events] == ids
    failed = {event.ticket.doc_id: event.reason for event in events if isinstance(event, Failed)}
    assert failed == {"boom": "raised", "nan": "not_finite", "long": "not_finite"}
    row = next(event.row for event in events if isinstance(event, Encoded))
    assert row.embedded["content"].vectors.tolist() == [[1, 0, 0, 0]]
    assert row.contents.tolist() == [[1, 0, 0, 0, 0, 0, 0, 0]]
    assert encode([], Tower()) == []


def test_the_status_tells_lag_and_rate(caplog):
    now = [100.0]
    bar = SimpleNamespace(advance=lambda count: None, note=lambda text: None)
    status = Status(10.0, bar, lambda: now[0])
    assert not status.is_due
    now[0] += 20
    assert status.is_due
    status.published(30, 1.5)
    status.published(10, 0.5)
    status.busy, status.lost = "process 7 is publishing here", "a.jsonl was removed"
    with caplog.at_level("INFO"):
        status.tell(lag_s=2.25, waiting=3, generation="g1")
    assert caplog.records[0].fields == {
        "lag_s": 2.25,
        "docs_per_s": 2.0,
        "waiting": 3,
        "visible": 40,
        "rejected": 0,
        "worst_delay_s": 1.5,
        "publications": 2,
        "generation": "g1",
    }
    assert "0 rejected; process 7 is publishing here; a.jsonl was removed" in caplog.text
    assert not status.is_due


def test_it_must_be_known_how_to_prepare_and_what_to_follow(tmp_path):
    index = SimpleNamespace(source={}, generation="g1")
    with pytest.raises(ConfigError, match="g1 does not tell how: give --corpus"):
        Recipe.of(index, FollowSettings())
    index.source = {"prepared": {"num_frames": 3, "colours": 7}}
    with pytest.raises(ConfigError, match="colours"):
        Recipe.of(index, FollowSettings())
    config = tmp_path / "prepare.yaml"
    config.write_text("num_frames: 5\n")
    assert Recipe.of(index, FollowSettings(table_settings=config)).settings.num_frames == 5
    config.write_text("sentences: {max_chars: 160}\n")
    with pytest.raises(ConfigError, match="give --corpus, or sentence_frequencies=FILE"):
        Recipe.of(index, FollowSettings(table_settings=config))
    with pytest.raises(ConfigError, match="cannot be followed"):
        open_stream("kafka://somewhere/topic", FollowSettings())
