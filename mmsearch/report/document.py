"""The frame of every page of ours: one file with its own style sheet."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from mmsearch.report.markup import Child, Html, tag
from mmsearch.report.sections.parts import Section

#: A blue square; without an icon of its own a page that is served asks the server for one.
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'%3E"
    "%3Crect width='8' height='8' rx='2' fill='%230072b2'/%3E%3C/svg%3E"
)


def document(title: str, body: Child) -> str:
    """Give a whole page.

    It loads nothing and runs nothing: a Content-Security-Policy lets in pictures that are part of the page and the one
    style sheet whose hash it names, and no script at all.
    """
    style = files("mmsearch.report").joinpath("page.css").read_text(encoding="utf-8")
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_policy(style)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("link", rel="icon", href=_ICON),
        tag("title", title),
        Html(f"<style>{style}</style>"),
    ]
    return "<!doctype html>\n" + tag("html", tag("head", head), tag("body", body), lang="en").text + "\n"


def contents(sections: Sequence[Section]) -> Html:
    """Give the list of sections, with links."""
    links = [tag("li", tag("a", section.title, href=f"#{section.name}")) for section in sections]
    return tag("nav", tag("ul", links), id="sections", aria_label="Sections")


def drawn(section: Section) -> Html:
    """Draw a section with its heading, and a link to the list of sections."""
    up = tag("a", "sections", href="#sections", class_="up")
    return tag("section", up, tag("h2", section.title), section.body, id=section.name)


def _policy(style: str) -> str:
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    return f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
