"""What the page ranks, says and compares, against plain Python over the same answers of the service."""

import re

import numpy as np
import pytest

from mmsearch.metrics import UNJUDGED, Scored, count_pairs, pnr

ENTER, ESCAPE, UP, DOWN, RIGHT = "\ue007", "\ue00c", "\ue013", "\ue015", "\ue014"
QUERY = "大熊猫吃竹子"
FOCUSED = (
    "return document.activeElement.closest('.result')?.querySelector('.id').textContent ?? document.activeElement.id"
)


def found(service, k=20, **more):
    """Give ids, names, values (NaN = missing) and grades of a search."""
    answer = service.ask("/v1/search", query=QUERY, k=k, **more)
    values = [[np.nan if value is None else value for value in doc["values"]] for doc in answer["docs"]]
    ids = [doc["doc_id"] for doc in answer["docs"]]
    return ids, answer["names"], np.array(values), [doc["grade"] for doc in answer["docs"]]


def ranked(ids, scores):
    """Sort by score, the missing last, ties as they were found."""
    order = sorted(range(len(ids)), key=lambda i: (np.isnan(scores[i]), -np.nan_to_num(scores[i])))
    return [ids[i] for i in order]


def summed(names, values, weights, by):
    """Give weight x (z-)score, summed over what is there; NaN where nothing is."""
    columns = values[:, [names.index(name) for name in weights]]
    if by == "z":
        columns = (columns - np.nanmean(columns, axis=0)) / np.nanstd(columns, axis=0)
    added = np.nansum(columns * list(weights.values()), axis=1)
    return np.where(np.isnan(columns).all(axis=1), np.nan, added)


def pnr_of(grades, scores):
    given = [UNJUDGED if grade is None else grade for grade in grades]
    rows = [i for i, grade in enumerate(given) if grade != UNJUDGED]
    table = Scored.from_columns(["q"] * len(rows), [str(i) for i in rows], [given[i] for i in rows], scores[rows])
    return pnr(count_pairs(table))


def test_the_first_look_offers_queries_that_have_grades(page):
    page.open()
    assert page.text("#state h1") == "What ranks first, and why"
    assert page.run("return document.querySelectorAll('.example').length") == 4
    terms = page.run("return [...document.querySelectorAll('.glossary dt')].map(one => one.innerText)")
    assert {"cover", "frames", "perception", "content", "content.title", "spread"} <= set(terms)
    page.click(".example:last-child")
    page.rest()
    assert "?q=" in page.run("return location.href")
    assert len(page.order()) == 20


def test_it_shows_what_the_service_found_in_its_order(page, service):
    page.open(q=QUERY)
    ids, names, values, grades = found(service)
    assert page.order() == ids
    bars = page.run("""
        const told = bar => [bar.title.split(':')[0], bar.querySelector('.value').textContent]
        return [...document.querySelectorAll('.result')].map(row =>
            Object.fromEntries([...row.querySelectorAll('.bar')].map(told)))""")
    for row, shown in zip(values, bars, strict=True):
        assert set(shown) == set(names)
        for name, value in zip(names, row, strict=True):
            told = "–missing" if np.isnan(value) else f"{value:.2f}".replace("-", "−").replace("−0.00", "0.00")
            assert shown[name] == told
    badges = (
        "return [...document.querySelectorAll('.result')].map(one => one.querySelector('.badge')?.textContent ?? null)"
    )
    told = page.run(badges)
    assert [text and int(text.split()[-1]) for text in told] == grades
    assert any(grade is not None for grade in grades)


