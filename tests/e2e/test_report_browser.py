"""The report in a real browser: it asks nobody for anything, hostile texts do nothing, and it fits a phone.

Chromium is driven through chromedriver (WebDriver and the DevTools protocol over HTTP); nothing beyond the standard
library is needed here. Without the two programs the tests skip. `MMSEARCH_SCREENSHOTS` names a folder for the pictures.
"""

import base64
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mmsearch.cli.main import app

PHONE = (375, 812)


@pytest.fixture(scope="module")
def page(hostile):
    out = hostile / "browser.html"
    words = ["report", hostile / "run", "--out", out, "--index", hostile / "index"]
    words += ["--judgments", hostile / "judgments.jsonl", "resamples=100"]
    assert CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False).exit_code == 0
    return out


def keep(browser, name):
    """Write a screenshot of the whole page where the environment asks for it."""
    if "MMSEARCH_SCREENSHOTS" in os.environ:
        taken = browser.devtools("Page.captureScreenshot", {"captureBeyondViewport": True})
        Path(os.environ["MMSEARCH_SCREENSHOTS"], f"{name}.png").write_bytes(base64.b64decode(taken["data"]))


def test_nothing_is_asked_of_anybody(browser, page):
    browser.open(page)
    assert browser.requests() == ([page.as_uri()], [])
    assert browser.logs("browser") == []  # no error, and nothing that the policy had to refuse


def test_hostile_texts_do_nothing(browser, page):
    browser.open(page)
    title = browser.run("return document.title")
    browser.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert title == f"Ranking report: {page.parent.name}/run"
    assert browser.run("return document.querySelectorAll('script, [onerror], [onload], [onmouseover]').length") == 0
    shown = browser.run("return document.querySelector('#examples').innerText")
    assert "<script>document.title='owned'</script>" in shown


def test_the_policy_holds_even_against_markup_that_got_in(browser, page, tmp_path):
    """The second wall: a script, a handler, a style and pictures put into the file are all refused."""
    attack = (
        "<script>document.title='owned'</script><img src=x: onerror=\"document.title='owned'\">"
        "<p id=attack style='color: rgb(1, 2, 3)'>x</p><img src='http://127.0.0.1:9/a.png'>"
    )
    text = page.read_text(encoding="utf-8").replace("<main>", f"<main>{attack}", 1)
    broken = tmp_path / "broken.html"
    broken.write_text(text, encoding="utf-8")
    browser.open(broken)
    assert browser.run("return document.title") == f"Ranking report: {page.parent.name}/run"
    assert browser.run("return getComputedStyle(document.querySelector('#attack')).color") != "rgb(1, 2, 3)"
    asked, refused = browser.requests()
    assert [url for url in asked if url not in refused] == [broken.as_uri()]
    assert "http://127.0.0.1:9/a.png" in refused
    assert len(browser.logs("browser")) >= 3


@pytest.mark.parametrize("unfolded", [False, True])
def test_the_page_fits_a_phone(browser, page, unfolded):
    browser.open(page, PHONE)
    if unfolded:
        browser.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    keep(browser, f"phone{'-unfolded' if unfolded else ''}")
    wide = """return [...document.querySelectorAll('body *')]
        .filter(one => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest('svg'))
        .map(one => one.outerHTML.slice(0, 120))"""
    assert browser.run(wide) == []
    assert browser.run("return document.documentElement.scrollWidth") <= PHONE[0]
    smallest = """return Math.min(...[...document.querySelectorAll('svg text')].map(one =>
        parseFloat(getComputedStyle(one).fontSize) * one.getScreenCTM().a))"""
    assert browser.run(smallest) >= 10  # pixels: charts are not shrunk until nobody can read them


def test_letters_of_charts_stay_within_them(browser, page):
    browser.open(page)
    outside = """return [...document.querySelectorAll('svg text')].filter(one => {
        const own = one.getBoundingClientRect(), chart = one.closest('svg').getBoundingClientRect()
        return own.left < chart.left - 2 || own.right > chart.right + 2 || own.bottom > chart.bottom + 2
    }).map(one => one.textContent)"""
    assert browser.run(outside) == []


def test_every_section_has_something_to_see(browser, page):
    browser.open(page)
    keep(browser, "desktop")
    sections = browser.run("""return Object.fromEntries([...document.querySelectorAll('section')].map(
        one => [one.id, one.querySelectorAll('svg, table, article').length]))""")
    assert len(sections) == 13
    assert [name for name, count in sections.items() if not count] == []
    broken = "return [...document.images].filter(one => !one.naturalWidth).length"
    assert browser.run(broken) == 0
    assert browser.run("return document.images.length") > 0
    charts = (
        "return [...document.querySelectorAll('svg')].every(one => one.querySelector('title').textContent.length > 20)"
    )
    assert browser.run(charts)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_their_background(browser, page, scheme):
    """WCAG AA: a contrast of 4.5 for every text."""
    browser.open(page, prefers_color_scheme=scheme)
    keep(browser, scheme)
    faint = """
        const channel = v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4
        const luminance = c => { const [r, g, b] = c.match(/[0-9.]+/g).slice(0, 3).map(v => channel(v / 255))
            return 0.2126 * r + 0.7152 * g + 0.0722 * b }
        const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor
            if (!/, 0\\)$/.test(c)) return c } return 'rgb(255, 255, 255)' }
        const own = e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())
        return [...document.querySelectorAll('body *')].filter(own).filter(e => {
            const style = getComputedStyle(e), a = luminance(e.closest('svg') ? style.fill : style.color)
            const b = luminance(behind(e)), ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)
            return e.tagName !== 'title' && ratio < 4.5
        }).map(e => e.outerHTML.slice(0, 100))"""
    assert browser.run(faint)[:3] == []


def test_it_prints_on_pages(browser, page):
    browser.open(page)
    printed = browser.devtools("Page.printToPDF", {"preferCSSPageSize": True})
    assert base64.b64decode(printed["data"]).startswith(b"%PDF-")
