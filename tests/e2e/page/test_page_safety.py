"""The page asks nobody but its service, hostile texts do nothing, errors are told; phones, contrast, words."""

import shutil

import pytest

from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.protocols import Embedded

QUERY = "大熊猫吃竹子"
PHONE = (360, 800)
UNFOLDED = "document.querySelectorAll('details').forEach(one => one.open = true)"


def test_nobody_but_the_service_is_asked(page):
    page.open(q=QUERY, vs="old")
    page.click(".opener")
    page.wait("return document.querySelectorAll('.why .token').length > 0", True)
    asked, refused = page.browser.requests()
    assert refused == []
    assert [url for url in asked if not url.startswith(page.url)] == []
    assert sum("/cover?" in url for url in asked) > 10
    assert page.browser.logs("browser") == []  # no error, and nothing that the policy had to refuse


def test_hostile_texts_do_nothing(page):
    query = "red panda <script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    page.open(q=query)
    title = page.run("return document.title")
    assert title == f"{query} · mmsearch"
    for opener in range(3):
        page.run(f"document.querySelectorAll('.opener')[{opener}].click()")
        page.wait("return document.querySelectorAll('.why .token').length > 0", True)
    page.run(UNFOLDED)
    assert "<script>document.title='owned'</script>" in page.text("#lists")
    assert page.run("return document.querySelectorAll('script').length") == 2
    assert (
        page.run("return document.querySelectorAll('[onerror], [onload], [onmouseover], b[onmouseover]').length") == 0
    )
    assert page.run("return document.title") == title


def test_the_policy_holds_even_against_a_script_that_got_in(page):
    page.open()
    refused = """
        const told = []
        const made = document.createElement('script')
        try { made.textContent = "document.title = 'owned'" } catch (error) { told.push(error.name) }
        try { document.body.innerHTML = '<img src=x>' } catch (error) { told.push(error.name) }
        document.body.append(made)
        return [...told, document.title]"""
    assert page.run(refused) == ["TypeError", "TypeError", "mmsearch"]
    assert page.run("return fetch('http://localhost:9/').then(() => 'sent', error => error.name)") == "TypeError"
    assert any("violates" in entry["message"] for entry in page.browser.logs("browser"))


def test_a_query_that_says_nothing_finds_nothing(page):
    page.open(q="\u200b\x01")
    assert page.text("#state h1") == "Nothing was found"
    assert page.run("return document.querySelectorAll('.example').length") == 4
    page.open(q="nobody graded this", among="judged")
    assert "Nobody graded videos" in page.text("#state")


def test_what_the_service_refuses_is_told_and_can_be_mended(page):
    page.open(q="x" * 301)
    assert page.text(".failure h1") == "The service refused this"
    assert "300" in page.text(".failure")
    page.click("#language")
    assert page.text(".failure h1") == "服务拒绝了此请求"
    page.click("#language")
    page.run("document.querySelector('#query').value = 'panda'; document.querySelector('#search').requestSubmit()")
    page.wait("return document.querySelectorAll('.result').length", 20)
    assert page.run("return document.querySelector('.failure')") is None


def test_a_service_that_is_gone_and_one_that_is_busy(page_of, serve):
    own = serve()
    page = page_of(own)
    page.open()
    # an overload cannot be brought about in time: this is the answer that the service gives then
    page.run("""window.real = window.fetch; window.fetch = async () => new Response(
        JSON.stringify({title: 'Overloaded', detail: '64 requests wait', request_id: 'r1'}),
        {status: 429, headers: {'Retry-After': '2'}})""")
    page.click(".example")
    page.wait("return document.querySelector('.failure h1')?.innerText", "The service is busy")
    assert "2 seconds" in page.text(".failure")
    assert "r1" in page.text(".failure")
    page.run("window.fetch = window.real")
    own.end()
    page.click(".failure button")
    page.wait("return document.querySelector('.failure h1')?.innerText", "The service cannot be reached")