def test_bars_start_at_zero_and_lengths_are_proportional(page, service):
    page.open(q=QUERY)
    _, names, values, _ = found(service)
    drawn = page.run("""return [...document.querySelectorAll('.result')].map(row => Object.fromEntries(
        [...row.querySelectorAll('.bar:not(.missing)')].map(bar => {
            const track = bar.querySelector('.track'), width = track.clientWidth
            const [own, zero] = ['::before', '::after'].map(part => getComputedStyle(track, part))
            return [bar.title.split(':')[0], ['left', 'width'].map(side => parseFloat(own[side]) / width)
                .concat(parseFloat(zero.left) / width)] })))""")
    low, high = np.floor(np.nanmin(values) * 10) / 10, np.ceil(np.nanmax(values) * 10) / 10
    assert low < 0 < high
    at = -low / (high - low)
    for row, shown in zip(values, drawn, strict=True):
        for name, value in zip(names, row, strict=True):
            assert np.isnan(value) == (name not in shown)
            if name in shown:
                left, width, zero = shown[name]
                assert zero == pytest.approx(at, abs=0.02)
                assert width == pytest.approx(abs(value) / (high - low), abs=0.03)
                assert (left + width if value < 0 else left) == pytest.approx(at, abs=0.03)


@pytest.mark.parametrize(
    ("by", "f", "weights"),
    [
        ("one", "cover", {"cover": 1}),
        ("z", "cover,content.title:2,spread:-1", {"cover": 1, "content.title": 2, "spread": -1}),
        ("sum", "frames,perception:0.5", {"frames": 1, "perception": 0.5}),
    ],
)
def test_the_list_is_ranked_as_the_address_says(page, service, by, f, weights):
    page.open(q=QUERY, by=by, f=f, k=50)
    ids, names, values, grades = found(service, k=50)
    scores = summed(names, values, weights, by)
    order = page.order()
    assert order == ranked(ids, scores)
    assert order != ids
    assert float(page.text(".pnr b")) == pytest.approx(pnr_of(grades, scores), abs=0.006)
    moves = page.run("return [...document.querySelectorAll('.moved')].map(one => one.firstChild.textContent)")
    signs = {"▲": 1, "▼": -1, "=": 0}
    told = [signs[move[0]] * int(move[1:] or 0) for move in moves]
    assert told == [ids.index(doc_id) - place for place, doc_id in enumerate(order)]


def test_models_are_compared_on_the_videos_that_have_grades(page, service):
    page.open(q=QUERY, among="judged", vs="old", k=50, size=(1440, 900))
    for n, (side, model) in enumerate((("a", "new"), ("b", "old"))):
        ids, names, values, grades = found(service, k=50, among="judged", model=model)
        assert page.order(side) == ids
        assert None not in grades
        shown = page.run(f"return document.querySelectorAll('.pnr b')[{n}].textContent")
        assert float(shown) == pytest.approx(pnr_of(grades, values[:, names.index("content")]), abs=0.006)
    alone = page.run("""return [...document.querySelectorAll('.feature')].map(one =>
        [one.querySelector('label').title.split(':')[0], one.querySelector('.alone').lastChild.textContent])""")
    _, names, values, grades = found(service, k=50, among="judged")
    for name, value in alone:
        assert float(value) == pytest.approx(pnr_of(grades, values[:, names.index(name)]), abs=0.006)


def test_choices_change_the_order_and_the_address_and_back_takes_a_search_back(page, service):
    page.open(q=QUERY)
    ids, names, values, _ = found(service)
    page.run("document.querySelector('.feature.f0 input').click()")
    assert page.order() == ranked(ids, values[:, names.index("cover")])
    assert page.run("return location.search").endswith("f=cover")
    page.click("input[value=sum]")
    spaces = dict.fromkeys(("cover", "frames", "perception", "content"), 1)
    assert page.order() == ranked(ids, summed(names, values, spaces, "sum"))
    page.run("""const at = document.querySelector('.feature.f0 .weight')
        at.value = '-2'
        at.dispatchEvent(new Event('input'))""")
    assert page.order() == ranked(ids, summed(names, values, spaces | {"cover": -2}, "sum"))
    assert "cover:-2" in page.run("return location.search")
    page.run("const at = document.querySelector('#choice-top'); at.value = '10'; at.dispatchEvent(new Event('change'))")
    page.rest()
    assert len(page.order()) == 10
    page.run("history.back()")
    page.wait("return document.querySelectorAll('.result').length", 20)


