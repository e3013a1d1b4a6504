"""The section on what the model uses: what it says of gates, of attention, and of fusions without either."""

import html
import re

import pytest

from mmsearch.report.diagnostics import parse_diagnostics
from mmsearch.report.sections.usage import ablation

ONE = {"value": 1.5, "low": 1.2, "high": None}
CHANGE = {"pnr": ONE, "change": {"value": -0.2, "low": -0.4, "high": 0.1}, "num_videos": 9}
SHARE = {"share": {"value": 0.42, "low": 0.3, "high": 0.55}, "even": 0.25, "by_tokens": 0.61, "num_videos": 9}
NOBODY = {"share": {"value": None, "low": None, "high": None}, "even": None, "by_tokens": None, "num_videos": 0}


def shown(method, **more):
    """The section of a model with two spaces, as markup; None = a fusion without weights."""
    weights = None if method is None else {"method": method, "shares": {"title": SHARE, "account": NOBODY}}
    parts = {"whole": ONE, "left_out": {"title": CHANGE}, "shuffled": {"title": CHANGE}, "weights": weights}
    found = {
        "format_version": 2, "run_hash": "r", "corpus_hash": "c", "judgments_hash": "j", "num_queries": 1,
        "num_judged": 2, "num_shuffles": 3, "towers": {}, "spaces": {"perception": parts, "content": parts},
    }  # fmt: skip
    return "".join(part.text for part in ablation(parse_diagnostics(found | more, "d.json")).body)


def captions(text):
    return re.findall("<figcaption>(.*?)</figcaption>", text)


@pytest.mark.parametrize("method", ["transformer", "cross_attention"])
def test_attention_stands_beside_left_out_and_shuffled(method):
    text = shown(method)
    assert captions(text) == [
        f"{space}: {what}"
        for space in ("perception", "content")
        for what in ("one modality left out", "one modality shuffled", "attention by modality")
    ]
    assert "where the model looks, not what counts" in text
    tokens = method == "transformer"  # two separate softmaxes have no share of the tokens to be compared with
    assert len(re.findall('class="by-tokens"', text)) == 2 * tokens
    assert ("compare texts with texts" in text) != tokens
    assert "42%  (30%\u00a0…\u00a055%)" in text
    assert "no videos" in text
    cells = [html.unescape(re.sub("<.*?>", "", cell)) for cell in re.findall("<td.*?</td>", text)]
    assert cells[-8:-4] == ["0.420 0.300\u00a0…\u00a00.550", "0.250", "0.610" if tokens else "–", "9"]
    assert cells[-4:] == ["–", "–", "–", "0"]


@pytest.mark.parametrize("method", ["gated_sum", "lmf", "<b>of others"])
def test_gates_know_no_tokens(method):
    text = shown(method)
    assert captions(text)[2] == "perception: gates by modality"
    assert 'class="by-tokens"' not in text
    assert "ring" not in text
    assert "0.610" not in text
    assert "<b>" not in text


def test_a_fusion_without_weights_says_nothing_of_them():
    text = shown(None)
    assert len(captions(text)) == 4
    assert not re.search("gates|attention", text, re.IGNORECASE)


def test_without_diagnostics_it_says_how_to_get_them():
    assert "python -m training diagnose" in ablation(None).body[0].text


def test_it_says_when_all_codes_were_scored():
    assert "by all of their codes" in shown(None, served="codes")
    assert "by all of their codes" not in shown(None)
