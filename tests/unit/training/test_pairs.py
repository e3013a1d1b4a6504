"""Which pairs and grades a run learns from."""

import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.tables import read_judgments
from mmsearch.errors import ConfigError, DataError
from mmsearch.types import Judgment
from training.config import DataSettings
from training.pairs import clicked_pairs, held_out, judged_rows, title_pairs
from training.tables import RunTables


@pytest.fixture
def data(tiny_world, tiny_corpus):
    return DataSettings(
        corpus=tiny_corpus,
        interactions=tiny_world / "interactions.jsonl",
        videos=tiny_world / "videos.jsonl",
        val_judgments=tiny_world / "judgments_val.jsonl",
        min_watch_s=1.0,
    )


@pytest.fixture
def corpus(tiny_corpus):
    return PreparedCorpus.open(tiny_corpus)


@pytest.fixture
def rows_of():
    return lambda path: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_rows(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_held_out_videos_are_those_of_validation_and_holdout(data, tiny_world):
    assert held_out(data) == {f"d{n:02d}" for n in range(16, 24)}
    more = data.model_copy(update={"holdout": [tiny_world / "judgments_train.jsonl"]})
    assert len(held_out(more)) == 24


def test_titles_pair_with_their_own_video_and_leave_out_what_is_held_out(corpus, caplog):
    caplog.set_level("INFO")
    pairs = title_pairs(corpus, {"d00", "d01"})
    assert told(caplog, str(corpus.folder)) == ("INFO", ": 19 titles used; left out: 2 of held-out videos")
    with pytest.raises(
        DataError, match="no titles can be used, all are left out: 21 of held-out videos; give others, or"
    ):
        title_pairs(corpus, set(corpus.doc_ids))
    assert pairs.hide_title
    assert all(row >= 2 for row in pairs.row_of)
    for query, row in zip(pairs.query_of, pairs.row_of, strict=True):
        assert corpus.read([int(row)])[0].texts["title"] == pairs.queries[query]


def test_clicks_know_which_of_them_satisfied(corpus, data):
    pairs = clicked_pairs(corpus, data, set(), RunTables(data))
    short = {corpus.doc_ids[r] for r, ok in zip(pairs.row_of, pairs.satisfied, strict=True) if not ok}
    assert short == {f"d{n:02d}" for n in range(0, 16, 3)}
    assert len(clicked_pairs(corpus, data, {"d00"}, RunTables(data)).row_of) == len(pairs.row_of) - 1


def test_known_pairs_are_found_among_all_of_a_batch(corpus, data):
    pairs = clicked_pairs(corpus, data, set(), RunTables(data))
    queries, rows = pairs.query_of[:5], pairs.row_of[[0, 2, 4, 5, 6]]
    members = set(zip(pairs.query_of.tolist(), pairs.row_of.tolist(), strict=True))
    expected = [[(q, r) in members for r in rows.tolist()] for q in queries.tolist()]
    np.testing.assert_array_equal(pairs.known(queries, rows), expected)


def test_judgments_are_grouped_by_query(corpus, tiny_world):
    path = tiny_world / "judgments_train.jsonl"
    judged = judged_rows(corpus, read_judgments(path), "overall", {"d00"}, path)
    assert list(judged.queries) == ["red ball", "blue fish", "yellow kite", "green cup"]
    assert all(len(rows) == 15 for rows in judged.rows)
    assert judged.grades[0].max() == 1  # the red ball itself is d00


def test_what_is_missing_is_said(corpus, data, tiny_world):
    with pytest.raises(ConfigError, match=r"data\.interactions"):
        clicked_pairs(corpus, data.model_copy(update={"interactions": None}), set(), RunTables(data))
    path = tiny_world / "judgments_val.jsonl"
    with pytest.raises(
        DataError, match=r"judgments_val.jsonl: no judgments of the aspect 'cover' .* 32 of other aspects"
    ):
        judged_rows(corpus, read_judgments(path), "cover", set(), path)


def test_grades_that_order_nothing_are_refused_or_counted(corpus, tmp_path, caplog):
    def rows(**grades):
        return [Judgment(query, f"d{n:02d}", grade) for query, own in grades.items() for n, grade in enumerate(own)]

    path = tmp_path / "grades.jsonl"
    with pytest.raises(DataError, match=r"grades.jsonl: none of the 2 queries has two videos of different grades"):
        judged_rows(corpus, rows(one=[1, 1, 1], other=[2]), "overall", set(), path)
    with pytest.raises(DataError, match="none of the 1 queries"):  # the other grade is of a video that is held out
        judged_rows(corpus, rows(one=[0, 1, 1]), "overall", {"d00"}, path)
    with caplog.at_level(logging.INFO, "training"):
        judged_rows(corpus, rows(one=[1, 1], other=[0, 2], third=[1]), "overall", set(), path)
    assert "2 of 3 queries have one grade alone" in caplog.text


def told(caplog, name):
    """The level and message of the one record about a table."""
    (record,) = [one for one in caplog.records if name in one.getMessage()]
    return record.levelname, record.getMessage().partition(name)[2]


def test_judgments_that_are_used_and_left_out_are_counted_by_reason(corpus, tiny_world, rows_of, caplog):
    caplog.set_level("INFO")
    rows = rows_of(tiny_world / "judgments_train.jsonl")
    strange = [rows[3], rows[4], rows[5] | {"aspect": "cover"}, rows[6] | {"doc_id": "d00"}]
    unknown = [rows[0] | {"doc_id": f"nobody{number}"} for number in range(2)]
    for more, level, words in (([], "INFO", ""), (unknown, "WARNING", "2 of videos that are not in the corpus, ")):
        caplog.clear()
        judgments = [Judgment(**row) for row in [*rows, *strange, *more]]
        judged = judged_rows(corpus, judgments, "overall", {"d00", "d01"}, Path("grades.csv"))
        used = sum(map(len, judged.rows))
        assert used == 56
        others = f"9 of held-out videos, {words}1 of other aspects, 2 that a later row replaces"
        assert told(caplog, "grades.csv") == (
            level,
            f": 56 judgments of the aspect 'overall' used; left out: {others}",
        )
        assert len(judgments) == used + sum(int(n) for n in re.findall(r"(\d+) (?:of|that) ", others))


def test_clicks_that_are_used_and_left_out_are_counted_by_reason(corpus, data, rows_of, tmp_path, caplog):
    caplog.set_level("INFO")
    rows = rows_of(data.interactions)
    rows += [rows[2], rows[3] | {"clicked": False}, rows[4] | {"doc_id": "nobody"}]
    mine = write_rows(tmp_path / "clicks.jsonl", rows)
    changed = data.model_copy(update={"interactions": mine})
    clicked_pairs(corpus, changed, {"d00"}, RunTables(changed))
    words = "1 of held-out videos, 1 of videos that are not in the corpus, 1 that are rows without a click"
    assert told(caplog, "clicks.jsonl") == ("WARNING", f": 16 clicks used; left out: {words}")


def test_where_nothing_is_left_the_file_and_the_numbers_are_told(corpus, data, tiny_world):
    path, every = tiny_world / "judgments_train.jsonl", set(corpus.doc_ids)
    with pytest.raises(DataError) as found:
        judged_rows(corpus, read_judgments(path), "overall", every, path)
    words = "can be used, all are left out: 64 of held-out videos; give others, or hold out fewer videos"
    settings = "(data.val_judgments, data.holdout)"
    assert str(found.value) == f"{path}: no judgments of the aspect 'overall' {words} {settings}"
    with pytest.raises(
        DataError, match=r"interactions\.jsonl: no clicks can be used, all are left out: 16 of held-out videos"
    ):
        clicked_pairs(corpus, data, every, RunTables(data))
