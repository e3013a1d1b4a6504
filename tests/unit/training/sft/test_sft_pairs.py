import json

import pytest

from mmsearch.errors import DataError, TableError
from mmsearch.sentences import SentenceSettings, split_sentences
from mmsearch.sentences.grading.answers import Answer
from mmsearch.sentences.grading.grades import GradeFile
from mmsearch.sentences.grading.proxy import Proxy
from mmsearch.sentences.grading.sheet import Item, Sheet, save_sheet
from training.__main__ import sft_pairs
from training.sft.distil import chosen_by, graded_well, write_pairs
from training.sft.pairs import Pair, read_pairs, split_off

SETTINGS = SentenceSettings(max_chars=60, max_sentence_chars=40)
TALK = "We mend a kettle. Hello again! We mend a kettle. 然后我们把水烧开。Bye now."


def written(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_numbers_and_words_name_the_same_sentences(tmp_path):
    sentences = split_sentences(TALK, 40)
    numbers = {"doc_id": "a", "title": "Kettle", "transcript": TALK, "sentence_ids": [3, 0], "other": 1}
    words = {"doc_id": "b", "transcript": TALK, "title": " ", "sentences": [sentences[3], sentences[0]]}
    a, b = read_pairs(written(tmp_path / "p.jsonl", numbers, words), SETTINGS)
    assert a == Pair("a", "Kettle", TALK, tuple(sentences), (3, 0))
    assert b == Pair("b", None, TALK, tuple(sentences), (3, 0))


def test_a_sentence_said_twice_is_found_twice(tmp_path):
    row = {"transcript": TALK, "sentences": ["We mend a kettle.", "We mend a kettle."]}
    path = written(tmp_path / "p.jsonl", row)
    (pair,) = read_pairs(path, SETTINGS)
    assert pair.chosen == (0, 2)
    assert pair.name == f"{path}:1"


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("{", "not valid JSON"),
        ([1], "one JSON object"),
        ({"sentence_ids": [0]}, "transcript: a pair needs one"),
        ({"transcript": "  ", "sentence_ids": [0]}, "transcript: a pair needs one"),
        ({"transcript": 5, "sentence_ids": [0]}, "transcript: 5 is not a text"),
        ({"transcript": TALK}, "sentences: None is no list"),
        ({"transcript": TALK, "sentence_ids": []}, "sentence_ids: [] is no list"),
        ({"transcript": TALK, "sentence_ids": 2}, "sentence_ids: 2 is no list"),
        ({"transcript": TALK, "sentence_ids": [True]}, "sentence_ids: True is no sentence"),
        ({"transcript": TALK, "sentence_ids": [1.0]}, "sentence_ids: 1.0 is no sentence"),
        ({"transcript": TALK, "sentence_ids": [5]}, "sentence_ids: 5 is no sentence; the transcript has 0 … 4"),
        ({"transcript": TALK, "sentence_ids": [-1]}, "sentence_ids: -1 is no sentence"),
        ({"transcript": TALK, "sentence_ids": [1, 1]}, "sentence_ids: 1 stands there twice"),
        ({"transcript": TALK, "sentences": ["We mend"]}, "sentences: 'We mend' is no sentence"),
        ({"transcript": TALK, "sentences": [["x"]]}, "sentences: ['x'] is no sentence"),
        ({"transcript": TALK, "sentences": ["Bye now.", "Bye now."]}, "sentences: 'Bye now.' is no sentence"),
        ({"transcript": TALK, "sentence_ids": [0, 1, 2, 3, 4]}, "the budget is 60"),
        ({"transcript": TALK, "sentence_ids": [0], "title": 7}, "title: 7 is not a text"),
        ({"transcript": TALK, "sentence_ids": [0], "doc_id": 1.5}, "doc_id: 1.5"),
    ],
)
def test_a_bad_row_is_named(tmp_path, row, told):
    good = json.dumps({"transcript": TALK, "sentence_ids": [0]})
    path = tmp_path / "p.jsonl"
    path.write_text(f"{good}\n\n{row if isinstance(row, str) else json.dumps(row)}\n", encoding="utf-8")
    with pytest.raises(TableError) as error:
        read_pairs(path, SETTINGS)
    assert str(error.value).startswith(f"{path}:3: ")
    assert told in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(TableError, match=r"gone\.jsonl: cannot be read: No such file"):
        read_pairs(tmp_path / "gone.jsonl", SETTINGS)


def test_a_pair_stays_on_its_side_of_the_split():
    pairs = [Pair(str(n), None, f"talk {n // 2}", ("x",), (0,)) for n in range(400)]
    learned, held = split_off(pairs, 0.2)
    assert 40 < len(held) < 120
    assert {p.transcript for p in learned}.isdisjoint(p.transcript for p in held)
    assert split_off(pairs[100:], 0.2)[1] == [pair for pair in held if int(pair.name) >= 100]
    assert split_off(pairs, 0) == (pairs, [])


