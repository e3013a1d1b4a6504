"""Rows that come, go and move cost themselves; a folder that is away and a worker that failed cost nothing for good."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest

from mmsearch.data.prepare import prepare
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import DataError
from mmsearch.sentences import SentenceSettings
from mmsearch.workers import Failure, Outcome

SMALL = PrepareSettings(num_frames=2, image_size=16, shard_size=4, row_group_size=3, num_workers=1)


class HerePool:
    """Prepares in this process, so that a run takes no time; notes what it did, and fails where it is told to."""

    prepared: list[str]
    failing: set[str]

    def __init__(self, function, **_) -> None:
        self.function = function

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        pass

    def imap(self, items):
        for number, video in enumerate(items):
            self.prepared.append(video.doc_id)
            late = video.doc_id in self.failing
            yield Outcome(number, None, Failure.TIMEOUT, "late") if late else Outcome(number, self.function(video))


@pytest.fixture
def pool(monkeypatch) -> type[HerePool]:
    HerePool.prepared, HerePool.failing = [], set()
    monkeypatch.setattr("mmsearch.data.prepare.Pool", HerePool)
    return HerePool


@pytest.fixture
def rows(tmp_path, make_picture) -> list[dict]:
    (tmp_path / "covers").mkdir()
    for number in range(24):
        make_picture(tmp_path / "covers" / f"{number}.png", number)
    return [{"doc_id": f"v{n}", "title": f"number {n}", "cover": f"covers/{n}.png"} for n in range(24)]


def run(tmp_path: Path, rows: list[dict], out: str = "out", **changes):
    table = tmp_path / "videos.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    HerePool.prepared.clear()
    return prepare(table, tmp_path / out, SMALL.model_copy(update=changes))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


NEW = {"doc_id": "new", "title": "another"}


@pytest.mark.parametrize(
    ("change", "prepared"),
    [
        (lambda rows: [NEW, *rows], ["new"]),
        (lambda rows: rows[1:], []),
        (lambda rows: rows[::-1], []),
        (lambda rows: [*rows[:5], rows[20], NEW, *rows[6:19]], ["new"]),
        (lambda rows: [*rows[:9], {**rows[9], "title": "changed"}, *rows[10:]], ["v9"]),
    ],
)
def test_only_new_rows_are_prepared_and_the_files_are_those_of_a_fresh_run(tmp_path, rows, pool, change, prepared):
    rows[7]["cover"], rows[11]["title"], rows[12] = "covers/absent.png", None, {"doc_id": "nothing"}
    run(tmp_path, rows)
    changed = change(rows)
    summary = run(tmp_path, changed)
    assert pool.prepared == prepared
    assert summary.num_reused == len(changed) - len(prepared)
    assert summary.num_rows == len(changed)
    run(tmp_path, changed, "fresh")
    assert files(tmp_path / "out") == files(tmp_path / "fresh")
    PreparedCorpus.open(tmp_path / "out").verify()


def test_rows_of_a_damaged_shard_are_prepared_again(tmp_path, rows, pool, caplog):
    run(tmp_path, rows)
    damaged = sorted((tmp_path / "out" / "shards").glob("*.parquet"))[1]
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 255
    damaged.write_bytes(data)
    run(tmp_path, rows[1:])
    assert pool.prepared == ["v4", "v5", "v6", "v7"]
    assert "its checksum does not hold; its rows are prepared again" in caplog.text
    run(tmp_path, rows[1:], "fresh")
    assert files(tmp_path / "out") == files(tmp_path / "fresh")


def test_a_record_of_an_older_mmsearch_gets_the_keys_of_its_rows(tmp_path, rows, pool):
    run(tmp_path, rows)
    for path in (tmp_path / "out" / "shards").glob("*.json"):
        record = json.loads(path.read_text())
        del record["row_keys"]
        path.write_text(json.dumps(record))
    assert run(tmp_path, rows).num_reused == 24
    assert run(tmp_path, rows[1:]).num_reused == 23


@pytest.mark.parametrize("on_bad_media", ["reject", "drop_modality"])
def test_a_folder_that_is_away_leaves_the_corpus_as_it_was(tmp_path, rows, pool, on_bad_media):
    few = [{"doc_id": f"w{n}", "title": "never had one", "cover": f"never/{n}.png"} for n in range(3)]
    kept = {"on_bad_media": on_bad_media}
    run(tmp_path, rows + few, **kept)
    before = files(tmp_path / "out")
    os.rename(tmp_path / "covers", tmp_path / "away")
    told = r"24 of 2[47] videos would lose a file .*0\.png: no such file.*max_lost_share=1"
    with pytest.raises(DataError, match=told):
        run(tmp_path, rows + few, **kept)
    assert before.items() <= files(tmp_path / "out").items()
    PreparedCorpus.open(tmp_path / "out").verify()
    os.rename(tmp_path / "away", tmp_path / "covers")
    assert run(tmp_path, rows + few, **kept).num_reused == 27
    assert files(tmp_path / "out") == before
    os.rename(tmp_path / "covers", tmp_path / "away")
    assert run(tmp_path, rows + few, **kept, max_lost_share=1.0).rejected == {"missing_file": 27}
    assert run(tmp_path, rows + few, **kept).num_reused == 27  # they are no news any more


def test_a_file_that_a_uri_names_is_watched_too(tmp_path, pool, make_picture):
    cover = make_picture(tmp_path / "a b.png", 1)
    row = {"doc_id": "v", "cover": f"file://{tmp_path}/a%20b.png"}
    assert run(tmp_path, [row]).num_videos == 1
    before = files(tmp_path / "out")
    assert run(tmp_path, [row]).num_reused == 1
    make_picture(cover, 1000)
    assert run(tmp_path, [row]).num_reused == 0
    assert files(tmp_path / "out") != before


def test_subtitles_that_another_version_read_are_read_again(tmp_path, rows, pool, monkeypatch):
    (tmp_path / "a.srt").write_text("1\n00:00:00,000 --> 00:00:02,000\nwelcome\n")
    rows[3]["asr"], rows[4]["asr"] = "a.srt", "said, not read"
    run(tmp_path, rows)
    monkeypatch.setattr("mmsearch.data.prepare_plan.TRANSCRIPT_VERSION", 99)
    run(tmp_path, rows)
    assert pool.prepared == ["v3"]


def test_a_table_that_changes_while_it_is_read_is_told(tmp_path, rows, pool, monkeypatch, caplog):
    run(tmp_path, rows)
    assert "was changed" not in caplog.text
    monkeypatch.setattr(pool, "prepared", type("Noting", (list,), {"append": lambda *_: more()})())

    def more():
        with (tmp_path / "videos.jsonl").open("a") as file:
            file.write("\n")

    run(tmp_path, [NEW])
    assert "videos.jsonl was changed while it was read; prepare it again" in caplog.text


def test_a_smaller_table_loses_nothing(tmp_path, rows, pool):
    run(tmp_path, rows)
    assert run(tmp_path, rows[:2]).num_videos == 2


def test_what_a_worker_did_not_get_through_is_tried_again_when_asked_to(tmp_path, rows, pool):
    pool.failing = {"v2", "v20"}
    rows[21]["cover"] = "covers/absent.png"
    first = run(tmp_path, rows)
    assert (first.rejected, first.num_failed) == ({"missing_file": 1, "timeout": 2}, 2)
    before = files(tmp_path / "out")
    pool.failing = {"v20"}
    assert run(tmp_path, rows).num_reused == 24
    assert files(tmp_path / "out") == before
    summary = run(tmp_path, rows, retry_failed=True)
    assert pool.prepared == ["v2", "v20"]
    assert (summary.rejected, summary.num_reused) == ({"missing_file": 1, "timeout": 1}, 22)
    corpus = PreparedCorpus.open(tmp_path / "out")
    corpus.verify()
    assert corpus.num_videos == 22
    assert len(list((tmp_path / "out" / "shards").glob("*.parquet"))) == 6
    assert run(tmp_path, rows).num_reused == 24


def test_the_corpus_of_before_is_whole_while_failed_videos_are_tried_again(tmp_path, rows, pool, monkeypatch):
    pool.failing = {"v2", "v20"}
    run(tmp_path, rows)
    before = PreparedCorpus.open(tmp_path / "out").content_hash
    pool.failing = set()
    monkeypatch.setattr("mmsearch.data.manifest.Manifest.write", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, rows, retry_failed=True)
    corpus = PreparedCorpus.open(tmp_path / "out")
    corpus.verify()
    assert corpus.content_hash == before
    monkeypatch.undo()
    monkeypatch.setattr("mmsearch.data.prepare.Pool", HerePool)
    assert run(tmp_path, rows).num_videos == 24


@pytest.mark.parametrize("with_sentences", [False, True])
def test_who_reads_a_corpus_keeps_its_files(tmp_path, rows, pool, with_sentences):
    chosen = SentenceSettings(max_chars=20) if with_sentences else None
    spoken = [{**row, "asr": f"we say {row['doc_id']}. and more of the same of it."} for row in rows]
    run(tmp_path, spoken, sentences=chosen)
    first = PreparedCorpus.open(tmp_path / "out")
    again = pickle.loads(pickle.dumps(first))
    run(tmp_path, [NEW, *spoken], sentences=chosen)
    second = PreparedCorpus.open(tmp_path / "out")
    for corpus, number in ((first, 24), (again, 24), (second, 25)):
        corpus.verify()
        assert corpus.num_videos == number
    del first, corpus
    run(tmp_path, [NEW, *spoken], sentences=chosen)
    again.verify()
    del again, second
    run(tmp_path, [NEW, *spoken], sentences=chosen)
    run(tmp_path, [NEW, *spoken], "fresh", sentences=chosen)
    kept, fresh = (set(files(tmp_path / out)) for out in ("out", "fresh"))
    assert {name for name in kept if name.startswith("shards")} == {n for n in fresh if n.startswith("shards")}
    assert len(kept) == len(fresh)  # terms were counted before the new row came, so files of sentences have other names
