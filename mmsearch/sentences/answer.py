"""Read the answer of a model that was asked for sentence numbers; it is trusted with nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

MAX_ANSWER_CHARS = 4096
_THOUGHTS = re.compile(r"\s*<think>.*?</think>", re.DOTALL)


class AnswerError(ValueError):
    """An answer that cannot be used; the message is ours, and holds nothing of the answer."""


def answer_schema(num_sentences: int) -> dict[str, Any]:
    """Give the JSON schema of an answer, for servers that hold a model to one."""
    number = {"type": "integer", "minimum": 1, "maximum": num_sentences}
    numbers = {"type": "array", "items": number, "minItems": 1, "maxItems": min(num_sentences, 64)}
    return {
        "type": "object",
        "properties": {"sentences": numbers},
        "required": ["sentences"],
        "additionalProperties": False,
    }


def answer_of(numbers: Sequence[int]) -> str:
    """Give the answer that names these sentences, as a model should write it (and is taught to)."""
    return json.dumps({"sentences": list(numbers)})


def read_answer(text: str, num_sentences: int) -> list[int]:
    """Give the sentence numbers of an answer, in its order, counted from 1.

    The answer is one JSON object `{"sentences": [numbers]}`, which may stand in a Markdown fence, and nothing else;
    before it a reasoning model may think aloud, in `<think> … </think>`.

    Raises:
        AnswerError: too long, not such an object, no number, one that is out of range or repeated.
    """
    if thoughts := _THOUGHTS.match(text):
        text = text[thoughts.end() :]
    if len(text) > MAX_ANSWER_CHARS:
        raise AnswerError("the answer was too long")
    value = _parse(_unfenced(text.strip()))
    if not isinstance(value, Mapping) or set(value) != {"sentences"} or not isinstance(value["sentences"], list):
        raise AnswerError('the answer was not a JSON object with the one key "sentences" and a list of numbers')
    numbers = value["sentences"]
    if not all(type(number) is int for number in numbers):  # True is an int to isinstance
        raise AnswerError("the list held something that is no whole number")
    if not numbers:
        raise AnswerError("the list was empty")
    if not all(1 <= number <= num_sentences for number in numbers):
        raise AnswerError(f"a number was not between 1 and {num_sentences}")
    if len(set(numbers)) < len(numbers):
        raise AnswerError("a number was given twice")
    return numbers


def _unfenced(text: str) -> str:
    lines = text.split("\n")
    if len(lines) >= 3 and lines[0].strip() in ("```json", "```") and lines[-1].strip() == "```":
        return "\n".join(lines[1:-1])
    return text


def _parse(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError):
        raise AnswerError("the answer was not JSON alone") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key is given twice")
    return dict(pairs)
