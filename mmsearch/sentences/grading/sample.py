"""Draw the videos of a sheet: by a hash of their ids, language by language, in one pass over a table of any length."""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from mmsearch.files import hash_bytes
from mmsearch.sentences.extract import SpokenVideo

#: `chinese`: at least 3 in 10 of its letters are Han characters.
Language = Literal["chinese", "other"]
#: How many videos of each language: as they occur, or alike.
Balance = Literal["proportional", "equal"]

_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_LOOKED_AT = 4096
_HAN_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Sample:
    """The videos drawn, by language and within it in the order of the draw, and what they were drawn from.

    Args:
        videos: their transcripts are cut at the bound that was given.
        seen: videos with a transcript.
        untitled: of these, those without a title: nobody can tell what their key sentences should be about.
        short: of the titled, those whose whole transcript fits the budget: there is nothing to choose.
        eligible: the others, by language.
    """

    videos: tuple[SpokenVideo, ...]
    seen: int
    untitled: int
    short: int
    eligible: Mapping[Language, int]


def draw(
    videos: Iterable[SpokenVideo],
    number: int,
    *,
    seed: int = 0,
    balance: Balance = "proportional",
    longer_than: int = 0,
    max_transcript_chars: int = 500_000,
) -> Sample:
    """Draw videos whose key sentences are worth grading.

    Of each language the videos with the lowest hash of (seed, doc_id) are taken, so that the draw does not depend on
    the order of the table, and more videos of the same table hold those of fewer. Memory: `number` transcripts a
    language.

    Args:
        videos: in any order, ids different.
        number: how many to draw, 1 or more; fewer come where there are fewer.
        seed: of the draw.
        balance: `proportional`: each language gets its share of the eligible videos, one at least. `equal`: each
            gets as many as the other, as far as there are so many.
        longer_than: a transcript of no more characters is short.
        max_transcript_chars: what lies behind is dropped.
    """
    held: dict[Language, list[tuple[int, int, SpokenVideo]]] = {}
    seen: Counter[str] = Counter()
    for video in videos:
        kind = _kind(video, longer_than)
        seen.update(["all", kind])
        if kind in ("untitled", "short"):
            continue
        heap = held.setdefault(language_of(video.transcript), [])
        entry = (-_drawn(seed, video.doc_id), -seen["all"], _cleaned(video, max_transcript_chars))
        if len(heap) < number:
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)
        seen.update([language_of(video.transcript)])
    eligible: dict[Language, int] = {name: seen[name] for name in sorted(held)}
    taken = allocate(eligible, number, balance)
    chosen = [entry[2] for name in eligible for entry in sorted(held[name], reverse=True)[: taken[name]]]
    return Sample(tuple(chosen), seen["all"], seen["untitled"], seen["short"], eligible)


def allocate(eligible: Mapping[Language, int], number: int, balance: Balance) -> dict[Language, int]:
    """Divide a number of videos between languages; see `draw`.

    `proportional` gives by largest remainders, ties to the first name; nobody gets more than there are.
    """
    total = sum(eligible.values())
    number = min(number, total)
    if balance == "proportional":
        wanted = {name: number * count / total for name, count in eligible.items()}
    else:
        wanted = {name: number / len(eligible) for name in eligible}
    least = 1 if number >= len(eligible) else 0
    taken = {name: min(max(int(wanted[name]), least), count) for name, count in eligible.items()}
    while (missing := number - sum(taken.values())) != 0:
        step = 1 if missing > 0 else -1
        open_to = [n for n in eligible if (taken[n] < eligible[n] if step > 0 else taken[n] > least)]
        name = max(open_to, key=lambda n: step * (wanted[n] - taken[n]))
        taken[name] += step
    return taken


def language_of(text: str) -> Language:
    """Tell the language of a transcript from its first 4,096 characters."""
    head = text[:_LOOKED_AT]
    letters = sum(character.isalpha() for character in head)
    return "chinese" if letters and len(_HAN.findall(head)) >= _HAN_SHARE * letters else "other"


def _kind(video: SpokenVideo, longer_than: int) -> str:
    if not (video.title or "").strip():
        return "untitled"
    return "long" if len(video.transcript.strip()) > longer_than else "short"


def _drawn(seed: int, doc_id: str) -> int:
    return int(hash_bytes(b"grading", str(seed).encode(), doc_id.encode("utf-8", "surrogatepass")), 16)


def _cleaned(video: SpokenVideo, most: int) -> SpokenVideo:
    """Cut the transcript; halves of characters, which a JSON table may hold, become question marks."""
    doc_id, title, transcript = (
        text.encode("utf-8", "replace").decode() for text in (video.doc_id, video.title or "", video.transcript[:most])
    )
    return SpokenVideo(doc_id, title, transcript)