@pytest.fixture
def chosen_files(tmp_path):
    """A videos table, and what two methods chose of it."""
    (tmp_path / "d.srt").write_text("1\n00:00:00,000 --> 00:00:02,000\nWe mend a kettle.\n", encoding="utf-8")
    videos = [
        {"doc_id": "c", "title": "Sea", "asr": "Look at the sea. Bye."},
        {"doc_id": "a", "title": "Kettle", "asr": TALK},
        {"doc_id": "b", "asr": "One thing. Two things."},
        {"doc_id": "n", "title": "silent"},
        {"doc_id": "d", "title": "file", "asr": "d.srt"},
    ]
    rows = [
        {"doc_id": "a", "method": "select", "numbers": [0], "sentences": ["We mend a kettle."]},
        {"doc_id": "a", "method": "select", "sentences": ["Bye now."]},
        {"doc_id": "b", "method": "greedy", "sentences": ["One thing."], "fallback": "the model did not answer"},
        {"doc_id": "c", "method": "select", "sentences": ["Look at the sea."]},
        {"doc_id": "d", "method": "select", "sentences": ["We mend a kettle."]},
        {"doc_id": "n", "method": "select", "sentences": ["x"]},
    ]
    return written(tmp_path / "videos.jsonl", *videos), written(tmp_path / "chosen.jsonl", *rows)


def names(path):
    return [(row.name, [row.sentences[n] for n in row.chosen]) for row in read_pairs(path, SETTINGS)]


def test_what_a_model_chose_becomes_pairs(chosen_files, tmp_path):
    videos, chosen = chosen_files
    out = tmp_path / "pairs.jsonl"
    assert write_pairs(videos, chosen_by(chosen, ["select"]), out) == 3
    kettle = ["We mend a kettle."]
    assert names(out) == [("c", ["Look at the sea."]), ("a", kettle), ("d", kettle)]
    assert write_pairs(videos, chosen_by(chosen, ["greedy", "select"]), out) == 4
    with pytest.raises(DataError, match=r"videos\.jsonl: no video with a transcript is among the 0"):
        write_pairs(videos, chosen_by(chosen, ["likelihood"]), out)
    assert len(names(out)) == 4  # as it was


def sheet_of(answers, methods=("greedy", "llm")):
    """A sheet of videos: doc_id -> sentences of both methods, what chose them, and the order on the page."""
    proxy = Proxy(1.0, 1.0, 0.0, 1.0)
    items = [
        Item(
            doc_id,
            "",
            "en",
            TALK,
            0,
            methods[:: 1 if straight else -1],
            {
                name: Answer(tuple(sentences), chose, None, proxy)
                for name, sentences, chose in zip(methods, (one, other), chosen, strict=True)
            },
        )
        for doc_id, one, other, chosen, straight in answers
    ]
    return Sheet(methods, tuple(items), {}, {})


def test_what_people_graded_well_becomes_pairs(tmp_path):
    bye, kettle, both = ["Bye now."], ["We mend a kettle."], ("greedy", "select")
    sheet = sheet_of(
        [
            ("better", bye, kettle, both, False),
            ("equal", bye, kettle, both, True),
            ("same", bye, bye, both, False),
            ("bad", bye, kettle, both, True),
            ("none", bye, kettle, both, True),
            ("cut", bye, kettle, ("cut", "select"), True),
        ]
    )
    save_sheet(sheet, tmp_path / "sheet.json")
    with pytest.raises(DataError, match=r"has no grades\.jsonl"):
        graded_well(tmp_path)
    file = GradeFile(tmp_path / "grades.jsonl", sheet)
    for doc_id, first, second in (("better", 2, 1), ("equal", 2, 2), ("same", 2, None), ("bad", 1, 0), ("cut", 2, 1)):
        file.save({"sheet": sheet.id, "doc_id": doc_id, "side": "first", "grade": first})
        if doc_id != "same":
            file.save({"sheet": sheet.id, "doc_id": doc_id, "side": "second", "grade": second})
    found = {doc_id: list(sentences) for doc_id, sentences in graded_well(tmp_path).items()}
    assert found == {"better": kettle, "equal": bye, "same": bye}
    found = {doc_id: list(sentences) for doc_id, sentences in graded_well(tmp_path, 1).items()}
    assert found == {"better": kettle, "equal": bye, "same": bye, "bad": bye, "cut": kettle}


@pytest.mark.parametrize(
    "row", [{"doc_id": "a", "sentences": []}, {"doc_id": "a", "method": "select", "sentences": "x"}, {"method": "x"}]
)
def test_a_bad_row_of_what_was_chosen_is_named(tmp_path, row):
    with pytest.raises(TableError, match=r"bad\.jsonl:1: "):
        chosen_by(written(tmp_path / "bad.jsonl", row), ["select"])


def test_the_verb_writes_pairs(chosen_files, tmp_path, capsys):
    out = tmp_path / "pairs.jsonl"
    sft_pairs(*chosen_files, out, ["greedy"])
    assert capsys.readouterr().out == f"1 pairs: {out}\n"
    assert names(out) == [("b", ["One thing."])]
