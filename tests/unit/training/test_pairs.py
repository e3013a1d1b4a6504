"""Which pairs and grades a run learns from."""

import numpy as np
import pytest

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.tables import read_judgments
from mmsearch.errors import ConfigError, DataError
from training.config import DataSettings
from training.pairs import clicked_pairs, held_out, judged_rows, title_pairs


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


def test_held_out_videos_are_those_of_validation_and_holdout(data, tiny_world):
    assert held_out(data) == {f"d{n:02d}" for n in range(16, 24)}
    more = data.model_copy(update={"holdout": [tiny_world / "judgments_train.jsonl"]})
    assert len(held_out(more)) == 24


def test_titles_pair_with_their_own_video_and_leave_out_what_is_held_out(corpus):
    pairs = title_pairs(corpus, {"d00", "d01"})
    assert pairs.hide_title
    assert all(row >= 2 for row in pairs.row_of)
    for query, row in zip(pairs.query_of, pairs.row_of, strict=True):
        assert corpus.read([int(row)])[0].texts["title"] == pairs.queries[query]


def test_clicks_know_which_of_them_satisfied(corpus, data):
    pairs = clicked_pairs(corpus, data, set())
    short = {corpus.doc_ids[r] for r, ok in zip(pairs.row_of, pairs.satisfied, strict=True) if not ok}
    assert short == {f"d{n:02d}" for n in range(0, 16, 3)}
    assert len(clicked_pairs(corpus, data, {"d00"}).row_of) == len(pairs.row_of) - 1


def test_known_pairs_are_found_among_all_of_a_batch(corpus, data):
    pairs = clicked_pairs(corpus, data, set())
    queries, rows = pairs.query_of[:5], pairs.row_of[[0, 2, 4, 5, 6]]
    members = set(zip(pairs.query_of.tolist(), pairs.row_of.tolist(), strict=True))
    expected = [[(q, r) in members for r in rows.tolist()] for q in queries.tolist()]
    np.testing.assert_array_equal(pairs.known(queries, rows), expected)


def test_judgments_are_grouped_by_query(corpus, tiny_world):
    judged = judged_rows(corpus, read_judgments(tiny_world / "judgments_train.jsonl"), "overall", {"d00"})
    assert list(judged.queries) == ["red ball", "blue fish", "yellow kite", "green cup"]
    assert all(len(rows) == 15 for rows in judged.rows)
    assert judged.grades[0].max() == 1  # the red ball itself is d00


def test_what_is_missing_is_said(corpus, data, tiny_world):
    with pytest.raises(ConfigError, match=r"data\.interactions"):
        clicked_pairs(corpus, data.model_copy(update={"interactions": None}), set())
    with pytest.raises(DataError, match="no judgment of aspect 'cover'"):
        judged_rows(corpus, read_judgments(tiny_world / "judgments_val.jsonl"), "cover", set())
