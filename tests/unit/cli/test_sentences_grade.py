"""The verb `sentences grade` and its summary."""

import json
import math

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from mmsearch.cli.sentences import app
from mmsearch.cli.sentences_grade import _key
from mmsearch.cli.sentences_summary import _ranks, _share, summarise
from mmsearch.errors import ConfigError, DataError, PartialResultError, TableError
from mmsearch.sentences.grading import Answer, Item, Proxy, Sheet

METHODS = ("select", "greedy")


def made_sheet(number, seed=0, same=()):
    """A sheet with random measures; every third video is Chinese."""
    rng = np.random.default_rng(seed)
    items = []
    for at in range(number):
        answers = {
            name: Answer((f"{name if at not in same else ''} {at}",), name, None, Proxy(*rng.random(4).tolist()))
            for name in (*METHODS, "cut")
        }
        order = METHODS if at % 2 else METHODS[::-1]
        items.append(Item(f"v{at}", "t", "other" if at % 3 else "chinese", "text", 0, order, answers))
    return Sheet(METHODS, tuple(items), {}, {"with_transcript": 9, "untitled": 0, "short": 0, "eligible": {"other": 9}})


def graded(sheet, grades):
    """Grades by method to grades by side."""
    return {
        (item.doc_id, side): found[name]
        for item, found in zip(sheet.items, grades, strict=False)
        for side, name in zip(("first", "second"), item.order, strict=True)
    }


def random_grades(sheet, seed=1):
    rng = np.random.default_rng(seed)
    return [{name: int(rng.integers(3)) for name in METHODS} for _ in sheet.items]


def test_shares_are_joined_to_methods_through_the_blinding():
    sheet = made_sheet(12)
    found = summarise(sheet, graded(sheet, [{"select": 2, "greedy": 0}] * 12))["human"]
    assert found["methods"]["select"]["good"]["value"] == 1
    assert found["methods"]["select"]["grades"] == [0, 0, 12]
    assert found["methods"]["greedy"]["grades"] == [12, 0, 0]
    assert found["difference"]["value"] == 1
    assert found["difference"]["p_value"] < 0.01
    assert found["languages"].keys() == {"chinese", "other"}
    assert found["languages"]["chinese"]["graded"] == 4


def test_only_videos_with_all_their_grades_count():
    sheet = made_sheet(4)
    grades = graded(sheet, random_grades(sheet))
    del grades["v1", "second"]
    assert summarise(sheet, grades)["human"]["graded"] == 3


def test_one_grade_of_equal_answers_counts_for_both():
    sheet = made_sheet(3, same=(0, 1, 2))
    found = summarise(sheet, {("v0", "first"): 2, ("v1", "first"): 0})["human"]
    assert found["graded"] == 2
    assert [found["methods"][name]["grades"] for name in METHODS] == [[1, 0, 1]] * 2
    assert found["difference"]["value"] == 0


def test_nothing_graded_is_told_and_the_proxy_stands_alone():
    found = json.loads(json.dumps(summarise(made_sheet(8), {}), allow_nan=False))
    assert found["human"]["graded"] == 0
    assert found["human"]["methods"]["select"]["good"] == {"value": None, "low": None, "high": None, "num": 0}
    assert found["trust"]["score"]["spearman"]["value"] is None
    assert found["proxy"]["methods"].keys() == {"select", "greedy", "cut"}


def test_few_videos_have_no_bootstrap_interval():
    sheet = made_sheet(4)
    found = summarise(sheet, graded(sheet, random_grades(sheet)))
    assert found["human"]["difference"]["low"] is None
    assert found["human"]["methods"]["select"]["good"]["low"] is not None


@pytest.mark.parametrize(("count", "total"), [(0, 20), (20, 20), (3, 20), (170, 200)])
def test_shares_have_the_interval_of_wilson(count, total):
    peer = stats.binomtest(count, total).proportion_ci(method="wilson")
    found = _share(count, total)
    assert found["low"] == pytest.approx(peer.low, abs=1e-6)
    assert found["high"] == pytest.approx(peer.high, abs=1e-6)


def test_correlations_are_those_of_a_peer():
    sheet = made_sheet(30, seed=5)
    grades = random_grades(sheet)
    found = summarise(sheet, graded(sheet, grades))["trust"]
    for measure in ("score", "fluency"):
        x = [getattr(item.answers[name].proxy, measure) for item in sheet.items for name in METHODS]
        y = [grade[name] for grade in grades for name in METHODS]
        told = found[measure]["spearman"]
        assert told["value"] == pytest.approx(stats.spearmanr(x, y).statistic)
        assert told["low"] < told["value"] < told["high"]
        assert told["num"] == 60
    values = [1.0, 3.0, 3.0, 0.5, 3.0]
    assert _ranks(np.array(values)).tolist() == stats.rankdata(values).tolist()


