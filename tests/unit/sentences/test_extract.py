"""Extraction over many videos: order, fallback, cache, concurrency."""

import dataclasses
import logging
import re
import threading
import time

import pytest
from pydantic import ValidationError

from mmsearch.errors import ConfigError
from mmsearch.sentences import DocumentFrequencies, KeySentenceExtractor, SentenceSettings, SpokenVideo, choose_greedy
from mmsearch.sentences.models import ModelRefusedError, ModelUnavailableError, PromptTooLongError
from mmsearch.sentences.split import split_sentences

SPEECH = "Hello and welcome. The red panda eats bamboo. It sleeps all day in a tree. Please subscribe now."
SERVER = {"type": "openai", "base_url": "http://127.0.0.1:1/v1", "model": "none"}
VIDEOS = [SpokenVideo(f"v{number}", f"red panda {number}", f"{SPEECH} Number {number}.") for number in range(12)]
FREQUENCIES = DocumentFrequencies.of([video.transcript for video in VIDEOS], "bigrams")


def settings(method="greedy", **others):
    model = SERVER if method != "greedy" else None
    tree = {"max_chars": 40, "max_sentence_chars": 40, "method": method, "model": model, "segmenter": "bigrams"}
    tree["give_up_after_s"] = 0.0
    return SentenceSettings.model_validate(tree | others)


def extracted(wanted, model=None, videos=VIDEOS):
    with KeySentenceExtractor(wanted, FREQUENCIES, model) as extractor:
        return list(extractor.extract(videos))


def second_sentence(prompt):
    return '{"sentences": [2]}'


def test_greedy_sentences_come_in_order_and_verbatim():
    results = extracted(settings())
    assert [result.doc_id for result in results] == [video.doc_id for video in VIDEOS]
    sentences = split_sentences(VIDEOS[0].transcript, 40)
    first = results[0]
    assert first.numbers == tuple(choose_greedy("red panda 0", sentences, 40, FREQUENCIES))
    assert first.sentences == tuple(sentences[number] for number in first.numbers)
    assert first.text == "\n".join(first.sentences)
    assert (first.method, first.fallback, first.num_sentences) == ("greedy", None, 5)


def test_what_fits_the_budget_is_whole_and_nobody_is_asked(stub_model):
    model = stub_model()
    short, empty = extracted(
        settings("select"), model, [SpokenVideo("a", "t", "One. Two."), SpokenVideo("b", None, "")]
    )
    assert (short.method, short.numbers, short.text) == ("whole", (0, 1), "One.\nTwo.")
    assert (empty.method, empty.numbers, empty.text) == ("whole", (), "")
    assert model.prompts == []


def test_what_lies_behind_the_bound_is_not_read():
    (result,) = extracted(settings(max_transcript_chars=20), None, VIDEOS[:1])
    assert result.sentences == ("Hello and welcome.", "T")


def test_a_model_selects_and_the_cost_is_told(stub_model, caplog):
    model = stub_model(second_sentence)
    with caplog.at_level(logging.INFO, "mmsearch"):
        results = extracted(settings("select"), model)
    assert {(result.method, result.numbers, result.completion_tokens) for result in results} == {("select", (1,), 7)}
    assert "select 12" in caplog.text
    assert f"{12 * 7} written" in caplog.text
    assert not model.closed


def test_a_model_weighs(stub_model):
    model = stub_model(likelihood=lambda prefix, text: float("tree" in prefix) - 5)
    results = extracted(settings("likelihood"), model)
    assert {(result.method, result.sentences) for result in results} == {
        ("likelihood", ("It sleeps all day in a tree.",))
    }


def test_the_tally_counts_over_several_calls_and_moves_a_given_bar():
    class Bar:
        moved, told = 0, ""

        def advance(self, count=1):
            self.moved += count

        def note(self, text):
            self.told = text

    bar = Bar()
    with KeySentenceExtractor(settings(), FREQUENCIES) as extractor:
        assert [len(list(extractor.extract(part, bar=bar))) for part in (VIDEOS[:5], VIDEOS[5:])] == [5, 7]
        assert extractor.tally.methods == {"greedy": 12}
        assert extractor.tally.num_sentences == 60
    assert bar.moved == 12
    assert "sentences/s, 0 tokens" in bar.told


