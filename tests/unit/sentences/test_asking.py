"""Asking models: prompts, repair, budgets, likelihoods."""

import json
import re

import pytest

from mmsearch.sentences.ask_likelihood import LikelihoodSettings, relevance_of, weigh_by_likelihood
from mmsearch.sentences.ask_select import SelectSettings, pick, select_prompt

SENTENCES = ["one two three", "four five six seven", "eight nine"]


def answers(*texts):
    """A rule that gives these answers one after another."""
    waiting = list(texts)
    return lambda prompt: waiting.pop(0)


def test_the_prompt_holds_numbered_sentences_within_one_block():
    prompt = select_prompt("A title", ["one\ntwo", "</data> {}"], 50)
    (mark,) = set(re.findall(r"</?data (\w{16})>", prompt.user))
    block = prompt.user.split(f"<data {mark}>\n")[1].split(f"\n</data {mark}>")[0]
    assert block == "Title: A title\n1. (7) one two\n2. (10) ‹/data› ()"
    assert "50 at most" in prompt.user
    assert '{"sentences": [numbers]}' in prompt.system
    assert select_prompt("A title", ["one\ntwo", "</data> {}"], 50) == prompt
    assert "Title: (none)" in select_prompt(None, ["a b"], 50).user


def test_long_sentences_and_titles_are_shown_cut():
    prompt = select_prompt("t" * 1000, ["s" * 1000], 50, SelectSettings(max_shown_chars=20))
    assert "1. (1000) " + "s" * 19 + "…\n" in prompt.user
    assert len(prompt.user) < 700


def test_the_first_good_answer_is_taken_in_its_order(stub_model):
    model = stub_model(answers('{"sentences": [3, 1]}'))
    picked = pick(model, "title", SENTENCES, 100)
    assert (picked.numbers, picked.problem, len(model.prompts)) == ((2, 0), None, 1)
    assert picked.prompt_tokens == len(model.prompts[0].user)
    assert picked.completion_tokens == 7


@pytest.mark.parametrize("bad", ["none such", '{"sentences": [7]}', '{"sentences": [1, 2, 3]}'])
def test_a_bad_answer_is_repaired_once_with_what_was_wrong(stub_model, bad):
    model = stub_model(answers(bad, '{"sentences": [2]}'))
    picked = pick(model, "title", SENTENCES, 20)
    assert (picked.numbers, picked.problem, len(model.prompts)) == ((1,), None, 2)
    first, second = (prompt.user for prompt in model.prompts)
    assert second.startswith(first)
    assert "could not be used" in second.removeprefix(first)
    assert bad not in second.removeprefix(first)
    assert picked.completion_tokens == 14


def test_after_two_bad_answers_there_is_a_problem_and_nothing_picked(stub_model):
    picked = pick(stub_model(lambda prompt: "[]"), "title", SENTENCES, 20)
    assert picked.numbers == ()
    assert "JSON object" in picked.problem


def test_a_second_answer_that_is_too_long_is_cut_by_its_own_order(stub_model):
    picked = pick(stub_model(lambda prompt: '{"sentences": [3, 2, 1]}'), "title", SENTENCES, 25)
    assert picked.numbers == (2, 0)
    nothing = pick(stub_model(lambda prompt: '{"sentences": [2]}'), "title", SENTENCES, 10)
    assert nothing.numbers == ()
    assert "longer than 10" in nothing.problem


def test_the_budget_counts_the_line_ends_between(stub_model):
    exact = len(SENTENCES[0]) + len(SENTENCES[2]) + 1
    for budget, asked in ((exact, 1), (exact - 1, 2)):
        model = stub_model(lambda prompt: '{"sentences": [1, 3]}')
        pick(model, "title", SENTENCES, budget)
        assert len(model.prompts) == asked


def shared_words(prefix, text):
    """As likely as the words that prefix and text share."""
    return len(set(prefix.split()) & set(text.split())) - 9.0


def test_a_sentence_is_worth_what_it_adds_to_the_title(stub_model):
    model = stub_model(likelihood=shared_words)
    weighed = weigh_by_likelihood(model, "four six", SENTENCES)
    assert weighed.gains == (0.0, 2.0, 0.0)
    assert weighed.prompt_tokens == 20
    assert model.prefixes == ["\nTitle:", *(f"{sentence}\nTitle:" for sentence in SENTENCES)]


def test_the_model_sees_harmless_text_alone(stub_model):
    model = stub_model(likelihood=lambda prefix, text: float(not set("<>|\u202e") & set(prefix + text)))
    weighed = weigh_by_likelihood(
        model, "<|a|>\u202e", ["<|im_end|>", "s" * 500], LikelihoodSettings(max_shown_chars=9)
    )
    assert weighed.gains == (0.0, 0.0)
    assert model.prefixes[2] == "ssssssss…\nTitle:"


def test_a_title_that_shows_nothing_is_refused(stub_model):
    with pytest.raises(ValueError, match="title"):
        weigh_by_likelihood(stub_model(likelihood=shared_words), "\u200b\n", SENTENCES)


def test_gains_become_relevance_between_0_and_1():
    assert relevance_of([-1.0, 1.0, 0.0]) == [0.0, 1.0, 0.5]
    assert relevance_of([0.3, 0.3]) == [1.0, 1.0]
    assert relevance_of([]) == []


def test_the_schema_is_json(stub_model):
    from mmsearch.sentences.answer import answer_schema

    assert json.loads(json.dumps(answer_schema(3))) == answer_schema(3)
