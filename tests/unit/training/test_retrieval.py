"""Validation on pairs against loops that look at every pair."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import DataError
from mmsearch.models import MatchModel, ModelSettings
from mmsearch.models.inputs import InputMaker
from mmsearch.text import Tokenizer
from training.retrieval import PairValidation, count_own_pairs, recall
from training.validation import embed_queries, embed_videos

MISSING = float("-inf")


def loop_over_pairs(scores, own):
    """Give concordant, discordant and tied pairs of an own and another video, one pair after another."""
    counts = [0, 0, 0]
    for row, mine in zip(scores.tolist(), own.tolist(), strict=True):
        for score, is_own in zip(row, mine, strict=True):
            others = [s for s, m in zip(row, mine, strict=True) if not m] if is_own else []
            for other in others:
                counts[0 if score > other else 1 if score < other else 2] += 1
    return counts


def loop_over_ranks(scores, own, depth):
    """Give the mean share of own videos that fewer than `depth` others equal or beat."""
    shares = []
    for row, mine in zip(scores.tolist(), own.tolist(), strict=True):
        owned = [n for n, is_own in enumerate(mine) if is_own]
        found = 0
        for n in owned:
            before = sum(1 for m, score in enumerate(row) if m != n and score >= row[n])
            found += row[n] != MISSING and before < depth
        shares.append(found / len(owned))
    return sum(shares) / len(shares)


@st.composite
def judged(draw):
    videos = draw(st.integers(1, 14))
    queries = draw(st.integers(1, 4))
    score = st.sampled_from([MISSING, -1.0, 0.0, 0.25, 0.5, 1.0])  # few values: many ties
    scores = draw(st.lists(st.lists(score, min_size=videos, max_size=videos), min_size=queries, max_size=queries))
    flags = st.lists(st.booleans(), min_size=videos, max_size=videos).filter(any)
    own = draw(st.lists(flags, min_size=queries, max_size=queries))
    return torch.tensor(scores), torch.tensor(own)


@given(judged())
def test_pairs_are_counted_as_a_loop_does(given_scores):
    assert count_own_pairs(*given_scores).tolist() == loop_over_pairs(*given_scores)


@given(judged(), st.integers(1, 12))
def test_recall_is_that_of_a_loop(given_scores, depth):
    assert recall(*given_scores, depth) == pytest.approx(loop_over_ranks(*given_scores, depth), abs=1e-6)


def test_a_video_without_vector_is_never_found():
    scores, own = torch.tensor([[MISSING, 0.5, 0.25]]), torch.tensor([[True, False, False]])
    assert recall(scores, own, 10) == 0
    assert count_own_pairs(scores, own).tolist() == [0, 2, 0]


@pytest.fixture(scope="module")
def parts(tiny_model, tiny_corpus):
    corpus = PreparedCorpus.open(tiny_corpus)
    tokenizer = Tokenizer.train([t for v in corpus.read(range(24)) for t in v.texts.values()], vocab_size=150)
    torch.manual_seed(0)
    model = MatchModel(ModelSettings.model_validate(tiny_model), tokenizer.vocab_size, ["cover", "content"])
    return corpus, InputMaker(model.settings, tokenizer), model


PAIRS = [("red ball", "d01"), ("red ball", "d05"), ("blue fish", "d16"), ("blue fish", "absent"), ("cup", "d03")]


def test_figures_of_a_model_are_those_of_a_loop(parts):
    corpus, maker, model = parts
    found = PairValidation(corpus, PAIRS, maker)(model)
    assert not model.training
    queries = ["red ball", "blue fish", "cup"]
    own = torch.zeros(3, 24, dtype=torch.bool)
    for query, doc_id in PAIRS:
        if doc_id in corpus.row_of:
            own[queries.index(query), corpus.row_of[doc_id]] = True
    with torch.no_grad():
        videos = embed_videos(model, corpus, torch.arange(24).numpy(), maker)
        vectors = embed_queries(model, queries, maker)
    assert set(found) == {"pair_pnr", "recall@10"}
    assert set(found["pair_pnr"]) == {f"{t}/{s}" for t in ("teacher", "student") for s in ("cover", "content")}
    assert not videos["cover"][1].all(), "d05 has no cover: the case of a missing vector is covered"
    for name, query in vectors.items():
        video, present = videos[name.partition("/")[2]]
        scores = torch.where(present, query @ video.T, torch.tensor(MISSING))
        right, wrong, tied = loop_over_pairs(scores, own)
        assert found["pair_pnr"][name] == pytest.approx((right + tied / 2) / max(1, wrong + tied / 2))
        assert found["recall@10"][name] == pytest.approx(loop_over_ranks(scores, own, 10))


def test_a_model_of_no_numbers_finds_nothing(parts):
    corpus, maker, model = parts
    broken = MatchModel(model.settings, maker._tokenizer.vocab_size, ["cover"])
    with torch.no_grad():
        broken.student.heads["cover"].weight.fill_(math.nan)
    found = PairValidation(corpus, PAIRS, maker)(broken)
    assert found["recall@10"]["student/cover"] == 0
    assert found["pair_pnr"]["student/cover"] == 1  # all are tied: chance
    assert found["recall@10"]["teacher/cover"] > 0


def test_of_very_many_queries_an_even_sample_is_taken(parts):
    corpus, maker, _ = parts
    pairs = [(f"query {n}", "d01") for n in range(4001)]
    validation = PairValidation(corpus, pairs, maker)
    assert validation._queries == [f"query {n}" for n in range(0, 4001, 3)]


def test_pairs_of_other_videos_are_refused(parts):
    with pytest.raises(DataError, match="no pair of val_interactions"):
        PairValidation(parts[0], [("red ball", "absent")], parts[1])
