"""Make pairs of what another extractor chose: to teach a small model what a large one picks, or what people like."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TypeVar

from mmsearch.data.formats import Cells, jsonl_rows
from mmsearch.data.lines import Unreadable
from mmsearch.data.media import MediaLimits
from mmsearch.data.tables import read_videos
from mmsearch.data.transcripts import transcript_text
from mmsearch.errors import DataError, TableError
from mmsearch.files import replacing

T = TypeVar("T")
_log = logging.getLogger(__name__)


def write_pairs(
    videos: Path,
    chosen: Path,
    out: Path,
    *,
    methods: Collection[str] = ("select",),
    grades: Path | None = None,
    min_grade: float = 2.0,
) -> int:
    """Write the pairs of the videos whose sentences were chosen well, in the order of the videos.

    Args:
        videos: the videos table; titles and transcripts (`asr`) come from here.
        chosen: what `mmsearch sentences extract` printed: JSON Lines of `doc_id`, `method`, `sentences`. Several runs
            may stand one behind the other; of those of a video the first counts that is of these methods and grades.
        out: JSON Lines to write, atomically: `doc_id`, `title`, `transcript`, `sentences`.
        methods: what counts of `chosen`. `greedy` sentences that a model fell back to are thus left out.
        grades: JSON Lines of `doc_id`, `method`, `grade`; then only what was graded counts.
        min_grade: least mean grade.

    Returns:
        The number of pairs.

    Raises:
        TableError: `FILE:LINE: column: what is wrong`.
        DataError: no video has sentences that count.
    """
    graded = None if grades is None else _mean_grades(grades)
    wanted: dict[str, list[str]] = {}
    for doc_id, method, sentences in _rows(chosen, _choice):
        good = graded is None or graded.get((doc_id, method), -1.0) >= min_grade
        if method in methods and good and sentences:
            wanted.setdefault(doc_id, sentences)
    count = 0
    with replacing(out) as beside, beside.open("w", encoding="utf-8", newline="\n") as file:
        for video in read_videos(videos):
            if video.asr is None or video.doc_id not in wanted:
                continue
            row = {
                "doc_id": video.doc_id,
                "title": video.title,
                "transcript": transcript_text(video.asr, MediaLimits()),
            }
            file.write(json.dumps(row | {"sentences": wanted[video.doc_id]}, ensure_ascii=False) + "\n")
            count += 1
        if not count:
            told = f"method {' or '.join(methods)}" + (f", graded {min_grade:g} or more" if grades else "")
            raise DataError(f"{chosen}: no sentences ({told}) of a video of {videos} that has a transcript")
    _log.info("%s: %d pairs", out, count)
    return count


def _mean_grades(path: Path) -> dict[tuple[str, str], float]:
    """Average the grades of each video and method: several people may have graded it."""
    found: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for doc_id, method, grade in _rows(path, _grade):
        found[doc_id, method].append(grade)
    return {key: sum(grades) / len(grades) for key, grades in found.items()}


def _rows(path: Path, read: Callable[[Cells], T]) -> Iterator[T]:
    try:
        for line, row in jsonl_rows(path):
            if isinstance(row, Unreadable):
                raise TableError(path, line, None, row.problem)
            try:
                yield read(row)
            except ValueError as error:
                raise TableError(path, line, None, str(error)) from None
    except OSError as error:
        raise TableError(path, None, None, f"cannot be read: {error.strerror or error}") from error


def _choice(row: Cells) -> tuple[str, str, list[str]]:
    doc_id, method = _names(row)
    sentences = row.get("sentences")
    if not isinstance(sentences, list) or not all(isinstance(one, str) for one in sentences):
        raise ValueError("sentences: a list of texts is needed, as `mmsearch sentences extract` prints it")
    return doc_id, method, sentences


def _grade(row: Cells) -> tuple[str, str, float]:
    grade = row.get("grade")
    if isinstance(grade, bool) or not isinstance(grade, int | float):
        raise ValueError("grade: a number is needed")
    return *_names(row), float(grade)


def _names(row: Cells) -> tuple[str, str]:
    doc_id, method = row.get("doc_id"), row.get("method")
    if not isinstance(doc_id, str) or not isinstance(method, str):
        raise ValueError("doc_id and method are needed, in quotes")
    return doc_id, method
