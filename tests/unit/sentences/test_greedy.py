"""The greedy choice: formulas against loops, budgets, ties."""

import math
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.sentences.diverse import choose_diverse, without_worst
from mmsearch.sentences.frequencies import DocumentFrequencies
from mmsearch.sentences.greedy import GreedySettings, choose_greedy, weigh

VECTORS = st.dictionaries(st.sampled_from("abcde"), st.floats(0, 4), max_size=4)
ROWS = st.lists(st.tuples(st.floats(0, 1), VECTORS, st.integers(0, 30)), max_size=12)


def cosine(a, b):
    norms = math.sqrt(sum(x * x for x in a.values())) * math.sqrt(sum(x * x for x in b.values()))
    return sum(weight * b.get(term, 0.0) for term, weight in a.items()) / norms if norms else 0.0


def by_loops(rows, budget, redundancy):
    """Maximal marginal relevance as it is written in the paper."""
    chosen = []
    while True:
        best, best_value = None, None
        for i, (relevance, vector, length) in enumerate(rows):
            used = sum(rows[j][2] for j in chosen) + len(chosen)
            if i in chosen or used + length > budget:
                continue
            value = relevance - redundancy * max((cosine(vector, rows[j][1]) for j in chosen), default=0.0)
            if best_value is None or value > best_value + 1e-9:
                best, best_value = i, value
        if best is None:
            return chosen
        chosen.append(best)


@given(ROWS, st.integers(0, 80), st.sampled_from([0.0, 0.5, 1.0]))
def test_the_choice_equals_that_of_loops(rows, budget, redundancy):
    rows = [(round(r, 2) + i * 1e-5, {t: round(w, 1) for t, w in v.items()}, n) for i, (r, v, n) in enumerate(rows)]
    relevance, vectors, lengths = ([row[part] for row in rows] for part in range(3))
    assert choose_diverse(relevance, vectors, lengths, budget, redundancy) == by_loops(rows, budget, redundancy)


def test_a_bound_on_the_number_and_an_endless_budget():
    chosen = choose_diverse([0.1, 0.9, 0.5], [{}, {}, {}], [10, 10, 10], math.inf, 0.7, 2)
    assert chosen == [1, 2]
    assert choose_diverse([], [], [], 10, 0.5) == []
    assert choose_diverse([1.0, -math.inf], [{}, {}], [1, 1], 10, 0.5) == [0]


def test_the_worst_is_left_out_unless_all_are_alike():
    assert without_worst([1.0, 0.05, 0.1], 0.1) == [1.0, -math.inf, 0.1]
    assert without_worst([0.0, 0.0], 0.1) == [0.0, 0.0]
    assert without_worst([], 0.1) == []


SENTENCES = [
    "hello and welcome to my channel",
    "the red panda eats bamboo in the mountains of china",
    "a red panda eats bamboo",
    "bamboo grows very quickly there",
    "thank you and see you next time",
]
CORPUS = [" ".join(SENTENCES), "hello and welcome to a video about the sea", "thank you and see you next time"]


@pytest.fixture(scope="module")
def frequencies():
    return DocumentFrequencies.of(CORPUS, "bigrams")


def test_relevance_is_that_of_the_formula(frequencies):
    settings = GreedySettings(num_salient=0, closeness=0.5)
    relevance = weigh("red panda", SENTENCES, frequencies, settings).relevance
    raw = []
    for sentence in SENTENCES:
        words = sentence.split()
        places = [i for i, word in enumerate(words) if word in ("red", "panda")]
        near = sum(
            min(frequencies.idf(words[i]), frequencies.idf(words[j])) / (j - i) ** 2
            for i, j in combinations(places, 2)
            if words[i] != words[j] and not any(i < k < j for k in places)
        )
        weight = sum(frequencies.idf(word) for word in set(words) & {"red", "panda"})
        raw.append(weight / math.sqrt(max(len(words), 8)) + 0.5 * near)
    assert relevance == pytest.approx([value / max(raw) for value in raw])


def test_terms_that_the_transcript_repeats_count_beside_the_title(frequencies):
    without = weigh("red panda", SENTENCES, frequencies, GreedySettings(num_salient=0)).relevance
    assert without[3] == 0
    assert weigh("red panda", SENTENCES, frequencies, GreedySettings()).relevance[3] > 0


def test_terms_close_together_count_more(frequencies):
    near, far = "it is a red panda up there now", "the red sun and a panda up there"
    relevance = weigh("red panda", [near, far], frequencies, GreedySettings(num_salient=0)).relevance
    assert relevance[0] == 1 > relevance[1]
    flat = weigh("red panda", [near, far], frequencies, GreedySettings(num_salient=0, closeness=0)).relevance
    assert flat == [1, 1]


def test_the_choice_keeps_to_the_budget_and_the_order_and_does_not_repeat(frequencies):
    alike, apart = GreedySettings(redundancy=0), GreedySettings(redundancy=3, min_relevance=0.05)
    assert choose_greedy("red panda", SENTENCES, 80, frequencies, alike) == [1, 2]
    assert choose_greedy("red panda", SENTENCES, 80, frequencies, apart) == [2, 3]
    assert choose_greedy("red panda", SENTENCES, 54, frequencies, apart) == [2]
    assert choose_greedy("red panda", SENTENCES, 10, frequencies) == []


@pytest.mark.parametrize("title", ["", "！？", "nothing of this occurs"])
def test_without_a_shared_term_the_repeated_ones_lead_or_else_the_beginning(frequencies, title):
    assert choose_greedy(title, ["one two", "three four", "five six"], 18, frequencies) == [0, 1]
    assert choose_greedy(title, [], 100, frequencies) == []


def test_function_words_lead_to_nothing_however_rare_unless_a_title_holds_nothing_else(frequencies):
    texts = ["what is it that we should do", "a panda"]
    assert weigh("what is a panda", texts, frequencies, GreedySettings(num_salient=0)).relevance == [0, 1]
    assert weigh("what is it", texts, frequencies, GreedySettings(num_salient=0)).relevance == [1, 0]


def test_a_sentence_that_is_only_repeated_makes_no_salient_terms(frequencies):
    once, again = ["zebra crossing ahead", "the red panda"], ["zebra crossing ahead"] * 5 + ["the red panda"]
    assert weigh("panda", once, frequencies).relevance == [0, 1]
    assert weigh("panda", again, frequencies).relevance == [0] + [-math.inf] * 4 + [1]


def test_no_sentence_is_said_twice_however_much_room_is_left(frequencies):
    loop = ["Bamboo for the red panda."] * 30 + ["bamboo, for the red panda", "♪", "♪", "It grows quickly there."]
    assert choose_greedy("red panda", loop, 500, frequencies, GreedySettings(min_relevance=0)) == [0, 31, 33]
    assert choose_greedy("", loop, 500, frequencies) == [0, 31, 33]
    assert choose_greedy("panda", ["一二三。"] * 9, 500, frequencies, GreedySettings(redundancy=0)) == [0]


def test_a_transcript_of_very_many_sentences_stays_cheap():
    vectors = [{"a": 1.0, f"w{number % 50}": 1.0} for number in range(100_000)]
    relevance = [number / 100_000 for number in range(100_000)]
    chosen = choose_diverse(relevance, vectors, [1] * 100_000, 1_000, 0.7)
    assert len(chosen) == 500
    assert min(chosen) >= 99_000