def test_preferences_are_compared_and_redundancy_counts_the_other_way():
    sheet = made_sheet(12)
    best = [max(METHODS, key=lambda name, item=item: item.answers[name].proxy.redundancy) for item in sheet.items]
    grades = [{name: 2 * (name == wanted) for name in METHODS} for wanted in best]
    found = summarise(sheet, graded(sheet, grades))["trust"]
    assert found["redundancy"]["same_preference"]["value"] == 0
    assert found["redundancy"]["spearman"]["value"] > 0
    assert found["redundancy"]["same_preference"]["num"] == 12


def test_the_difference_of_the_proxy_is_that_of_the_means():
    found = summarise(made_sheet(10), {})["proxy"]
    for measure, difference in found["differences"].items():
        a, b = (found["methods"][name][measure]["value"] for name in METHODS)
        assert difference["value"] == pytest.approx(a - b)
        assert difference["p_holm"] >= difference["p_value"]


@pytest.fixture
def table(tmp_path):
    lines = [f"Sentence {n} tells of the kettle and the door." for n in range(9)]
    rows = [{"doc_id": f"v{n}", "title": f"kettle {n} door", "asr": "\n".join(lines)} for n in range(5)]
    path = tmp_path / "videos.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def call(*words):
    done = CliRunner().invoke(app, ["grade", *map(str, words), "--no-serve"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


SMALL = ("max_chars=100", "max_sentence_chars=60", "segmenter=bigrams")


def test_a_sheet_is_made_once_and_gone_on_with(table):
    folder = table.with_name("videos.jsonl.grading")
    first = json.loads(call(table, *SMALL, "--json"))
    assert first["sheet"]["methods"] == ["greedy", "cut"]
    assert first["sheet"]["videos"] == 5
    before = (folder / "sheet.json").read_bytes()
    row = {"sheet": first["sheet"]["id"], "doc_id": "v0"}
    lines = [json.dumps(row | {"side": side, "grade": 2}) + "\n" for side in ("first", "second")]
    (folder / "grades.jsonl").write_text("".join(lines))
    assert json.loads(call(table, *SMALL, "--json"))["human"]["graded"] == 1
    assert (folder / "sheet.json").read_bytes() == before
    shown = call(folder)
    assert "1 of them are graded" in shown
    assert "Spearman" in shown
    assert (folder / "page.html").read_text().startswith("<!doctype html>")


def test_a_transcript_that_is_not_there_is_left_out_of_a_new_sheet(table, caplog):
    with table.open("a") as file:
        file.write('{"doc_id": "lost", "title": "kettle", "asr": "lost.srt"}\n')
    with pytest.raises(PartialResultError, match=r"1 videos of .* are left out"):
        call(table, *SMALL)
    assert "'lost': left out, its transcript cannot be read: missing_file" in caplog.text
    assert "5 videos" in call(table, *SMALL)


def test_other_settings_do_not_touch_a_sheet(table):
    call(table, *SMALL)
    with pytest.raises(ConfigError, match="made with other methods"):
        call(table, "max_chars=120", *SMALL[1:])
    with pytest.raises(ConfigError, match="made with other seed"):
        call(table, *SMALL, "--seed", 2)
    with table.open("a") as file:
        file.write('{"doc_id": "new"}\n')
    with pytest.raises(ConfigError, match="made with other videos"):
        call(table, *SMALL)
    with pytest.raises(ConfigError, match="this sheet is made"):
        call(table.with_name("videos.jsonl.grading"), *SMALL)


def test_grades_of_another_sheet_are_refused(table):
    call(table, *SMALL)
    folder = table.with_name("videos.jsonl.grading")
    (folder / "grades.jsonl").write_text('{"sheet": "x", "doc_id": "v0", "side": "first", "grade": 1}\n')
    with pytest.raises(TableError, match=r"grades\.jsonl:1: this is no grade of this sheet"):
        call(table, *SMALL)


def test_a_rival_may_be_a_settings_file(table, tmp_path):
    other = tmp_path / "other.yaml"
    other.write_text("max_chars: 150\nmax_sentence_chars: 60\nsegmenter: bigrams\n")
    found = json.loads(call(table, *SMALL, "--rival", other, "--out", tmp_path / "two", "--json"))
    assert found["sheet"]["methods"] == ["greedy", "greedy (rival)"]
    assert list(found["proxy"]["methods"]) == ["greedy", "greedy (rival)", "cut"]
    assert all(not math.isnan(v["value"]) for v in found["proxy"]["differences"].values())


def test_a_table_that_is_not_there_leaves_no_folder(tmp_path):
    with pytest.raises(DataError, match=r"absent\.jsonl"):
        call(tmp_path / "absent.jsonl")
    assert list(tmp_path.iterdir()) == []


def test_the_key_is_kept_and_private(tmp_path):
    path = tmp_path / "key"
    path.write_text("guessed")
    path.chmod(0o644)
    key = _key(path)
    assert len(key) == 32
    assert _key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