def test_weighing_needs_a_title_and_else_falls_back(stub_model):
    (result,) = extracted(settings("likelihood"), stub_model(), [SpokenVideo("a", None, SPEECH)])
    assert (result.method, result.fallback) == ("greedy", "likelihood needs a title, and there is none")


def test_a_useless_answer_falls_back_to_the_greedy_choice(stub_model):
    results = extracted(settings("select"), stub_model(lambda prompt: "Here you go: 2"))
    greedy = extracted(settings())
    assert [result.numbers for result in results] == [result.numbers for result in greedy]
    assert {result.fallback for result in results} == {"the answer was not JSON alone"}
    assert {result.method for result in results} == {"greedy"}


@pytest.mark.parametrize("method", ["select", "likelihood"])
def test_a_long_transcript_is_shortened_for_the_model(stub_model, method):
    transcript = " ".join(f"Filler number {number}." for number in range(300)) + " The red panda eats."
    model = stub_model(lambda prompt: '{"sentences": [1]}', lambda prefix, text: float("panda eats" in prefix) - 5)
    bounds = {"select": {"max_prompt_chars": 400}, "likelihood": {"max_candidates": 5}}
    (result,) = extracted(settings(method, **bounds), model, [SpokenVideo("a", "the red panda", transcript)])
    assert result.num_sentences == 301
    if method == "likelihood":
        assert result.sentences[-1] == "The red panda eats."
        assert len(model.prefixes) == 6
    else:
        assert len(model.prompts[0].user) < 900
        assert "The red panda eats." in model.prompts[0].user


def test_a_prompt_that_is_too_long_for_the_model_is_asked_with_fewer_sentences(stub_model):
    def small(prompt):
        if len(prompt.user) > 1200:
            raise PromptTooLongError("too long (model.max_tokens)")
        return second_sentence(prompt)

    transcript = " ".join(f"Filler number {number}." for number in range(100))
    model = stub_model(small)
    (result,) = extracted(
        settings("select", select={"max_prompt_chars": 2000}), model, [SpokenVideo("a", "t", transcript)]
    )
    assert (result.method, result.fallback) == ("select", None)
    lengths = [len(prompt.user) for prompt in model.prompts]
    assert lengths == sorted(lengths, reverse=True)
    assert len(lengths) == 2
    (refused,) = extracted(settings("select"), stub_model(small), [SpokenVideo("a", "t", transcript)])
    assert (refused.method, refused.is_final) == ("greedy", False)


def test_the_cache_answers_for_the_model_and_keeps_failures_of_answers_too(stub_model, tmp_path):
    def mostly(prompt):
        return "nonsense" if "panda 3" in prompt.user else second_sentence(prompt)

    wanted = settings("select", cache=tmp_path / "cache.sqlite")
    model = stub_model(mostly)
    first = extracted(wanted, model)
    assert len(model.prompts) == 13
    again = stub_model(mostly)
    second = extracted(wanted, again)
    assert again.prompts == []
    free = [dataclasses.replace(result, prompt_tokens=0, completion_tokens=0) for result in first]
    assert second == free
    other = stub_model(mostly, name="another")
    extracted(wanted, other)
    assert len(other.prompts) == 13
    assert b"panda" not in b"".join(path.read_bytes() for path in tmp_path.iterdir())


def test_likelihoods_are_cached_so_that_a_changed_weight_costs_nothing(stub_model, tmp_path):
    wanted = settings("likelihood", cache=tmp_path / "cache.sqlite")
    extracted(wanted, stub_model(likelihood=lambda prefix, text: -float(len(prefix))))
    again = stub_model()
    changed = wanted.model_copy(update={"likelihood": wanted.likelihood.model_copy(update={"redundancy": 0.0})})
    assert {result.method for result in extracted(changed, again)} == {"likelihood"}
    assert again.prefixes == []


@pytest.mark.parametrize("numbers", ["[99]", "[-1]", "[0.5]", "[NaN]", "[1, 1]", "[0, 1, 2, 3]", "[Infinity]"])
def test_a_poisoned_cache_is_checked_as_an_answer_is(stub_model, tmp_path, numbers):
    import sqlite3

    wanted = settings("select", cache=tmp_path / "cache.sqlite")
    extracted(wanted, stub_model(second_sentence))
    with sqlite3.connect(tmp_path / "cache.sqlite") as database:
        database.execute("UPDATE answers SET numbers = ?", (numbers,))
    database.close()
    model = stub_model(second_sentence)
    assert {result.numbers for result in extracted(wanted, model)} == {(1,)}
    assert len(model.prompts) == 12


