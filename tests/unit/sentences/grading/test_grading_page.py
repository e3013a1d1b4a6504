"""The page as text: what it holds, and that nothing in it can be markup but its own."""

import base64
import dataclasses
import hashlib
import html.parser
import json
import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.sentences.grading import render
from mmsearch.sentences.grading.page import content_policy, find_marks

ATTACKS = (
    "</script><script>document.title='owned'</script>",
    "<!--<script>",
    "<img src=x onerror=alert(1)>",
    "{{script}}{{sheet}}",
    "\u2028\u2029\u202e\x00\ufffe",
    "' onmouseover='alert(1)",
    "]]>&lt;b&gt;",
)


class Page(html.parser.HTMLParser):
    """The elements of a page, and what its scripts hold."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.names = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.names |= {name for name, _ in attrs}

    def handle_data(self, data):
        if self.lasttag == "script" and data.strip():
            self.scripts.append(data)


def spoiled(sheet, attack):
    items = []
    for item in sheet.items:
        answers = {
            name: dataclasses.replace(answer, sentences=(attack, *answer.sentences))
            for name, answer in item.answers.items()
        }
        texts = {"doc_id": item.doc_id + attack, "title": attack, "transcript": attack + item.transcript}
        items.append(dataclasses.replace(item, answers=answers, **texts))
    return dataclasses.replace(sheet, items=tuple(items))


@pytest.mark.parametrize("attack", ATTACKS)
def test_texts_of_others_never_become_markup(sheet, attack):
    plain, page = Page(render(sheet)), Page(render(spoiled(sheet, attack)))
    assert page.tags == plain.tags
    assert page.names == plain.names
    assert page.scripts[1] == plain.scripts[1]
    shown = json.loads(page.scripts[0])["items"][0]
    assert shown["title"] == attack
    assert shown["answers"][0][0] == attack
    assert len(page.scripts) == 2


def test_the_page_loads_nothing_and_its_policy_names_its_parts(sheet):
    text = render(sheet)
    page = Page(text)
    assert not {"src", "srcset", "action", "style"} & page.names
    assert not {name for name in page.names if name.startswith("on")}
    assert re.findall(r"https?://[^'\"\s]+", text) == ["http://www.w3.org/2000/svg"]
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.S)
    for kind, part in (("script", page.scripts[1]), ("style", style)):
        digest = base64.b64encode(hashlib.sha256(part.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in content_policy()
    assert content_policy() in text
    assert "unsafe" not in content_policy()


def test_the_script_makes_no_markup_of_texts(sheet):
    script = Page(render(sheet)).scripts[1]
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|DOMParser|srcdoc", script)


def test_the_page_does_not_tell_the_methods(sheet):
    text = render(sheet)
    assert "greedy" not in text
    shown = json.loads(Page(text).scripts[0])
    assert shown.keys() == {"id", "items"}
    assert shown["items"][0].keys() == {"doc_id", "title", "transcript", "hidden", "marks", "answers"}
    for item, given_item in zip(shown["items"], sheet.items, strict=True):
        assert item["answers"] == [list(given_item.answers[name].sentences) for name in given_item.order]


@given(st.text("ab😀\n", max_size=30), st.lists(st.tuples(st.integers(0, 30), st.integers(1, 6)), max_size=6))
def test_marks_are_where_the_sentences_are(text, spans):
    chosen = [text[start : start + length] for start, length in spans if text[start : start + length]]
    units = text.encode("utf-16-le")
    marks = find_marks(text, [chosen[:3], chosen[3:], ["zz"]])
    assert marks == sorted(marks)
    assert all(end < start for (_, end), (start, _) in pairwise(marks))
    marked = [units[2 * start : 2 * end].decode("utf-16-le") for start, end in marks]
    assert all(any(sentence in part for part in marked) for sentence in chosen)