def test_why_a_result_stands_there_adds_up(page, service):
    page.open(q=QUERY, by="z", f="cover,content:2,spread:-1")
    ids, names, values, _ = found(service)
    scores = summed(names, values, {"cover": 1, "content": 2, "spread": -1}, "z")
    second = page.order()[1]
    page.run("document.querySelectorAll('.opener')[1].click()")
    page.wait("return document.querySelectorAll('.why .token').length > 0", True)
    score = scores[ids.index(second)]
    told = f"{score:.3f}".replace("-", "−")
    assert page.text(".why .lead") == f"Place 2 of 20 by Σ z-scores of 3 features: {told}."
    adds = page.run("return [...document.querySelectorAll('.why td.adds')].map(one => one.innerText).filter(Boolean)")
    total = sum(float(text.replace("−", "-")) for text in adds)
    assert total == pytest.approx(score, abs=0.02)
    assert page.run("return document.querySelector('.why tfoot td').innerText").replace("−", "-") == f"{score:+.3f}"
    told = service.ask("/v1/explain", query=QUERY, doc_id=second)
    assert page.run("return [...document.querySelectorAll('.token')].map(one => one.textContent)") == told["tokens"]
    assert page.run("return new URLSearchParams(location.search).get('open')") == second


def test_two_models_stand_side_by_side(page, service):
    page.open(q=QUERY, vs="old", size=(1440, 900))
    ids, _, _, _ = found(service)
    others, _, _, _ = found(service, model="old")
    assert (page.order("a"), page.order("b")) == (ids, others)
    shared = [doc_id for doc_id in ids if doc_id in others]
    assert 0 < len(shared) < len(ids)
    assert page.run("return document.querySelectorAll('.links path').length") == len(shared)
    signs = "return [...document.querySelectorAll('.list.%s .moved')].map(one => one.firstChild.textContent)"
    assert page.run(signs % "a") == [f"→ {others.index(i) + 1 if i in others else '–'}" for i in ids]
    came = [ids.index(i) - n if i in ids else None for n, i in enumerate(others)]
    wanted = ["✦" if move is None else f"▲{move}" if move > 0 else f"▼{-move}" if move else "=" for move in came]
    assert page.run(signs % "b") == wanted
    assert re.search(rf"· {len(shared)} in both · Kendall's τ −?\d\.\d\d", page.text("#status"))
    at = ids.index(shared[0])
    page.run(f"document.querySelectorAll('.list.a .opener')[{at}].focus()")
    lit = "return [...document.querySelectorAll('.result.lit .id')].map(one => one.textContent)"
    assert page.run(lit) == [shared[0]] * 2
    assert page.run("return document.querySelectorAll('.links .lit').length") == 1
    page.browser.press(RIGHT)
    assert page.run("return document.activeElement.closest('.list').className") == "list b"
    assert page.run(FOCUSED) == shared[0]
    page.browser.press(ENTER)
    page.wait("return document.querySelectorAll('.why .token').length > 0", True)
    assert page.run("return document.querySelectorAll('.result.open').length") == 2
    page.keep("page-compare")


def test_everything_is_done_by_keyboard(page):
    page.open()
    page.browser.press("/")
    assert page.run(FOCUSED) == "query"
    page.browser.press(*"panda", ENTER)
    page.wait("return document.querySelectorAll('.result').length", 20)
    order = page.order()
    page.browser.press(DOWN, DOWN, DOWN)
    assert page.run(FOCUSED) == order[2]
    page.browser.press(UP, ENTER)
    assert page.run("return document.querySelector('.result.open .id').textContent") == order[1]
    page.browser.press(ESCAPE)
    assert page.run("return document.querySelector('.result.open')") is None
    assert page.run(FOCUSED) == order[1]
    page.browser.press("?")
    assert page.run("return document.querySelector('#help').open") is True
    page.browser.press(ESCAPE)
    page.browser.press(UP, UP)
    assert page.run(FOCUSED) == "query"
