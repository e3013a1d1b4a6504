"""Make pairs of what was chosen elsewhere: to teach a small model what a large one picks, or what people like."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from mmsearch.data.formats import Cells, jsonl_rows
from mmsearch.data.lines import Unreadable
from mmsearch.data.media import MediaLimits
from mmsearch.data.tables import read_videos
from mmsearch.data.transcripts import transcript_text
from mmsearch.errors import DataError, TableError
from mmsearch.files import replacing
from mmsearch.sentences.grading.answers import CUT
from mmsearch.sentences.grading.grades import GradeFile
from mmsearch.sentences.grading.sheet import SIDES, load_sheet

#: Key sentences by doc_id.
Chosen = Mapping[str, Sequence[str]]
_log = logging.getLogger(__name__)


def chosen_by(path: Path, methods: Collection[str]) -> Chosen:
    """Give what some methods chose, from what `mmsearch sentences extract` printed.

    Args:
        path: JSON Lines of `doc_id`, `method`, `sentences`. Several runs may stand one behind the other; of a video the
            first counts that is of these methods.
        methods: `select` alone leaves out the `greedy` sentences that it fell back to.

    Raises:
        TableError: `FILE:LINE: what is wrong`.
    """
    wanted: dict[str, list[str]] = {}
    for doc_id, method, sentences in _rows(path):
        if method in methods and sentences:
            wanted.setdefault(doc_id, sentences)
    return wanted


def graded_well(folder: Path, min_grade: int = 2) -> Chosen:
    """Give the answers that people graded well, from the folder of a `mmsearch sentences grade`.

    Of two answers for a video the better one counts, of equal ones that of the first method. What `cut` took is left
    out: its last sentence is a piece of one.

    Raises:
        DataError: there is no sheet or no grade in the folder.
        TableError: a line is no grade of the sheet.
    """
    sheet = load_sheet(folder / "sheet.json")
    if not (folder / "grades.jsonl").is_file():
        raise DataError(f"{folder}: has no grades.jsonl; grade the sheet first")
    grades = GradeFile(folder / "grades.jsonl", sheet).grades
    wanted: dict[str, Sequence[str]] = {}
    for item in sheet.items:
        side_of = dict(zip(item.order, SIDES, strict=True))
        best = min_grade - 1
        for method in sheet.methods:
            answer = item.answers[method]
            side = SIDES[0] if item.is_same else side_of[method]
            grade = grades.get((item.doc_id, side), -1)
            if grade > best and answer.sentences and answer.chosen_by != CUT:
                best, wanted[item.doc_id] = grade, answer.sentences
    return wanted


def write_pairs(videos: Path, chosen: Chosen, out: Path) -> int:
    """Write the pairs of the videos that have key sentences, in the order of the videos, atomically.

    Args:
        videos: the videos table; titles and transcripts (`asr`) come from here.
        chosen: their key sentences.
        out: JSON Lines to write: `doc_id`, `title`, `transcript`, `sentences`.

    Returns:
        The number of pairs.

    Raises:
        TableError: a row of the table is wrong.
        DataError: no video of the table has key sentences.
    """
    count = 0
    with replacing(out) as beside, beside.open("w", encoding="utf-8", newline="\n") as file:
        for video in read_videos(videos):
            if video.asr is None or video.doc_id not in chosen:
                continue
            row = {
                "doc_id": video.doc_id,
                "title": video.title,
                "transcript": transcript_text(video.asr, MediaLimits()),
            }
            file.write(json.dumps(row | {"sentences": list(chosen[video.doc_id])}, ensure_ascii=False) + "\n")
            count += 1
        if not count:
            raise DataError(f"{videos}: no video with a transcript is among the {len(chosen)} that have key sentences")
    _log.info("%s: %d pairs", out, count)
    return count


def _rows(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    try:
        for line, row in jsonl_rows(path):
            if isinstance(row, Unreadable):
                raise TableError(path, line, None, row.problem)
            try:
                yield _choice(row)
            except ValueError as error:
                raise TableError(path, line, None, str(error)) from None
    except OSError as error:
        raise TableError(path, None, None, f"cannot be read: {error.strerror or error}") from error


def _choice(row: Cells) -> tuple[str, str, list[str]]:
    doc_id, method, sentences = row.get("doc_id"), row.get("method"), row.get("sentences")
    if not isinstance(doc_id, str) or not isinstance(method, str):
        raise ValueError("doc_id and method are needed, in quotes")
    if not isinstance(sentences, list) or not all(isinstance(one, str) for one in sentences):
        raise ValueError("sentences: a list of texts is needed, as `mmsearch sentences extract` prints it")
    return doc_id, method, sentences