def test_a_service_with_keys_is_given_one(page_of, serve, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(f"me {'k' * 40}\n")
    keys.chmod(0o600)
    page = page_of(serve(api_keys_file=str(keys), max_k=5))
    page.open(q=QUERY)
    assert page.text(".failure h1") == "This service wants a key"
    page.run(
        f"document.querySelector('#key').value = '{'k' * 40}'; document.querySelector('form.failure').requestSubmit()"
    )
    page.wait("return document.querySelectorAll('.result').length", 5)
    page.wait("return [...document.images].some(one => one.naturalWidth && one.src.startsWith('blob:'))", True)
    assert page.run("return location.href.includes('kkk')") is False
    page.run("sessionStorage.clear()")


@pytest.mark.slow
@pytest.mark.parametrize("chosen", [{}, {"q": QUERY, "bars": "all", "by": "z"}, {"q": QUERY, "vs": "old"}])
def test_it_fits_a_phone(page, chosen):
    page.open(PHONE, **chosen)
    if chosen:
        page.click(".opener")
        page.wait("return document.querySelectorAll('.why .token').length > 0", True)
    page.run(UNFOLDED)
    page.keep(f"page-phone-{len(chosen)}")
    wide = """return [...document.querySelectorAll('body *')].filter(one => one.checkVisibility()
        && !one.closest('.scroll table, .unseen, .skip') && one.getBoundingClientRect().right > innerWidth + 1)
        .map(one => one.outerHTML.slice(0, 120))"""
    assert page.run(wide) == []
    assert page.run("return document.documentElement.scrollWidth") <= PHONE[0]
    if "vs" in chosen:
        page.click(".sides button:last-child")
        shown = """return [...document.querySelectorAll('.list')].filter(one => one.checkVisibility())
            .map(one => one.className)"""
        assert page.run(shown) == ["list b"]


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_from_their_background(page, scheme):
    """WCAG AA: a contrast of 4.5 for every text."""
    page.open(scheme=scheme, q=QUERY, vs="old", by="z", size=(1440, 900))
    page.click(".opener")
    page.wait("return document.querySelectorAll('.why .token').length > 0", True)
    page.run(UNFOLDED)
    page.keep(f"page-{scheme}")
    faint = """
        const channel = v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4
        const luminance = c => { const [r, g, b] = c.match(/[0-9.]+/g).slice(0, 3).map(v => channel(v / 255))
            return 0.2126 * r + 0.7152 * g + 0.0722 * b }
        const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor
            if (!/, 0\\)$/.test(c)) return c } return getComputedStyle(document.body).backgroundColor }
        const own = e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())
        return [...document.querySelectorAll('body *')].filter(e => own(e) && e.checkVisibility()
            && !e.closest('.unseen, option')).filter(e => {
            const a = luminance(getComputedStyle(e).color), b = luminance(behind(e))
            return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5
        }).map(e => e.outerHTML.slice(0, 100))"""
    assert page.run(faint)[:3] == []


def test_it_speaks_the_language_of_the_browser_or_the_chosen_one(page):
    page.open(language="zh-CN")
    assert page.text("#search button") == "搜索"
    assert page.run("return document.documentElement.lang") == "zh-CN"
    page.click("#language")
    assert page.text("#search button") == "Search"
    page.open(language="zh-CN", again=True)
    assert page.text("#search button") == "Search"
    keys = "return import('./page/words_%s.js').then(words => Object.keys(words.%s))"
    assert page.run(keys % ("en", "en")) == page.run(keys % ("zh", "zh"))


@pytest.mark.slow
def test_a_chosen_theme_stays(page):
    page.open(scheme="light")
    paper = "return getComputedStyle(document.body).backgroundColor"
    light = page.run(paper)
    page.click("#theme")
    page.click("#theme")
    assert page.run("return document.documentElement.dataset.theme") == "dark"
    dark = page.run(paper)
    assert dark != light
    page.open(scheme="light", again=True)
    assert page.run(paper) == dark


@pytest.mark.slow
def test_every_control_has_a_name_and_every_id_stands_once(page):
    page.open(q=QUERY, vs="old", by="z")
    page.click(".opener")
    nameless = """return [...document.querySelectorAll('button, input, select, summary, a, [role=region]')]
        .filter(one => !(one.ariaLabel || one.textContent.trim() || one.labels?.[0]?.textContent.trim()))
        .map(one => one.outerHTML.slice(0, 120))"""
    assert page.run(nameless) == []
    twice = """const ids = [...document.querySelectorAll('[id]')].map(one => one.id)
        return ids.filter((id, n) => ids.indexOf(id) !== n)"""
    assert page.run(twice) == []
    dangling = """return ['aria-controls', 'aria-labelledby', 'for'].flatMap(name =>
        [...document.querySelectorAll(`[${name}]`)].map(one => one.getAttribute(name)))
        .filter(id => !document.getElementById(id))"""
    assert page.run(dangling) == []


@pytest.mark.slow
def test_a_generation_that_came_since_the_search_is_told(page_of, serve, hostile, tmp_path):
    index = tmp_path / "index"
    shutil.copytree(hostile / "index", index)
    page = page_of(serve(models={"own": {"index": str(index)}}, check_every_s=0.05))
    page.open(q=QUERY)
    republish(index)
    newer = ForwardIndex.open(index).generation
    served = "return fetch('v1/features').then(answer => answer.json()).then(told => told.models[0].generation)"
    page.wait(served, newer)
    page.click(".opener")
    page.wait("return document.querySelectorAll('.why .token').length > 0", True)
    assert f"The index moved on to {newer}" in page.text(".why .told")
    page.run("document.querySelector('#search').requestSubmit()")
    page.wait(f"return document.querySelector('#status').innerText.includes({newer!r})", True)


def republish(index):
    """Publish the same vectors as another generation."""
    old = ForwardIndex.open(index)
    doc_ids = list(old.doc_ids)
    rows = old.rows(doc_ids)
    with GenerationWriter(index, old.spaces) as writer:
        writer.add(doc_ids, {space.name: Embedded(*old.vectors(space.name, rows)) for space in old.spaces})
        writer.publish(query_tower=old.query_tower, source={})
