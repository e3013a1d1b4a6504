"""The task `cross`: which pairs a batch holds, what its losses are, and that a model learns from them."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import ConfigError
from mmsearch.models import MatchModel, ModelSettings
from mmsearch.models.inputs import InputMaker
from mmsearch.text import Tokenizer
from training.augment import AugmentSettings
from training.batches import Share
from training.cross_batches import CrossClickBatches, CrossGradedBatches, choose_negatives
from training.freezing import Freezing
from training.optim import OptimSettings, make_optimizer
from training.pairs import Judged, Pairs
from training.reach import unreached
from training.tasks import ContrastiveSettings, CrossLearner, CrossSettings

CROSS = {"depth": 2, "heads": 2}
STILL = AugmentSettings()
QUERIES = ["red ball", "green kite on the beach", "blue car", "yellow fish", "cup in the kitchen"]


@pytest.fixture(scope="module")
def parts(tiny_model, tiny_corpus):
    corpus = PreparedCorpus.open(tiny_corpus)
    tokenizer = Tokenizer.train([t for v in corpus.read(range(24)) for t in v.texts.values()], vocab_size=150)
    torch.manual_seed(0)
    model = MatchModel(ModelSettings.model_validate(tiny_model | {"cross": CROSS}), tokenizer.vocab_size)
    return corpus, InputMaker(model.settings, tokenizer), model.eval()


ALONE = Share()


def clicks(parts, satisfied, share=ALONE, **task):
    """Six clicks; two are of one query, and two of one video."""
    corpus, maker, _ = parts
    query_of, rows = np.array([0, 1, 0, 2, 3, 4]), np.array([1, 1, 2, 3, 4, 6])
    pairs = Pairs(QUERIES, query_of, rows, np.array(satisfied), False)
    task = CrossSettings(augment=STILL, **task)
    return CrossClickBatches(corpus, pairs, maker, task, batch_size=6, seed=0, share=share)


def grades(parts, **task):
    corpus, maker, _ = parts
    judged = Judged(QUERIES[:3], [np.arange(6), np.arange(3, 7), np.arange(2)], [np.arange(6) % 3, *[np.ones(4)] * 2])
    task = CrossSettings(pairs="grades", augment=STILL, **task)
    return CrossGradedBatches(corpus, judged, maker, task, batch_size=3, seed=0, share=ALONE)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 7), st.integers(1, 9), st.floats(0, 1), st.integers(0, 99))
def test_negatives_are_others_that_do_not_belong_to_the_query(size, count, share, seed):
    random = np.random.default_rng(seed)
    together = (random.random((size, size)) < share) | np.eye(size, dtype=bool)
    chosen, usable = choose_negatives(together, count, random)
    assert chosen.shape == usable.shape == (size, min(1 + count, size))
    assert (chosen[:, 0] == np.arange(size)).all()
    assert usable[:, 0].all()
    for row, (videos, use) in enumerate(zip(chosen, usable, strict=True)):
        assert len(set(videos)) == len(videos)
        assert not together[row, videos[1:][use[1:]]].any()
        assert use[1:].sum() == min(count, (~together[row]).sum()), "as many as there are"


def test_every_negative_has_its_turn():
    found = {tuple(choose_negatives(np.eye(4, dtype=bool), 1, np.random.default_rng(n))[0][0]) for n in range(50)}
    assert found == {(0, 1), (0, 2), (0, 3)}


def test_a_click_is_never_compared_with_a_video_of_the_same_query(full):
    batch = full
    assert len(batch.documents) == len(batch.queries) == len(batch) == 6
    assert batch.query_of.tolist() == [i for i in range(6) for _ in range(6)]
    lists = zip(batch.video_of.view(6, 6).tolist(), batch.usable.view(6, 6).tolist(), strict=True)
    video = [name.split()[0] for name in batch.names]
    query = [name.partition("for ")[2] for name in batch.names]
    known = set(zip(query, video, strict=True))
    for place, (videos, usable) in enumerate(lists):
        assert videos[0] == place
        assert not any((query[place], video[v]) in known for v, use in zip(videos[1:], usable[1:], strict=True) if use)


def test_processes_draw_from_their_own_parts(parts):
    whole = clicks(parts, [True] * 6, num_negatives=5)(0)
    halves = [clicks(parts, [True] * 6, Share(n, 2), num_negatives=5)(0) for n in range(2)]
    assert [name for half in halves for name in half.names] == list(whole.names)
    assert all(len(half.documents) == 3 and half.video_of.max() < 3 for half in halves)


def test_only_clicks_that_satisfied_teach_unless_all_are_asked_for(parts):
    model = parts[2]
    unsatisfied = clicks(parts, [False] * 6)(0)
    assert CrossLearner(model)(unsatisfied)["loss"].item() == 0
    everything = clicks(parts, [False] * 6, only_satisfied=False)(0)
    twin = clicks(parts, [True] * 6)(0)
    losses = [CrossLearner(model)(batch)["cross/content"].item() for batch in (everything, twin)]
    assert losses[0] == pytest.approx(losses[1])
    assert losses[0] > 0


def naive_click_loss(batch, scores, present):
    """Give the mean over learned clicks of -log softmax, by loops."""
    size, total, count = len(scores) // len(batch), 0.0, 0
    for start in range(0, len(scores), size):
        use = [i for i in range(start, start + size) if batch.usable[i] and present[i]]
        if use and use[0] == start:
            total += math.log(sum(math.exp(scores[i]) for i in use)) - float(scores[start])
            count += 1
    return total / max(count, 1)


@pytest.fixture(scope="module")
def full(parts):
    return clicks(parts, [True] * 6, num_negatives=5)(0)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 999))
def test_the_loss_of_clicks_against_a_loop(full, seed):
    random = np.random.default_rng(seed)
    some = full.usable & torch.from_numpy(random.random(36) < 0.7)
    batch = replace(full, usable=some)
    scores = torch.from_numpy(random.standard_normal(36)).float()
    present = torch.from_numpy(random.random(36) < 0.8)
    moved = scores.clone().requires_grad_()
    loss = batch.loss(moved, present)
    assert loss.item() == pytest.approx(naive_click_loss(batch, scores, present), abs=1e-5)
    loss.backward()
    assert (moved.grad[~(some & present)] == 0).all(), "nobody pushes what may be a positive away"


@pytest.mark.parametrize("loss", ["pairwise", "listwise"])
def test_the_loss_of_grades_against_a_loop(parts, loss):
    batch = grades(parts, loss=loss, videos_per_query=4)(0)
    assert len(batch.documents) < len(batch) == len(batch.grades), "a video that two queries share is there once"
    scores = torch.randn(len(batch), generator=torch.Generator().manual_seed(0))
    present = torch.arange(len(batch)) != 1
    total, count = 0.0, 0
    for query in range(3):
        rows = [i for i in range(len(batch)) if batch.query_of[i] == query and present[i]]
        mine, graded = scores[rows], batch.grades[rows].float()
        if loss == "pairwise":
            gaps = [
                s - t for s, g in zip(mine, graded, strict=True) for t, h in zip(mine, graded, strict=True) if g > h
            ]
            total += sum(math.log1p(math.exp(-gap)) for gap in gaps)
            count += len(gaps)
        elif len(set(graded.tolist())) > 1:
            total -= float((graded.softmax(0) * mine.log_softmax(0)).sum())
            count += 1
    assert count
    assert batch.loss(scores, present).item() == pytest.approx(total / count, abs=1e-5)


@pytest.mark.parametrize("make", [clicks, grades])
def test_it_learns_a_small_batch_by_heart(parts, tiny_model, make):
    batch = make(parts, [True] * 6)(0) if make is clicks else make(parts)(0)
    torch.manual_seed(1)
    model = MatchModel(
        ModelSettings.model_validate(tiny_model | {"cross": CROSS}), len(parts[2].document.text.embed.weight)
    )
    learner = CrossLearner(model)
    Freezing(learner, ["cross"], [], unreached(model, [batch.settings])).train_mode()
    optimizer = make_optimizer(learner, OptimSettings(lr=1e-2))
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = learner(batch)["loss"]
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("make", [clicks, grades])
def test_what_it_reaches_is_what_gets_a_gradient(parts, make):
    model = parts[2]
    batch = make(parts, [True] * 6)(0) if make is clicks else make(parts)(0)
    model.zero_grad()
    CrossLearner(model)(batch)["loss"].backward()
    found = {name for name, p in model.named_parameters(remove_duplicate=False) if p.grad is None}
    told = unreached(model, [batch.settings])
    named = {name for name, _ in model.named_parameters(remove_duplicate=False) if name.startswith(told)}
    tied = {"document.text.embed.weight", "teacher.text.embed.weight"}  # reached under its other name
    assert found - tied == named - tied
    assert "cross.head.weight" not in named


def test_other_tasks_do_not_reach_it(parts):
    assert "cross.head.weight".startswith(unreached(parts[2], [ContrastiveSettings()]))


def test_a_model_without_one_is_refused(tiny_model):
    with pytest.raises(ConfigError, match=r"give model\.cross"):
        CrossLearner(MatchModel(ModelSettings.model_validate(tiny_model), 150))
