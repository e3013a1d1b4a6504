"""Grading in a real browser, by keyboard, with a server that is killed; hostile texts; phones; contrast."""

import base64
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = "from mmsearch import logs; from mmsearch.cli.sentences import app; logs.set_up(); app()"
ATTACK = "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
UP, DOWN, LEFT, RIGHT, BACKSPACE = "\ue013", "\ue015", "\ue012", "\ue014", "\ue003"
PHONE = (375, 812)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("grading")
    rows = []
    for number in range(6):
        lines = [f"{ATTACK} says line {line} of {number}. \u202eabc" for line in range(5)]
        lines += [f"The {thing} {number} {'W' * 90} of the house." for thing in ("kettle", "garden", "red door")]
        rows.append({"doc_id": f"v{number}\"'<b>", "title": f"{ATTACK} the red door 红门", "asr": "\n".join(lines)})
    (out / "videos.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return out


class Served:
    """The command, serving."""

    def __init__(self, folder, name, port=0):
        words = [
            "grade",
            folder / "videos.jsonl",
            "--out",
            folder / name,
            "--port",
            port,
            "--json",
            "segmenter=bigrams",
        ]
        command = [sys.executable, "-c", COMMAND, *map(str, words)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        told = []
        for line in self.process.stderr:
            told.append(line)
            if found := re.search(r"http://127\.0\.0\.1:(\d+)/\w+/", line):
                break
        else:
            pytest.fail("".join(told))
        self.url, self.port = found.group(), int(found.group(1))
        self.grades = folder / name / "grades.jsonl"

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def serve(folder):
    started = []

    def start(name, port=0):
        started.append(Served(folder, name, port))
        return started[-1]

    yield start
    for one in started:
        one.end()


def wait(browser, script, wanted):
    until = time.monotonic() + 30
    while (found := browser.run(f"return {script}")) != wanted:
        assert time.monotonic() < until, (script, found, wanted)
        time.sleep(0.05)


STATUS = "document.querySelector('#status').innerText"
POSITION = "document.querySelector('#position').innerText"
GRADED = "document.querySelector('#progress-text').innerText"


def keep(browser, name):
    """Write a screenshot where the environment asks for it."""
    if "MMSEARCH_SCREENSHOTS" in os.environ:
        taken = browser.devtools("Page.captureScreenshot")
        Path(os.environ["MMSEARCH_SCREENSHOTS"], f"{name}.png").write_bytes(base64.b64decode(taken["data"]))


def test_grading_by_keyboard_outlives_kill_9(browser, serve):
    served = serve("killed")
    browser.open(served.url)
    wait(browser, POSITION, "Video 1 of 6")
    for number, key in enumerate("2012", 1):
        browser.press(key)
        wait(browser, GRADED, f"{number} of 12 graded")
    wait(browser, POSITION, "Video 3 of 6")
    wait(browser, STATUS, "Saved")
    browser.press(LEFT)
    wait(browser, POSITION, "Video 2 of 6")
    browser.press(DOWN, BACKSPACE)
    wait(browser, GRADED, "3 of 12 graded")
    browser.press(UP, "0")  # first answer again, and back at the second
    wait(browser, STATUS, "Saved")
    served.process.kill()
    served.process.wait()
    before = [json.loads(line)["grade"] for line in served.grades.read_text().splitlines()]
    assert before == [2, 0, 1, 2, None, 0]

    browser.press("1")  # nobody is there to save it
    wait(browser, "document.querySelector('#status').className", "bad")
    again = serve("killed", served.port)
    assert again.url == served.url
    wait(browser, STATUS, "Saved")  # the page that was open goes on by itself
    browser.open(again.url)
    wait(browser, POSITION, "Video 3 of 6")
    wait(browser, GRADED, "4 of 12 graded")
    for number in range(5, 13):
        browser.press("2")
        wait(browser, GRADED, f"{number} of 12 graded")
    wait(browser, "document.querySelector('#end-title').innerText", "Everything is graded. Thank you.")
    browser.run("document.querySelector('#finish').click()")
    printed, _ = again.process.communicate(timeout=60)
    assert again.process.returncode == 0
    human = json.loads(printed)["human"]
    assert human["graded"] == 6
    total = [sum(found["grades"][grade] for found in human["methods"].values()) for grade in range(3)]
    assert total == [2, 1, 9]


def test_a_closed_page_loses_nothing_that_could_not_be_sent(browser, serve):
    served = serve("closed")
    browser.open(served.url)
    wait(browser, POSITION, "Video 1 of 6")
    served.process.kill()
    served.process.wait()
    browser.press("1")
    wait(browser, "document.querySelector('#status').className", "bad")
    browser.open("about:blank")
    assert not served.grades.exists()
    again = serve("closed", served.port)
    browser.open(again.url)
    wait(browser, STATUS, "Saved")
    assert json.loads(again.grades.read_text())["grade"] == 1


def test_the_page_alone_keeps_grades_and_gives_them(browser, serve, folder):
    serve("alone").end()
    browser.open(folder / "alone" / "page.html")
    wait(browser, POSITION, "Video 1 of 6")
    browser.press("2", "1", "0")
    wait(browser, GRADED, "3 of 12 graded")
    until = time.monotonic() + 30
    while True:  # the browser keeps what a page stored a moment later, for the process of the next page
        browser.open(folder / "alone" / "page.html")
        time.sleep(0.3)
        if (found := browser.run(f"return {GRADED}")) == "3 of 12 graded":
            break
        assert time.monotonic() < until, found
    browser.press(*[RIGHT] * 6)
    text = browser.run("return allRows().map(row => JSON.stringify(row) + '\\n').join('')")
    link = browser.run("const a = document.querySelector('#download'); return [a.hidden, a.download, a.protocol]")
    assert link == [False, "grades.jsonl", "blob:"]
    (folder / "alone" / "grades.jsonl").write_text(text, encoding="utf-8")
    words = [sys.executable, "-c", COMMAND, "grade", str(folder / "alone"), "--no-serve", "--json"]
    printed = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert json.loads(printed)["human"]["graded"] == 1


def test_hostile_texts_do_nothing_and_nobody_is_asked(browser, serve):
    served = serve("hostile")
    browser.open(served.url)
    wait(browser, POSITION, "Video 1 of 6")
    assert browser.run("return document.title") == "Grade key sentences"
    assert browser.run("return document.querySelectorAll('img, [onerror]').length") == 0
    assert browser.run("return document.querySelectorAll('script').length") == 2
    assert ATTACK in browser.run("return document.querySelector('#title').innerText")
    assert ATTACK in browser.run("return document.querySelector('#transcript').innerText")
    assert browser.requests() == ([served.url, f"{served.url}grades"], [])
    assert browser.logs("browser") == []


def test_the_policy_holds_even_against_a_script_that_got_in(browser, serve):
    browser.open(serve("policy").url)
    wait(browser, POSITION, "Video 1 of 6")
    refused = """
        const made = document.createElement('script')
        let told = []
        try { made.textContent = "document.title = 'owned'" } catch (error) { told.push(error.name) }
        try { document.body.innerHTML = '<img src=x>' } catch (error) { told.push(error.name) }
        document.body.append(made)
        return [...told, document.title]"""
    assert browser.run(refused) == ["TypeError", "TypeError", "Grade key sentences"]
    outside = "return fetch('http://localhost:9/').then(() => 'sent', error => error.name)"
    assert browser.run(outside) == "TypeError"
    assert any("violates" in entry["message"] for entry in browser.logs("browser"))


@pytest.mark.parametrize("unfolded", [False, True])
def test_the_page_fits_a_phone(browser, serve, unfolded):
    browser.open(serve("phone").url, PHONE)
    wait(browser, POSITION, "Video 1 of 6")
    browser.run(f"document.querySelector('#help').open = {json.dumps(unfolded)}")
    keep(browser, f"grading-phone-{unfolded}")
    wide = """return [...document.querySelectorAll('body *')]
        .filter(one => one.getBoundingClientRect().right > innerWidth + 1).map(one => one.outerHTML.slice(0, 120))"""
    assert browser.run(wide) == []
    assert browser.run("return document.documentElement.scrollWidth") <= PHONE[0]
    small = """return [...document.querySelectorAll('button')].filter(one => one.offsetParent)
        .map(one => one.offsetHeight).filter(height => height < 44)"""
    assert browser.run(small) == []
    if not unfolded:
        assert browser.run("return document.querySelector('#back').offsetHeight") < 50  # one line


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_their_background(browser, serve, scheme):
    """WCAG AA: a contrast of 4.5 for every text."""
    browser.open(serve("contrast").url, prefers_color_scheme=scheme)
    wait(browser, POSITION, "Video 1 of 6")
    browser.press("2")
    browser.run("document.querySelector('#help').open = true")
    keep(browser, f"grading-{scheme}")
    faint = """
        const channel = v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4
        const luminance = c => { const [r, g, b] = c.match(/[0-9.]+/g).slice(0, 3).map(v => channel(v / 255))
            return 0.2126 * r + 0.7152 * g + 0.0722 * b }
        const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor
            if (!/, 0\\)$/.test(c)) return c } return 'rgb(255, 255, 255)' }
        const own = e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())
        return [...document.querySelectorAll('body *')].filter(own).filter(e => e.offsetParent).filter(e => {
            const a = luminance(getComputedStyle(e).color), b = luminance(behind(e))
            return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5 && !e.closest(':disabled')
        }).map(e => e.outerHTML.slice(0, 100))"""
    assert browser.run(faint) == []


def test_what_is_pressed_and_chosen_is_told_to_screen_readers(browser, serve):
    browser.open(serve("aria").url)
    wait(browser, POSITION, "Video 1 of 6")
    browser.press("1")
    pressed = (
        "[...document.querySelectorAll('.answer')].map(a => [...a.querySelectorAll('button')].map(b => b.ariaPressed))"
    )
    wait(browser, pressed, [["false", "true", "false"], ["false"] * 3])
    assert browser.run("return document.activeElement.ariaLabel") == "Answer B"
    groups = browser.run("return [...document.querySelectorAll('[role=group]')].map(one => one.ariaLabel)")
    assert groups == ["Grade of Answer A", "Grade of Answer B"]
    assert browser.run("return document.querySelector('#status').getAttribute('role')") == "status"
