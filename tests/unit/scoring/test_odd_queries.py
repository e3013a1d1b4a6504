"""Every odd query has one outcome, which the docstring of the encoder tells: a unit vector, or zeros and no feature."""

from __future__ import annotations

import time
import unicodedata

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmsearch.scoring import FeatureScorer
from mmsearch.text import Tokenizer

DOC_IDS = [f"v{i}" for i in range(30)]
WORDS = ("red", "panda", "大熊猫", "竹子", "cooking", "☃", "\u05e9\u05dc\u05d5\u05dd", "\u0645\u0631\u062d\u0628\u0627")
IGNORED = ("\0", "\x07", "\u200b", "\u200d", "\ufeff", "\u202e", "\u2066", "\ud800", "\udfff", "\u00ad", "\ufe0f")
BLANKS = (" ", "\t", "\n", "\u3000", "\u00a0")
ODD = (
    *WORDS, *IGNORED, *BLANKS, "' OR 1=1 --", "<script>alert(1)</script>", "{{7*7}}", "%s%n", "../..", "ＲＥＤ",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1e8\U0001f1f3", "👍🏽", "ﬁ", "ﷺ", "e\u0301", "\u0301" * 5,
    "Ⅷ",
)  # fmt: skip
#: What Unicode 3.2 knew: the tokenizers library normalises by Unicode 11, this Python by a later one.
KNOWN = st.characters(codec="utf-8").filter(lambda c: unicodedata.ucd_3_2_0.category(c) != "Cn")


@pytest.fixture(scope="module")
def checked():
    """Examples share one scorer: settings of hypothesis for that."""
    return settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def scorer(publish_wide) -> FeatureScorer:
    return FeatureScorer.open(publish_wide())


def test_any_mixture_scores_or_says_nothing(scorer, checked):
    @checked
    @given(st.lists(st.sampled_from(ODD) | st.text(st.characters(), max_size=8), max_size=8).map("".join))
    def check(query):
        start = time.thread_time()
        features = scorer.score(query, DOC_IDS)
        assert time.thread_time() - start < 0.05
        length = float(np.linalg.norm(scorer.encoder.encode([query])["content"][0]))
        assert length == 0 or abs(length - 1) < 1e-3
        assert features.missing.all() == (length == 0)
        assert np.isfinite(features.values).all()
        assert (length == 0) == (scorer.explain(query, "v1").tokens == ())

    check()


def test_queries_that_are_equal_by_nfkc_score_equally(scorer, checked):
    @checked
    @given(st.text(KNOWN, max_size=20) | st.lists(st.sampled_from(ODD), max_size=5).map("".join))
    def check(query):
        expected = scorer.score(query, DOC_IDS)
        for form in ("NFC", "NFD", "NFKC", "NFKD"):
            found = scorer.score(unicodedata.normalize(form, query), DOC_IDS)
            assert found.values.tobytes() == expected.values.tobytes(), form
            assert found.missing.tobytes() == expected.missing.tobytes()

    check()


@pytest.mark.parametrize("ignored", IGNORED)
def test_what_is_ignored_changes_nothing_wherever_it_stands(scorer, ignored):
    expected = scorer.score("red panda", DOC_IDS).values.tobytes()
    for query in (f"{ignored}red panda", f"re{ignored}d panda", f"red{ignored} panda", f"red panda{ignored * 9}"):
        assert scorer.score(query, DOC_IDS).values.tobytes() == expected
    assert scorer.score(ignored, DOC_IDS).missing.all()


@pytest.mark.parametrize("blank", BLANKS)
def test_blanks_part_words_and_are_nothing_more(scorer, blank):
    expected = scorer.score("red panda", DOC_IDS).values.tobytes()
    assert scorer.score(f"{blank}red{blank}{blank}panda{blank}", DOC_IDS).values.tobytes() == expected
    assert scorer.score(blank * 3, DOC_IDS).missing.all()


def test_case_and_width_do_not_count_but_order_and_words_may(scorer):
    expected = scorer.encoder.encode(["red panda"])["content"]
    for query in ("RED Panda", "ｒｅｄ　ＰＡＮＤＡ"):
        np.testing.assert_array_equal(scorer.encoder.encode([query])["content"], expected)
    assert (scorer.encoder.encode(["red"])["content"] != expected).any()


@pytest.mark.parametrize("text", ["panda ", "竹", " ", "\0", "\u200b", "\ud800", "\u0301", "ﷺ", "👍🏽\u200d", "a"])
def test_a_megabyte_is_capped_within_5_ms(scorer, text):
    query = text * (1_000_000 // len(text.encode("utf-8", "surrogatepass")))
    times = []
    for _ in range(5):
        start = time.thread_time()
        scorer.encoder.encode([query])
        times.append(time.thread_time() - start)
    assert min(times) < 0.005
    assert len(scorer.encoder._by_text) == 0, "long queries are not kept by their text"


def test_a_query_that_was_asked_before_takes_a_fifth_of_a_millisecond(scorer):
    scorer.encoder.encode(["red panda"])
    start = time.thread_time()
    for _ in range(50):
        scorer.encoder.encode(["red panda"])
    assert (time.thread_time() - start) / 50 < 2e-4


def test_a_tokenizer_of_clip_keeps_the_normalisation_that_it_was_trained_with():
    tokenizer = Tokenizer.open_clip()
    plain, wide, raised, level = (tokenizer.read(text, 16).tokens for text in ("final", "ｆｉｎａｌ", "m²", "m2"))
    assert wide == plain
    assert raised != level, "NFKC would make them equal"
    assert tokenizer.read("e\u0301", 16).tokens == tokenizer.read("é", 16).tokens
