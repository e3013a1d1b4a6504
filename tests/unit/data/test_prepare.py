"""Preparing a table: what lands in the folder, what is listed as rejected, what is done again, and what is not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from mmsearch.data.prepare import prepare
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import DataError, MissingExtraError, TableError
from mmsearch.types import Modality

SMALL = PrepareSettings(num_frames=2, image_size=32, shard_size=4, row_group_size=3, num_workers=2)


@pytest.fixture
def world(tmp_path, make_video, make_picture) -> Path:
    """Eleven videos; v4 and v9 are broken."""
    folder = tmp_path / "world"
    folder.mkdir()
    rows = []
    for n in range(11):
        make_picture(folder / f"{n}.png", n)
        make_video(folder / f"{n}.mp4", 10 + n)
        rows.append({"doc_id": f"v{n}", "title": f"number {n}", "cover": f"{n}.png", "video": f"{n}.mp4"})
    (folder / "4.mp4").write_bytes((folder / "4.mp4").read_bytes()[:1500])
    (folder / "9.png").unlink()
    write_table(folder, rows)
    return folder


def write_table(folder: Path, rows: list[dict]) -> None:
    (folder / "videos.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def table_rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "videos.jsonl").read_text().splitlines()]


def run(world: Path, out: Path, **changes):
    return prepare(world / "videos.jsonl", out, SMALL.model_copy(update=changes))


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def rejections(out: Path) -> list[tuple]:
    lines = (out / "rejected.jsonl").read_text().splitlines()
    return [(r["doc_id"], r["modality"], r["reason"]) for r in map(json.loads, lines)]


def test_a_corpus_and_the_list_of_what_is_not_in_it(world, tmp_path, read_number):
    from mmsearch.data.images import from_jpeg

    out = tmp_path / "out"
    summary = run(world, out)
    assert (summary.num_rows, summary.num_videos, summary.num_reused) == (11, 9, 0)
    assert summary.rejected == {"missing_file": 1, "truncated": 1}
    assert summary.modalities == {"cover": 9, "frames": 9, "title": 9}
    assert rejections(out) == [("v4", "frames", "truncated"), ("v9", "cover", "missing_file")]
    corpus = PreparedCorpus.open(out)
    corpus.verify()
    assert list(corpus.doc_ids) == [f"v{n}" for n in range(11) if n not in (4, 9)]
    assert [shard.rows for shard in corpus.shards] == [4, 3, 2]
    assert [read_number(from_jpeg(v.cover)) for v in corpus.read([0, 8])] == [0, 10]
    assert corpus.settings.image_size == 32


def test_the_number_of_workers_changes_no_byte(world, tmp_path):
    run(world, tmp_path / "one", num_workers=1)
    run(world, tmp_path / "three", num_workers=3)
    assert files(tmp_path / "one") == files(tmp_path / "three")


def test_a_second_run_does_only_what_changed(world, tmp_path):
    out = tmp_path / "out"
    run(world, out)
    before = files(out)
    assert run(world, out).num_reused == 11
    assert files(out) == before
    rows = table_rows(world)
    rows[10]["title"] = "another"
    write_table(world, rows)
    assert run(world, out).num_reused == 10
    after = files(out)
    kept = [name for name in before if name.startswith("shards/00000[01]")]
    assert all(after[name] == before[name] for name in kept)
    assert len([name for name in after if name.endswith(".parquet")]) == 3
    os.utime(world / "0.mp4", (1, 1))
    assert run(world, out).num_reused == 10
    assert run(world, out, image_size=16).num_reused == 0
    assert PreparedCorpus.open(out).settings.image_size == 16


def test_damaged_results_are_done_again(world, tmp_path):
    out = tmp_path / "out"
    run(world, out)
    before = files(out)
    shards = sorted((out / "shards").glob("*.parquet"))
    shards[0].write_bytes(shards[0].read_bytes()[:-9])
    shards[1].with_suffix(".json").write_text("{")
    (out / "shards" / ".000000-0123456789abcdef.parquet.0123456789abcdef0123456789abcdef.tmp").touch()
    (out / "shards" / "notes.txt").write_text("the user's own")
    assert run(world, out).num_reused == 3
    assert files(out) == before | {"shards/notes.txt": b"the user's own"}


def test_a_broken_file_may_cost_its_modality_only(world, tmp_path):
    summary = run(world, tmp_path / "out", on_bad_media="drop_modality")
    assert (summary.num_videos, summary.rejected) == (11, {"missing_file": 1, "truncated": 1})
    corpus = PreparedCorpus.open(tmp_path / "out")
    v4, v9 = corpus.read([4, 9])
    assert (v4.frames, set(v4.hashes)) == ((), {Modality.TITLE, Modality.COVER})
    assert (v9.cover, set(v9.hashes)) == (None, {Modality.TITLE, Modality.FRAMES})


def test_bad_rows_stop_the_run_or_are_put_aside(world, tmp_path):
    with (world / "videos.jsonl").open("a") as file:
        file.write('{"title": "without an id"}\n')
    out = tmp_path / "out"
    with pytest.raises(TableError, match=r"videos\.jsonl:12"):
        run(world, out)
    assert not (out / "corpus.json").exists()
    summary = run(world, out, on_error="quarantine")
    assert (summary.num_bad_rows, summary.num_rows) == (1, 11)
    assert json.loads((out / "rejected_rows.jsonl").read_text())["column"] == "doc_id"


def test_a_table_of_broken_videos_only(world, tmp_path):
    rows = table_rows(world)
    write_table(world, [rows[4], rows[9]])
    summary = run(world, tmp_path / "out")
    assert (summary.num_videos, sum(summary.rejected.values())) == (0, 2)
    assert PreparedCorpus.open(tmp_path / "out").num_videos == 0
    assert run(world, tmp_path / "out").num_reused == 2


def test_a_video_that_takes_too_much_memory_costs_itself(world, tmp_path):
    Image.new("RGB", (8000, 8000)).save(world / "5.png", compress_level=1)
    limits = SMALL.limits.model_copy(update={"max_memory_bytes": 256 << 20})
    summary = run(world, tmp_path / "out", limits=limits)
    assert ("v5", None, "out_of_memory") in rejections(tmp_path / "out")
    assert summary.num_videos == 8


def test_two_runs_into_one_folder(world, tmp_path):
    import fcntl

    out = tmp_path / "out"
    out.mkdir()
    descriptor = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another process"):
            run(world, out)
    finally:
        os.close(descriptor)
    assert run(world, out).num_videos == 9


def test_an_absent_library_ends_the_run(world, tmp_path, monkeypatch):
    blocked = tmp_path / "blocked"
    (blocked / "av").mkdir(parents=True)
    (blocked / "av" / "__init__.py").write_text("raise ModuleNotFoundError('gone', name='av')")
    monkeypatch.syspath_prepend(str(blocked))  # workers search where we search
    with pytest.raises(MissingExtraError, match=r"pip install 'mmsearch\[video\]'"):
        run(world, tmp_path / "out")
    assert not (tmp_path / "out" / "corpus.json").exists()


def test_a_table_without_rows_changes_nothing(world, tmp_path):
    out = tmp_path / "corpus"
    run(world, out)
    before = files(out)
    for name, text in (("empty.jsonl", ""), ("header.csv", "doc_id,title\n")):
        (world / name).write_text(text)
        with pytest.raises(DataError, match=f"{name}: has no row that can be prepared"):
            prepare(world / name, out, SMALL)
    with pytest.raises(TableError, match="no such file"):
        prepare(world / "absent.jsonl", tmp_path / "other", SMALL)
    assert files(out) == before
    assert not (tmp_path / "other").exists()
