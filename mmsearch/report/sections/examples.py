"""The queries on which one feature gains and loses most against another, with what the videos show."""

from __future__ import annotations

from collections.abc import Sequence

from mmsearch.report.markup import Html, foreign, tag
from mmsearch.report.sections.parts import Section, notice, number, percent, prose
from mmsearch.report.wins import Example, Ranked, WinsAndLosses
from mmsearch.types import Modality

_SHOWN = ((Modality.ASR, "speech"), (Modality.CONTENT_OCR, "on screen"))
_EDGE = 44


def examples(found: WinsAndLosses | None) -> Section:
    """Give wins and losses."""
    title = "Biggest wins and losses"
    if found is None:
        return Section("examples", title, (notice("The index has one feature only: there is nothing to compare."),))
    told = (
        f"{found.challenger} against {found.baseline}: it orders more pairs rightly on {found.num_better:,} queries, "
        f"fewer on {found.num_worse:,}, as many on {found.num_equal:,}. Below are the queries that move most pairs, "
        "with the top of both rankings: cover, middle frame, grade and score of each video."
    )
    body = [prose(told)]
    for head, those in ((f"{found.challenger} wins", found.wins), (f"{found.challenger} loses", found.losses)):
        body.append(tag("h3", head))
        body += [_example(one, found) for one in those] or [prose("On no query.")]
    return Section("examples", title, tuple(body))


def _example(one: Example, found: WinsAndLosses) -> Html:
    before, after = (right / max(1, one.num_pairs) for right in one.right)
    told = f"pairs in the right order: {percent(before)} → {percent(after)} of {one.num_pairs:,}"
    head = tag("h4", tag("q", foreign(one.query)), " ", tag("small", told))
    rankings = ((found.baseline, one.baseline), (found.challenger, one.challenger))
    columns = [tag("div", tag("h5", f"by {name}"), _ranking(videos)) for name, videos in rankings]
    return tag("article", head, tag("div", columns, class_="versus"), class_="example")


def _ranking(videos: Sequence[Ranked]) -> Html:
    return tag("ol", [tag("li", _video(video)) for video in videos], class_="ranking")


def _video(video: Ranked) -> list[Html]:
    texts = video.entry.texts
    title = texts.get(Modality.TITLE)
    lines = [tag("b", foreign(title, 70)) if title else tag("i", "no title")]
    for modality, name in _SHOWN:
        if modality in texts:
            lines.append(tag("small", f"{name}: ", foreign(texts[modality], 70)))
    score = "no score" if video.score is None else number(video.score, 3)
    return [
        tag("span", _picture(video.entry.cover, "cover"), _picture(video.entry.frame, "frame"), class_="pictures"),
        tag("span", lines, tag("small", foreign(video.doc_id, 40), class_="id"), class_="words"),
        tag("span", _badge(video.grade), tag("small", score), class_="marks"),
    ]


def _picture(uri: str | None, what: str) -> Html:
    if uri is None:
        return tag("span", f"no {what}", class_="nothing")
    return tag("img", src=uri, alt=what, width=_EDGE, height=_EDGE)


def _badge(grade: int) -> Html:
    return tag("span", str(grade), class_=f"badge grade{min(4, grade)}", title=f"grade {grade}")