def failing(error, *, until=10**9):
    calls = []

    def answer(prompt):
        calls.append(1)
        if len(calls) <= until:
            raise error
        return second_sentence(prompt)

    return answer


def test_a_model_that_does_not_answer_is_asked_a_few_times_then_no_more(stub_model, tmp_path):
    model = stub_model(failing(ModelUnavailableError("gone")))
    wanted = settings("select", cache=tmp_path / "cache.sqlite")
    results = extracted(wanted, model)
    assert len(model.prompts) == 12
    assert {result.fallback for result in results} == {"the model did not answer"}
    patient = wanted.model_copy(update={"give_up_after_s": 0.3})
    fallbacks = {result.fallback for result in extracted(patient, stub_model(failing(ModelUnavailableError("gone"))))}
    assert fallbacks == {"the model did not answer", "the model did not answer before"}
    assert {result.method for result in extracted(wanted, stub_model(second_sentence))} == {"select"}


def test_a_short_outage_costs_nothing(stub_model, caplog):
    model = stub_model(failing(ModelUnavailableError("gone"), until=2))
    with caplog.at_level(logging.INFO, "mmsearch"):
        results = extracted(settings("select", give_up_after_s=3.0), model)
    assert {result.method for result in results} == {"select"}
    assert "gone; waiting for the model, up to 3 s" in caplog.text
    assert "the model answers again" in caplog.text


def test_a_video_that_the_model_cannot_bear_costs_itself_alone(stub_model):
    def mostly(prompt):
        if "panda 3" in prompt.user:
            raise ModelUnavailableError("HTTP 500")
        return second_sentence(prompt)

    results = extracted(settings("select", give_up_after_s=3.0), stub_model(mostly))
    assert [result.doc_id for result in results if result.method == "greedy"] == ["v3"]


def test_a_run_can_be_told_to_stop_where_the_model_does_not_answer(stub_model):
    with pytest.raises(ModelUnavailableError, match="gone"):
        extracted(settings("select", on_model_failure="stop"), stub_model(failing(ModelUnavailableError("gone"))))


def test_a_refused_prompt_costs_its_video_alone_and_wrong_settings_end_the_run(stub_model):
    results = extracted(settings("select"), stub_model(failing(ModelRefusedError("too long"), until=1)))
    assert [result.method for result in results] == ["greedy"] + ["select"] * 11
    assert results[0].fallback == "the model did not take the prompt"
    with pytest.raises(ConfigError, match="key"):
        extracted(settings("select"), stub_model(failing(ConfigError("key"))))


def test_many_videos_are_asked_about_at_a_time_and_come_back_in_order(stub_model):
    def slow(prompt):
        time.sleep(0.02 if re.search(r"panda \d*[02468]\n", prompt.user) else 0.001)
        return second_sentence(prompt)

    read = []

    def source():
        for video in VIDEOS * 3:
            read.append(video.doc_id)
            yield video

    model = stub_model(slow, concurrency=3)
    with KeySentenceExtractor(settings("select"), FREQUENCIES, model) as extractor:
        results = extractor.extract(source())
        first = next(results)
        assert len(read) <= 6  # the input is not run through ahead of the model
        assert [first, *results] == extracted(settings("select"), stub_model(second_sentence), VIDEOS * 3)
    assert 2 <= model.most <= 3


def test_leaving_early_ends_all_threads(stub_model):
    model = stub_model(second_sentence, concurrency=4)
    with KeySentenceExtractor(settings("select"), FREQUENCIES, model) as extractor:
        results = extractor.extract(VIDEOS * 10)
        next(results)
        results.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("key-sentences")]
    assert len(model.prompts) < 30


def test_settings_that_contradict_each_other_are_refused():
    with pytest.raises(ValidationError, match="needs a model"):
        SentenceSettings(method="select")
    with pytest.raises(ValidationError, match="must not exceed"):
        SentenceSettings(max_chars=50, max_sentence_chars=51)
    small = SentenceSettings(max_chars=50)
    assert (small.max_sentence_chars, SentenceSettings(max_chars=500).max_sentence_chars) == (50, 160)
    assert SentenceSettings.model_validate(small.for_record()) == small
    assert "model" not in settings().for_record()
    assert "cache" not in settings("select").for_record()
