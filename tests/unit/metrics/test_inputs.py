"""Judgments and scores put together: one treatment of everything odd, and all of it counted."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mmsearch.errors import ConfigError, DataError
from mmsearch.metrics.inputs import check_held, feature_inputs, retrieval_inputs, run_inputs, scored_inputs
from mmsearch.metrics.join import ODDITIES, Grades, Scores, join, judged_rows
from mmsearch.metrics.scored import UNJUDGED, UNSCORED

GRADES = Grades(["q", "q", "q", "r", "q"], ["a", "b", "a", "a", "c"], [2, 0, 1, 1, -2], [])


def test_repeated_judgments() -> None:
    rows, oddities = judged_rows(GRADES, "all")
    assert rows == [0, 1, 2, 3, 4]
    assert oddities == {"repeated": 1, "conflicting": 1, "negative_grades": 1, "respelled": 0}
    assert judged_rows(GRADES, "first")[0] == [0, 1, 3, 4]


def test_join_counts_what_is_odd() -> None:
    run = Scores(
        ["q", "q", "q", "q", "s", "q"], ["a", "a", "b", "x", "a", "c"], [0.5, 9.0, math.nan, 0.1, 1.0, math.inf]
    )
    table, oddities = join(GRADES, run)
    assert set(oddities) <= set(ODDITIES)
    assert {name: number for name, number in oddities.items() if number} == {
        "missing_scores": 1,
        "nan_scores": 1,
        "infinite_scores": 1,
        "unjudged": 1,
        "other_queries": 1,
        "repeated_scores": 1,
    }
    assert table.queries == ("q", "r")
    assert table.doc_ids == ("a", "b", "a", "c", "x", "a")
    assert table.grades.tolist() == [2, 0, 1, 0, UNJUDGED, 1]
    assert table.scores.tolist() == [0.5, UNSCORED, 0.5, UNSCORED, 0.1, UNSCORED]


def test_queries_that_look_alike_are_kept_apart_and_counted() -> None:
    """Blanks at the ends, and a letter written as one character or as two."""
    alike = Grades(["caf\u00e9", " caf\u00e9", "cafe\u0301", "caf\u00e9", "Caf\u00e9"], list("abcde"), [1] * 5, [])
    assert judged_rows(alike)[1]["respelled"] == 2
    run = Scores(["cafe\u0301 ", "other", "caf\u00e9"], ["a", "a", "a"], [0.5, 0.5, 0.5])
    table, oddities = join(Grades(["caf\u00e9"], ["a"], [1], []), run)
    assert (oddities["other_queries"], oddities["other_spellings"], table.queries) == (2, 1, ("caf\u00e9",))


def test_a_row_without_a_score_is_missing_and_not_nan() -> None:
    _, oddities = join(Grades(["q"], ["a"], [1], []), Scores(["q"], ["a"], [None]))
    assert (oddities["missing_scores"], oddities["nan_scores"]) == (1, 0)


def test_scored_files_by_group(tmp_path: Path) -> None:
    path = tmp_path / "model.tsv"
    rows = ["q\ta\t2\t0.5\tnews", "r\tb\t1\t0.4\tmusic", "q\tc\t0\t0.7\tnews", "q\tc\t0\t0.7\tnews"]
    path.write_text("\n".join(["query\tdoc_id\tgrade\tscore\tgroup", *rows]))
    whole, music, news = scored_inputs(path, grouped=True, duplicates="first")
    assert [(one.name, one.group, len(one.scored)) for one in (whole, music, news)] == [
        ("model", None, 3),
        ("model", "music", 1),
        ("model", "news", 2),
    ]
    assert whole.oddities["repeated"] == 1
    assert len(scored_inputs(path)[0].scored) == 4
    assert news.scored.scores.tolist() == [0.5, 0.7]


def test_groups_must_be_there(tmp_path: Path) -> None:
    path = tmp_path / "model.txt"
    path.write_text("1\tq\ta\t0.5\n")
    with pytest.raises(ConfigError, match="need a column 'group'"):
        scored_inputs(path, grouped=True)


def test_runs_of_one_name_in_two_folders_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "t.qrels").write_text("q 0 a 1\nq 0 b 0\n")
    runs = [tmp_path / "x" / "m.run", tmp_path / "y" / "m.run", tmp_path / "z.run"]
    for path in runs:
        path.parent.mkdir(exist_ok=True)
        path.write_text("q Q0 a 1 0.5 t\n")
    found = run_inputs(tmp_path / "t.qrels", runs)
    assert [one.name for one in found] == [str(runs[0]), str(runs[1]), "z"]
    assert {one.scored.doc_ids for one in found} == {("a", "b")}


def test_features_are_asked_for_once_a_query() -> None:
    asked: list[tuple[str, tuple[str, ...]]] = []

    def score(query: str, doc_ids: Sequence[str]) -> dict[str, np.ndarray]:
        asked.append((query, tuple(doc_ids)))
        values = np.array([ord(name) for name in doc_ids], np.float32)
        return {"cover": values, "content": np.where(values == ord("b"), np.nan, -values)}

    cover, content = feature_inputs(GRADES, score)
    assert asked == [("q", ("a", "b", "a", "c")), ("r", ("a",))]
    assert (cover.name, cover.oddities["missing_scores"], content.oddities["missing_scores"]) == ("cover", 0, 1)
    assert cover.scored.scores.tolist() == [97, 98, 97, 99, 97]
    assert content.scored.scores.tolist() == [-97, UNSCORED, -97, -99, -97]
    assert content.scored.grades.tolist() == [2, 0, 1, 0, 1]


def test_features_over_a_whole_corpus() -> None:
    """Documents without a judgment follow the judged ones; a judged one that is not retrieved is missing."""

    def retrieve(query: str, doc_ids: Sequence[str]) -> dict[str, dict[str, float]]:
        assert list(doc_ids) == {"q": ["a", "b", "c"], "r": ["a"]}[query]
        return {"cover": {"x": 0.9, "a": 0.5}, "content": {"a": math.nan}}

    cover, content = retrieval_inputs(GRADES, retrieve, duplicates="first")
    assert cover.scored.doc_ids == ("a", "b", "c", "x", "a", "x")
    assert cover.scored.grades.tolist() == [2, 0, 0, UNJUDGED, 1, UNJUDGED]
    assert cover.scored.scores.tolist() == [0.5, UNSCORED, UNSCORED, 0.9, 0.5, 0.9]
    assert (cover.oddities["unjudged"], cover.oddities["missing_scores"], cover.oddities["repeated"]) == (2, 2, 1)
    assert (content.oddities["unjudged"], content.oddities["nan_scores"]) == (0, 2)


def holds(doc_ids: Sequence[str]) -> np.ndarray:
    return np.array([name in "ab" for name in doc_ids])


def test_documents_that_the_index_lacks_are_no_missing_feature() -> None:
    """c is not in the index; b is, and lacks the feature."""

    def score(query: str, doc_ids: Sequence[str]) -> dict[str, np.ndarray]:
        return {"cover": np.array([1.0 if name == "a" else np.nan for name in doc_ids])}

    def retrieve(query: str, doc_ids: Sequence[str]) -> dict[str, dict[str, float]]:
        return {"cover": {"a": 0.5, "x": 0.4}}

    ranked = retrieval_inputs(GRADES, retrieve, holds=holds)
    for [one] in (feature_inputs(GRADES, score, holds=holds), ranked):
        assert (one.oddities["not_in_index"], one.oddities["missing_scores"]) == (1, 1)
        assert set(one.oddities) <= set(ODDITIES)
    assert "not_in_index" not in feature_inputs(GRADES, score)[0].oddities


def test_judgments_of_other_videos_are_refused() -> None:
    check_held(GRADES, holds, "t.jsonl", "the index i")
    strangers = Grades(["q", "q", "r"], ["x", "y", "x"], [1, 0, 1], [])
    with pytest.raises(DataError, match=r"t.jsonl: none of its 2 judged videos is in the index i .*'x'.*doc_id alike"):
        check_held(strangers, holds, "t.jsonl", "the index i")
