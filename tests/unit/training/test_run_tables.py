"""Bad rows of the tables that a run learns from: they end it, or are listed in its folder and left out."""

import json

import pytest

from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import TableError
from training.config import DataSettings, FitSettings
from training.identity import LATER, run_hash_of
from training.pairs import held_out
from training.paths import RunPaths
from training.tables import RunTables


def with_bad_rows(path, out):
    """Copy a table with two bad rows before its own."""
    bad = ['{"query": "red ball", "doc_id": "d00", "grade": "high", "watch_s": "long"}', "{broken"]
    out.parent.mkdir(exist_ok=True)
    out.write_text("\n".join([*bad, path.read_text(encoding="utf-8")]), encoding="utf-8")
    return out


@pytest.fixture
def tables(tiny_world, tmp_path):
    """Tables with bad rows, of which two have the same name."""
    clicks = with_bad_rows(tiny_world / "interactions.jsonl", tmp_path / "clicks.jsonl")
    grades = with_bad_rows(tiny_world / "judgments_train.jsonl", tmp_path / "grades.jsonl")
    return clicks, grades, with_bad_rows(grades, tmp_path / "stage" / "grades.jsonl")


@pytest.fixture
def settings(tables, tiny_corpus, tiny_model, tmp_path):
    def make(**data):
        stage = {"name": "g", "steps": 1, "task": {"type": "graded"}, "data": {"judgments": str(tables[2])}}
        files = {"interactions": tables[0].name, "judgments": str(tables[1])}
        return FitSettings.model_validate(
            {
                "run": {"dir": str(tmp_path / "run")},
                "data": {"root": str(tmp_path), "corpus": str(tiny_corpus)} | files | data,
                "model": tiny_model,
                "stages": [stage],
            }
        )

    return make


def test_by_default_a_run_ends_at_the_first_bad_row(settings, tables):
    chosen = settings()
    readers = RunTables.of(chosen, RunPaths(chosen.run.dir))
    for read, path, problem in (
        (readers.interactions, tables[0], "clicks.jsonl:1: watch_s: 'long' is not a number"),
        (readers.judgments, tables[1], "grades.jsonl:1: grade: 'high' is not a whole number"),
    ):
        with pytest.raises(TableError, match=problem):
            list(read(path))
    assert not RunPaths(chosen.run.dir).rejected_rows.exists()


def test_in_quarantine_bad_rows_are_listed_in_the_run_and_the_others_are_read(settings, tables, caplog):
    chosen = settings(on_error="quarantine")
    for _ in range(2):  # a table is read again for the next stage
        readers = RunTables.of(chosen, RunPaths(chosen.run.dir))
        assert len(list(readers.interactions(chosen.data.interactions))) == 16
        assert len(list(readers.judgments(tables[1]))) == 64
        assert len(list(readers.judgments(tables[2]))) == 64
    listed = {}
    for path in (chosen.run.dir / "rejected_rows").iterdir():
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        listed[path.name] = [(row["where"], row["column"]) for row in rows]
    assert listed == {
        "clicks.jsonl": [(f"{tables[0]}:1", "watch_s"), (f"{tables[0]}:2", None)],
        "grades.jsonl": [(f"{tables[1]}:1", "grade"), (f"{tables[1]}:2", None)],
        "grades-2.jsonl": [(f"{tables[2]}:{line}", c) for line, c in enumerate(["grade", None] * 2, 1)],
    }
    assert f"{tables[0]}: bad rows left out: 2; they are listed in {chosen.run.dir}/rejected_rows/clicks" in caplog.text


def test_the_videos_table_goes_by_the_settings_of_its_preparation_too(settings, tiny_world, tmp_path):
    videos = with_bad_rows(tiny_world / "videos.jsonl", tmp_path / "videos.jsonl")
    for data, count in (
        ({"prepare": {"on_error": "quarantine"}}, 1),
        ({"on_error": "quarantine"}, 4),
    ):
        chosen = settings(videos=str(videos), **data)
        readers = RunTables.of(chosen, RunPaths(chosen.run.dir))
        assert len(readers.rejected) == count
        ids = [video.doc_id for video in readers.videos(videos)]
        assert ids.count("d00") == 1, "a row that lacks nothing but columns of other tables is no bad row"
        assert len(ids) == 24


def test_a_bad_row_of_held_out_videos_ends_the_run_whatever_is_set(tables, tiny_corpus):
    data = DataSettings(corpus=tiny_corpus, holdout=[tables[1]], on_error="quarantine")
    with pytest.raises(TableError, match=r"grades.jsonl:1: grade: 'high'"):
        held_out(data)


def test_a_run_that_went_on_is_the_same_run(settings, tiny_corpus):
    corpus = PreparedCorpus.open(tiny_corpus)
    hashes = {run_hash_of(settings(on_error=how), corpus, None) for how in ("stop", "quarantine")}
    assert len(hashes) == 1


def test_later_settings_of_prepare_do_not_end_a_run_that_was_begun_before(settings, tiny_corpus):
    corpus = PreparedCorpus.open(tiny_corpus)
    plain = settings(interactions=None, judgments=None)
    other = settings(interactions=None, judgments=None, prepare={"retry_failed": True, "max_lost_share": 0.9})
    assert run_hash_of(plain, corpus, None) == run_hash_of(other, corpus, None)
    counted = set(PrepareSettings.model_fields) - set(LATER)
    known = {
        "num_frames",
        "image_size",
        "fit",
        "jpeg_quality",
        "decoder",
        "num_workers",
        "shard_size",
        "row_group_size",
    }
    known |= {"on_error", "on_bad_media", "limits", "ocr", "speech", "sentences"}
    assert counted == known, "a setting that came later belongs into training.identity.LATER"
