"""Sheets: what they are made of, their order, and their file."""

import dataclasses
import json
import math

import pytest

from mmsearch.errors import ConfigError, DataError
from mmsearch.sentences.frequencies import DocumentFrequencies, counted_text
from mmsearch.sentences.grading import CUT, Plan, build_sheet, contenders, load_sheet, save_sheet
from mmsearch.sentences.models import ModelUnavailableError
from mmsearch.sentences.settings import SentenceSettings

SMALL = {"max_chars": 80, "max_sentence_chars": 60, "segmenter": "bigrams"}
LIKELY = SentenceSettings.model_validate(
    SMALL | {"method": "likelihood", "model": {"type": "gguf", "path": "absent.gguf"}, "give_up_after_s": 0}
)


def test_answers_are_verbatim_and_within_the_budget(sheet, videos):
    texts = {video.doc_id: video.transcript for video in videos}
    assert len(sheet.items) == 6
    for item in sheet.items:
        assert item.transcript == texts[item.doc_id]
        assert item.hidden_chars == 0
        assert set(item.answers) == {"greedy", CUT} == set(item.order)
        for answer in item.answers.values():
            assert all(sentence in item.transcript for sentence in answer.sentences)
            assert 0 < sum(map(len, answer.sentences)) + len(answer.sentences) - 1 <= 80
        assert item.transcript.startswith(item.answers[CUT].sentences[0])


def test_the_order_is_blinded_by_the_seed(videos, plan):
    def orders(seed):
        made = build_sheet(videos, dataclasses.replace(plan, num_videos=12, seed=seed), {})
        return [(item.doc_id, item.order) for item in made.items]

    assert orders(1) == orders(1) != orders(2)
    firsts = [order[0] for seed in range(6) for _, order in orders(seed)]
    assert 20 < firsts.count("greedy") < 52  # of 72


def test_a_sheet_comes_back_from_its_file(sheet, tmp_path):
    answer = dataclasses.replace(sheet.items[0].answers["greedy"].proxy, held_out=math.nan)
    assert math.isnan(answer.score)
    save_sheet(sheet, tmp_path / "sheet.json")
    again = load_sheet(tmp_path / "sheet.json")
    assert again == sheet
    assert again.id == sheet.id
    assert again.all_methods == ("greedy", CUT)


def test_what_is_not_defined_is_kept_as_such(videos, plan, tmp_path):
    one_word = [dataclasses.replace(video, title="harbour") for video in videos]
    sheet = build_sheet(one_word, plan, {})
    save_sheet(sheet, tmp_path / "sheet.json")
    assert "NaN" not in (tmp_path / "sheet.json").read_text()
    held = [item.answers["greedy"].proxy.held_out for item in load_sheet(tmp_path / "sheet.json").items]
    assert all(map(math.isnan, held))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda v: v.update(format_version=2),
        lambda v: v.pop("items"),
        lambda v: v["items"][0].update(title="another"),
        lambda v: v["items"][0]["order"].reverse(),
        lambda v: v["items"][0]["answers"].pop("cut"),
        lambda v: v["items"][0]["answers"]["cut"].update(sentences=[1]),
        lambda v: v.update(items=7),
        lambda v: v["items"][0].update(transcript=None),
    ],
)
def test_a_changed_sheet_is_refused(sheet, tmp_path, spoil):
    path = tmp_path / "sheet.json"
    save_sheet(sheet, path)
    value = json.loads(path.read_text())
    spoil(value)
    path.write_text(json.dumps(value))
    with pytest.raises(DataError, match=r"sheet\.json"):
        load_sheet(path)


def test_rivals():
    greedy = SentenceSettings()
    assert [one.name for one in contenders(greedy)] == ["greedy", "cut"]
    assert [one.name for one in contenders(LIKELY)] == ["likelihood", "greedy"]
    assert [one.name for one in contenders(LIKELY, "cut")] == ["likelihood", "cut"]
    other = SentenceSettings(max_chars=300)
    assert [one.name for one in contenders(greedy, other)] == ["greedy", "greedy (rival)"]
    with pytest.raises(ConfigError, match="same settings"):
        contenders(greedy, "greedy")


def test_a_model_is_asked_with_the_title_and_with_its_halves(videos, stub_model):
    model = stub_model(likelihood=lambda prefix, text: -len(prefix))
    sheet = build_sheet(videos, Plan(*contenders(LIKELY), num_videos=2), {}, {"likelihood": model})
    assert sheet.all_methods == ("likelihood", "greedy", "cut")
    assert {item.answers["likelihood"].chosen_by for item in sheet.items} == {"likelihood"}
    assert len([prefix for prefix in model.prefixes if prefix == "\nTitle:"]) == 6


def test_a_model_that_does_not_answer_ends_it(videos, stub_model):
    def fail(prefix, text):
        raise ModelUnavailableError("gone")

    with pytest.raises(ModelUnavailableError):
        build_sheet(videos, Plan(*contenders(LIKELY), num_videos=2), {}, {"likelihood": stub_model(likelihood=fail)})


def test_nothing_to_grade(videos, plan):
    with pytest.raises(DataError, match="2 without a title"):
        build_sheet([dataclasses.replace(video, title=None) for video in videos[:2]], plan, {})


def test_equal_answers_are_one(videos):
    plan = Plan(*contenders(SentenceSettings(**SMALL), SentenceSettings(**SMALL, max_transcript_chars=9999)), 3)
    sheet = build_sheet(videos, plan, {})
    assert [item.is_same for item in sheet.items] == [True] * 3


def test_terms_are_counted_as_everywhere_else(videos, monkeypatch):
    counted = []
    monkeypatch.setattr(DocumentFrequencies, "add", lambda self, text: counted.append(text))
    short = SentenceSettings(**SMALL, max_transcript_chars=50)
    build_sheet(videos, Plan(*contenders(short), num_videos=2), {})
    assert counted == [counted_text(video.title, video.transcript, 50) for video in videos]
