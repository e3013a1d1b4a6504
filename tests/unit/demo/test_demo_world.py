"""Writing a world: the same bytes always, kept files, and folders that are not ours."""

from __future__ import annotations

import fcntl
import json
import os
from datetime import datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmsearch.cli.main import app
from mmsearch.demo.folder import UNFINISHED_CARD, is_whole
from mmsearch.demo.settings import WorldSettings
from mmsearch.demo.world import write_world
from mmsearch.errors import ConfigError, DataError

pytest.importorskip("av")

SMALL = WorldSettings(videos=24, sessions=20, train_intents=20, frames_per_second=4)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "world"
    write_world(SMALL, out, workers=2)
    return out


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_world_has_all_its_files_and_no_other(world: Path) -> None:
    videos = rows(world / "videos.jsonl")
    named = {str(row[column]) for row in videos for column in ("cover", "video") if column in row}
    tables = {"videos.jsonl", "interactions.jsonl", "world.json"}
    tables |= {f"judgments_{split}.jsonl" for split in ("train", "val", "test")}
    assert set(content(world)) == named | tables
    assert all(is_whole(world / name) for name in named)
    assert len(videos) == 24


def test_the_tables_have_the_columns_of_the_contract(world: Path) -> None:
    for row in rows(world / "videos.jsonl"):
        assert None not in row.values()
        assert datetime.fromisoformat(str(row["published_at"])).tzinfo is not None
        assert 2.0 <= float(str(row["duration_s"])) <= 4.0
    shown = {"query", "doc_id", "shown_at", "position", "clicked", "session_id"}
    for row in rows(world / "interactions.jsonl"):
        assert set(row) == (shown | {"watch_s"} if row["clicked"] else shown)
    assert set(rows(world / "judgments_test.jsonl")[0]) == {"query", "doc_id", "grade", "aspect"}


def test_the_card_counts_what_is_there(world: Path) -> None:
    card = json.loads((world / "world.json").read_text(encoding="utf-8"))
    assert WorldSettings.model_validate(card["settings"]) == SMALL
    for name, count in card["counts"].items():
        if name != "clicks":
            assert count == len(rows(world / f"{name}.jsonl"))
    assert {split: len(ids) for split, ids in card["splits"].items()} == {"train": 16, "val": 3, "test": 5}


def test_equal_settings_give_equal_bytes(world: Path, tmp_path: Path) -> None:
    write_world(SMALL, tmp_path / "again", workers=1)
    assert content(tmp_path / "again") == content(world)


def test_a_broken_world_is_mended_and_whole_files_are_kept(world: Path, tmp_path: Path) -> None:
    out, before = tmp_path / "broken", content(world)
    for name, data in before.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(data)
    films, covers = sorted((out / "video").iterdir()), sorted((out / "covers").iterdir())
    kept = films[3].stat().st_mtime_ns
    films[0].unlink()
    films[1].write_bytes(films[1].read_bytes()[:-7])
    covers[0].write_bytes(covers[0].read_bytes()[:100])
    (out / "judgments_val.jsonl").unlink()
    (out / "world.json").rename(out / UNFINISHED_CARD)
    (out / "video" / f".v00001.mp4.{'0' * 32}.tmp").write_bytes(b"half")
    write_world(SMALL, out, workers=1)
    assert content(out) == before
    assert films[3].stat().st_mtime_ns == kept


def test_a_foreign_folder_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match=r"holds 'thesis\.txt'"):
        write_world(SMALL, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be made"):
        write_world(SMALL, tmp_path / "file")


def test_a_world_with_other_settings_is_refused(world: Path) -> None:
    with pytest.raises(DataError, match="other settings"):
        write_world(SMALL.model_copy(update={"seed": 1}), world)


def test_two_writers_do_not_share_a_folder(world: Path) -> None:
    descriptor = os.open(world, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(DataError, match="another process"):
            write_world(SMALL, world)
    finally:
        os.close(descriptor)


def test_the_command_prints_counts_and_takes_overrides(tmp_path: Path) -> None:
    config = tmp_path / "small.yaml"
    config.write_text("videos: 24\nsessions: 5\nframes_per_second: 4\n", encoding="utf-8")
    asked = ["demo", "--out", str(tmp_path / "w"), str(config), "sessions=7", "results=2", "missing=1"]
    result = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert result.exit_code == 0
    assert "videos\t24\n" in result.stdout
    assert "interactions\t14\n" in result.stdout


def test_an_unknown_setting_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'clickbait'"):
        CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "w"), "clickbat=1"], catch_exceptions=False)
    assert not (tmp_path / "w").exists()
