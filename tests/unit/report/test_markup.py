"""Texts can never become markup."""

import html.parser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.report.markup import Html, foreign, is_chinese, join, tag


class Texts(html.parser.HTMLParser):
    """What a browser would take as text, and the tags around it."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.found, self.tags, self.values = [], [], []
        self.feed(text)
        self.close()

    def handle_data(self, data):
        self.found.append(data)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.values += [value for _, value in attrs]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc", "Cf"])))
def test_any_text_comes_back_as_text(text):
    seen = Texts(tag("p", text, title=text).text)
    assert "".join(seen.found) == text
    assert seen.tags == ["p"]
    assert seen.values == [text]


@given(st.text())
def test_no_text_makes_a_tag(text):
    page = foreign(text).text
    assert Texts(page).tags == ["bdi"]
    page.encode("utf-8")  # half surrogates would not do


def test_children_may_be_nested_and_absent():
    inner = tag("b", "x<y")
    assert tag("p", "a&b", [inner, None, ["c", inner]]).text == "<p>a&amp;b<b>x&lt;y</b>c<b>x&lt;y</b></p>"
    assert join([]) == Html("")
    assert tag("br").text == "<br>"


def test_attributes_are_named_as_in_html_and_numbers_are_short():
    assert tag("line", x1=1 / 3, x2=2.0, y1=7, class_="a", stroke_width=1, id=None).text == (
        '<line x1="0.3" x2="2" y1="7" class="a" stroke-width="1"></line>'
    )
    assert tag("meta", name="x").text == '<meta name="x">'


@pytest.mark.parametrize("name", ["a b", "a>", "", "1a", "ä"])
def test_names_that_are_none_are_refused(name):
    with pytest.raises(ValueError, match="not the name"):
        tag(name)
    with pytest.raises(ValueError, match="not the name"):
        tag("p", **{name or " ": "x"})


def test_foreign_texts_are_cut_isolated_and_marked():
    assert foreign("大熊猫  吃\n竹子").text == '<bdi lang="zh-Hans">大熊猫 吃 竹子</bdi>'
    assert foreign("abcdef", 4).text == "<bdi>abc…</bdi>"
    assert "\u202e" not in foreign("a\u202eb").text
    assert not is_chinese("red panda")
    assert is_chinese("red 熊")
