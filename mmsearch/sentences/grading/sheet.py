"""The sheet: what people grade, in which order, and which method is behind which answer."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from mmsearch.errors import DataError
from mmsearch.files import hash_bytes, read_json, write_json
from mmsearch.sentences.extract import SpokenVideo
from mmsearch.sentences.grading.answers import Answer
from mmsearch.sentences.grading.proxy import Proxy
from mmsearch.sentences.grading.sample import language_of

FORMAT_VERSION = 1
#: Where an answer stands on the page.
Side = Literal["first", "second"]
SIDES: tuple[Side, Side] = ("first", "second")

_SHOWN_TRANSCRIPT = 20_000


@dataclass(frozen=True, slots=True)
class Item:
    """A video to grade.

    Args:
        doc_id: the video.
        title: of the video.
        language: of its transcript.
        transcript: what graders are shown of it.
        hidden_chars: characters of the transcript that they are not shown.
        order: the methods of the first and the second answer.
        answers: by method.
    """

    doc_id: str
    title: str
    language: str
    transcript: str
    hidden_chars: int
    order: tuple[str, str]
    answers: Mapping[str, Answer]

    @property
    def is_same(self) -> bool:
        """Whether both methods chose the same; then there is one answer to grade, the first, and it counts for both."""
        one, other = (self.answers[name].sentences for name in self.order)
        return one == other


@dataclass(frozen=True, slots=True)
class Sheet:
    """Videos with the answers of methods.

    Args:
        methods: the two that are graded; their answers stand in `Item.order` by a draw.
        items: in the order of the page.
        made_from: what it was made from and by which settings, JSON values; the same gives the same sheet.
        counts: of the videos that it was drawn from.
    """

    methods: tuple[str, str]
    items: tuple[Item, ...]
    made_from: Mapping[str, Any]
    counts: Mapping[str, Any]

    @property
    def id(self) -> str:
        """Give a hash of all that is graded, and where it stands."""
        shown = [(i.doc_id, i.title, i.order, [i.answers[name].sentences for name in i.order]) for i in self.items]
        return hash_bytes(json.dumps([self.methods, shown]).encode())[:16]

    @property
    def all_methods(self) -> tuple[str, ...]:
        """Give the names of the graded methods and of those that the proxy alone measures."""
        known = self.items[0].answers if self.items else ()
        return (*self.methods, *sorted(name for name in known if name not in self.methods))


def make_sheet(
    videos: Sequence[SpokenVideo],
    answers: Mapping[str, Sequence[Answer]],
    methods: tuple[str, str],
    *,
    seed: int,
    made_from: Mapping[str, Any],
    counts: Mapping[str, Any],
) -> Sheet:
    """Give the sheet of some videos.

    Languages and answers come in an order drawn by the seed and the ids, the same on every machine.

    Args:
        videos: what was drawn.
        answers: by method, in the order of the videos; those of both graded methods, and of others for the proxy.
        methods: the two that are graded.
        seed: of both draws.
        made_from: as in `Sheet`.
        counts: as in `Sheet`.
    """
    items = []
    for number, video in enumerate(videos):
        swapped = _draw(seed, "answers", video.doc_id) % 2
        order = methods[::-1] if swapped else methods
        transcript = video.transcript[:_SHOWN_TRANSCRIPT]
        hidden = len(video.transcript) - len(transcript)
        given = {name: found[number] for name, found in answers.items()}
        item = Item(video.doc_id, video.title or "", language_of(video.transcript), transcript, hidden, order, given)
        items.append(item)
    items.sort(key=lambda item: _draw(seed, "videos", item.doc_id))
    return Sheet(methods, tuple(items), made_from, counts)


def save_sheet(sheet: Sheet, path: Path) -> None:
    """Write a sheet as JSON, atomically."""
    value: dict[str, Any] = {"format_version": FORMAT_VERSION, "id": sheet.id} | asdict(sheet)
    for item in value["items"]:
        for answer in item["answers"].values():
            answer["proxy"] = {k: None if math.isnan(v) else v for k, v in answer["proxy"].items()}
    write_json(path, value)


def load_sheet(path: Path) -> Sheet:
    """Read a sheet that `save_sheet` wrote.

    Raises:
        DataError: the file is missing, is no sheet, or was changed by hand.
    """
    value = read_json(path)
    if not isinstance(value, dict) or value.get("format_version") != FORMAT_VERSION:
        raise DataError(f"{path}: no sheet of format {FORMAT_VERSION}; make it anew in another folder")
    try:
        items = tuple(_item(item) for item in value["items"])
        sheet = Sheet(tuple(value["methods"]), items, value["made_from"], value["counts"])
        whole = value["id"] == sheet.id and all(set(i.order) == set(sheet.methods) for i in items)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{path}: a damaged sheet; make it anew in another folder") from error
    if not whole:
        raise DataError(f"{path}: the sheet was changed after it was made; make it anew in another folder")
    return sheet


def _item(value: dict[str, Any]) -> Item:
    answers = {}
    for name, found in value["answers"].items():
        proxy = Proxy(**{k: math.nan if v is None else float(v) for k, v in found["proxy"].items()})
        answers[name] = Answer(tuple(found["sentences"]), found["chosen_by"], found["fallback"], proxy)
    order = value["order"]
    texts = (value["doc_id"], value["title"], value["language"], value["transcript"])
    if not all(isinstance(text, str) for answer in answers.values() for text in (*texts, *answer.sentences)):
        raise TypeError("a text is no string")
    return Item(*texts, int(value["hidden_chars"]), (order[0], order[1]), answers)


def _draw(seed: int, what: str, doc_id: str) -> int:
    return int(hash_bytes(what.encode(), str(seed).encode(), doc_id.encode("utf-8", "surrogatepass")), 16)
