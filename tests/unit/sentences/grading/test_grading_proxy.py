"""What the proxy measures, on texts whose values are known, and its bounds on any."""

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsearch.sentences.frequencies import DocumentFrequencies
from mmsearch.sentences.grading.proxy import (
    Proxy,
    coverage,
    fluency,
    halves,
    held_out_coverage,
    redundancy,
)
from mmsearch.sentences.split import split_sentences
from mmsearch.sentences.terms import terms_of

FREQUENCIES = DocumentFrequencies.of(["cat dog", "cat fish", "cat bird sun"], "bigrams")
TEXTS = st.text(st.sampled_from("abc 豆腐。. \n!?，\u202e\x00<"), max_size=60)


def test_coverage_weighs_terms_by_idf():
    idf = FREQUENCIES.idf
    assert idf("dog") > idf("cat")
    found = coverage(["cat", "dog", "cat"], ["cat", "dog", "x"], ["cat"], FREQUENCIES)
    assert found == pytest.approx(idf("cat") / (idf("cat") + idf("dog")))


def test_coverage_counts_only_what_can_be_chosen():
    assert coverage(["dog", "fish"], ["dog", "x"], ["dog"], FREQUENCIES) == 1
    assert math.isnan(coverage(["fish"], ["dog"], ["dog"], FREQUENCIES))


def test_redundancy():
    assert redundancy(["cat dog", "fish bird"], FREQUENCIES) == 0
    assert redundancy(["cat dog cat"], FREQUENCIES) == 0
    assert redundancy([], FREQUENCIES) == redundancy(["…"], FREQUENCIES) == 0
    for count in (2, 3, 5):
        assert redundancy(["cat dog"] * count, FREQUENCIES) == pytest.approx(1 - 1 / count)
    idf = FREQUENCIES.idf
    partly = (idf("cat") + idf("dog") + idf("fish")) / (2 * idf("cat") + idf("dog") + idf("fish"))
    assert redundancy(["cat dog", "cat fish"], FREQUENCIES) == pytest.approx(1 - partly)


def test_fluency_falls_with_pieces_dirt_and_stutter():
    transcript = "One two three. Four five six seven."
    assert fluency(["One two three."], transcript) == 1
    assert fluency(["One two three.", "Four five six"], transcript) == pytest.approx(14 / 27)
    assert fluency([], transcript) == 0
    assert fluency(["ab ▓▓."], "ab ▓▓.") == pytest.approx(4 / 6)
    assert fluency(["so so good"], "so so good") == pytest.approx(1 / 2)


def test_halves_are_held_out_in_turn():
    assert halves("Cat dog, cat FISH", FREQUENCIES) == (("cat", "dog"), ("fish",))
    said = ["cat", "dog", "fish", "sun"]
    # shown (cat, dog): chose the fish; shown (fish): chose the sun
    found = held_out_coverage("cat dog fish", said, [["the fish"], ["sun"]], FREQUENCIES)
    assert found == pytest.approx((1 + 0) / 2)


def test_copying_the_shown_half_gains_nothing():
    assert (
        held_out_coverage(
            "cat dog fish bird", ["cat", "dog", "fish", "bird"], [["cat dog"], ["fish bird"]], FREQUENCIES
        )
        == 0
    )


def test_titles_without_two_halves_have_no_held_out_coverage():
    assert math.isnan(held_out_coverage("cat", ["cat"], [["cat"], ["cat"]], FREQUENCIES))
    assert math.isnan(held_out_coverage("cat dog", ["sun"], [["sun"], ["sun"]], FREQUENCIES))
    assert held_out_coverage("cat dog", ["dog"], [["dog"], []], FREQUENCIES) == 1


def test_the_score_is_a_mean():
    assert Proxy(0.0, 0.6, 0.3, 0.8).score == pytest.approx((0.6 + 0.7 + 0.8) / 3)
    assert math.isnan(Proxy(1.0, math.nan, 0.0, 1.0).score)


@settings(max_examples=60, deadline=None)
@given(TEXTS, TEXTS, st.integers(8, 40))
def test_all_measures_stay_between_0_and_1(title, transcript, most):
    sentences = split_sentences(transcript, most)
    said = terms_of(transcript, "bigrams")
    chosen = sentences[::2]
    values = [
        coverage(terms_of(title, "bigrams"), said, [t for s in chosen for t in terms_of(s, "bigrams")], FREQUENCIES),
        held_out_coverage(title, said, [chosen, sentences[1::2]], FREQUENCIES),
        redundancy(chosen, FREQUENCIES),
        fluency(chosen, transcript, "bigrams"),
    ]
    assert all(math.isnan(value) or -1e-12 <= value <= 1 + 1e-12 for value in values)
    assert not any(map(math.isnan, values[2:]))


@settings(max_examples=60, deadline=None)
@given(TEXTS, TEXTS)
def test_more_sentences_never_cover_less(title, transcript):
    sentences = split_sentences(transcript, 12)
    words = [terms_of(sentence, "bigrams") for sentence in sentences]
    wanted, said = terms_of(title, "bigrams"), terms_of(transcript, "bigrams")
    found = [
        coverage(wanted, said, [term for some in words[:n] for term in some], FREQUENCIES)
        for n in range(len(words) + 1)
    ]
    assert all(math.isnan(a) or a <= b + 1e-12 for a, b in pairwise(found))
