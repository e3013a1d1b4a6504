"""Answers of a model are numbers that were asked for, or an error in our words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.sentences.answer import AnswerError, answer_of, answer_schema, read_answer

BAD = [
    "",
    "Sentences 1 and 2.",
    '{"sentences": [1]} and 2',
    '{"sentences": []}',
    '{"sentences": [0]}',
    '{"sentences": [-1]}',
    '{"sentences": [6]}',
    '{"sentences": [1, 1]}',
    '{"sentences": [1.0]}',
    '{"sentences": [true]}',
    '{"sentences": ["1"]}',
    '{"sentences": [[1]]}',
    '{"sentences": 1}',
    '{"sentences": {"1": 1}}',
    '{"sentences": [1], "text": "buy now"}',
    '{"sentences": [9], "sentences": [1]}',
    '{"Sentences": [1]}',
    "[1]",
    "null",
    "NaN",
    '{"sentences": [NaN]}',
    '{"sentences": [1e400]}',
    '{"sentences": [' + "9" * 4000 + "]}",
    "[" * 4000,
    '{"a":' * 800,
    '{"sentences": [' + "1," * 5000 + "1]}",
    "```json\n```",
    '```python\n{"sentences": [1]}\n```',
    '{"sentences": [1]}\0',
]


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_what_is_no_answer_is_refused_in_our_words(text):
    with pytest.raises(AnswerError) as caught:
        read_answer(text, 5)
    assert "buy now" not in str(caught.value)
    assert len(str(caught.value)) < 120


@pytest.mark.parametrize("form", ["{}", " \n{}\n", "```json\n{}\n```", "```\n{}\n```"])
def test_an_answer_may_stand_in_a_fence(form):
    assert read_answer(form.format('{"sentences": [3, 1]}'), 5) == [3, 1]


def test_a_model_may_think_aloud_before_its_answer():
    answer = '{"sentences": [3, 1]}'
    assert read_answer(f"<think>\nhm, [2]? {'no ' * 5000}\n</think>\n\n{answer}", 5) == [3, 1]
    for wrong in (f"<think>{answer}", f"{answer}<think></think>", f"<think>a</think>b<think></think>{answer}"):
        with pytest.raises(AnswerError):
            read_answer(wrong, 5)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=50, unique=True))
def test_what_we_write_is_what_we_read(numbers):
    assert read_answer(answer_of(numbers), 50) == numbers


@given(st.text() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_nothing_else_than_our_error_ever_comes_out(text):
    try:
        numbers = read_answer(text, 5)
    except AnswerError:
        return
    assert set(numbers) <= set(range(1, 6))


def test_the_schema_names_the_range():
    schema = answer_schema(7)
    assert schema["properties"]["sentences"]["items"] == {"type": "integer", "minimum": 1, "maximum": 7}
