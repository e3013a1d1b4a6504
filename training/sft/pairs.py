"""Pairs of a transcript and its key sentences, from JSON Lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmsearch.data.formats import Cells, jsonl_rows
from mmsearch.data.lines import Unreadable
from mmsearch.data.schema import RowError
from mmsearch.data.values import doc_id as as_doc_id
from mmsearch.data.values import shown, text
from mmsearch.errors import TableError
from mmsearch.files import hash_bytes
from mmsearch.sentences import SentenceSettings, split_sentences


@dataclass(frozen=True, slots=True)
class Pair:
    """A transcript and what is to be picked of it.

    Args:
        name: its document id, or `FILE:LINE`.
        title: of the video; None = it has none.
        transcript: verbatim.
        sentences: of the transcript, as they are split.
        chosen: numbers of the key sentences, from 0, in the order of the file.
    """

    name: str
    title: str | None
    transcript: str
    sentences: tuple[str, ...]
    chosen: tuple[int, ...]


def read_pairs(path: Path, settings: SentenceSettings) -> list[Pair]:
    """Read all pairs of a file.

    Args:
        path: JSON Lines with `transcript`; `sentence_ids`, numbers of the sentences from 0 as `split_sentences` gives
            them with these settings, or `sentences`, the same verbatim, which does not depend on the splitting; and
            if known `doc_id`, `title`. The order of the sentences is the order in which a model is taught to name them:
            the most important first. Other columns are not read.
        settings: how transcripts are split, and the budget.

    Raises:
        TableError: `FILE:LINE: column: what is wrong`: also where the sentences do not fit the budget together.
    """
    try:
        return [_pair(path, line, row, settings) for line, row in jsonl_rows(path)]
    except OSError as error:
        raise TableError(path, None, None, f"cannot be read: {error.strerror or error}") from error


def split_off(pairs: Sequence[Pair], share: float) -> tuple[list[Pair], list[Pair]]:
    """Split pairs into those to learn and a share to validate on.

    A hash of the transcript decides: the same transcript never stands on both sides, and a pair stays on its side when
    others are added.
    """
    learned: list[Pair] = []
    held: list[Pair] = []
    for pair in pairs:
        place = int(hash_bytes(b"validation", pair.transcript.encode())[:8], 16) / 16**8
        (held if place < share else learned).append(pair)
    return learned, held


def _pair(path: Path, line: int, row: Cells | Unreadable, settings: SentenceSettings) -> Pair:
    if isinstance(row, Unreadable):
        raise TableError(path, line, None, row.problem)
    try:
        transcript = _text(row, "transcript")
        if transcript is None:
            raise RowError("transcript", "a pair needs one")
        sentences = split_sentences(transcript[: settings.max_transcript_chars], settings.max_sentence_chars)
        name = _doc_id(row) or f"{path}:{line}"
        chosen = _chosen(row, sentences)
        _check_budget(chosen, sentences, settings.max_chars)
        return Pair(name, _text(row, "title"), transcript, tuple(sentences), tuple(chosen))
    except RowError as error:
        raise TableError(path, line, error.column, error.problem) from None


def _text(row: Cells, column: str) -> str | None:
    value = row.get(column)
    if value is None:
        return None
    try:
        return text(value) if not isinstance(value, str) or value.strip() else None
    except ValueError as error:
        raise RowError(column, str(error)) from None


def _doc_id(row: Cells) -> str | None:
    try:
        return None if row.get("doc_id") is None else as_doc_id(row["doc_id"])
    except ValueError as error:
        raise RowError("doc_id", str(error)) from None


def _chosen(row: Cells, sentences: Sequence[str]) -> list[int]:
    column = "sentence_ids" if row.get("sentence_ids") is not None else "sentences"
    value = row.get(column)
    if not isinstance(value, list) or not value:
        raise RowError(column, f"{shown(value)} is no list of sentences; give sentence_ids or sentences")
    if column == "sentences":
        return list(_numbers_of(value, sentences))
    for number in value:
        if type(number) is not int or not 0 <= number < len(sentences):
            raise RowError(column, f"{shown(number)} is no sentence; the transcript has 0 … {len(sentences) - 1}")
        if value.count(number) > 1:
            raise RowError(column, f"{number} stands there twice")
    return value


def _numbers_of(wanted: list[object], sentences: Sequence[str]) -> Iterator[int]:
    """Find sentences by their words; of those that are said twice, the next that is not taken yet."""
    free: dict[object, list[int]] = {}
    for number, sentence in reversed(list(enumerate(sentences))):
        free.setdefault(sentence, []).append(number)
    for one in wanted:
        found = free.get(one.strip()) if isinstance(one, str) else None
        if not found:
            problem = f"{shown(one)} is no sentence of the transcript as it is split (see sentences.max_sentence_chars)"
            raise RowError("sentences", problem)
        yield found.pop()


def _check_budget(chosen: Sequence[int], sentences: Sequence[str], budget: int) -> None:
    length = sum(len(sentences[number]) for number in chosen) + len(chosen) - 1
    if length > budget:
        problem = f"the sentences have {length} characters, line ends included; the budget is {budget}"
        raise RowError(None, f"{problem} (sentences.max_chars)")
