"""Tasks: what teaches whom."""

import numpy as np
import pytest
import torch

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.models import MatchModel, ModelSettings
from mmsearch.models.inputs import InputMaker
from mmsearch.text import Tokenizer
from training.augment import AugmentSettings
from training.batches import GradedBatches, PairBatches, made_ahead
from training.learner import ChunkedLearner
from training.pairs import Judged, Pairs
from training.tasks import ContrastiveSettings, GradedSettings


@pytest.fixture(scope="module")
def parts(tiny_model, tiny_corpus):
    corpus = PreparedCorpus.open(tiny_corpus)
    tokenizer = Tokenizer.train([t for v in corpus.read(range(24)) for t in v.texts.values()], vocab_size=150)
    torch.manual_seed(0)
    model = MatchModel(ModelSettings.model_validate(tiny_model), tokenizer.vocab_size)
    return corpus, InputMaker(model.settings, tokenizer), model


def pair_batch(parts, satisfied, **settings):
    corpus, maker, _ = parts
    rows = np.array([1, 2, 3, 4, 6, 7])
    pairs = Pairs([f"query {n}" for n in range(6)], np.arange(6), rows, np.array(satisfied), False)
    return PairBatches(
        corpus, pairs, maker, ContrastiveSettings(augment=AugmentSettings(), **settings), batch_size=6, seed=0
    )(0)


def losses_of(batch, model):
    return ChunkedLearner(model)(batch)


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name for name, p in model.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}


def test_the_loss_is_the_sum_of_its_parts(parts):
    losses = losses_of(pair_batch(parts, [True] * 6), parts[2].eval())
    spaces = ("cover", "frames", "perception", "content")
    assert set(losses) == {"loss"} | {f"{what}/{s}" for what in ("teacher", "student", "distil") for s in spaces}
    torch.testing.assert_close(losses["loss"], sum(v for k, v in losses.items() if k != "loss"))


def test_clicks_that_did_not_satisfy_teach_perception_alone(parts):
    losses = losses_of(pair_batch(parts, [False] * 6), parts[2].eval())
    assert losses["teacher/content"].item() == losses["student/frames"].item() == 0
    assert losses["teacher/perception"].item() > 0
    titles = losses_of(pair_batch(parts, [False] * 6, pairs="titles"), parts[2])
    assert titles["teacher/content"].item() > 0


def test_the_distance_moves_the_student_alone(parts):
    model = parts[2].eval()
    with torch.no_grad():
        model.student.heads["cover"].weight.add_(0.1)
    moved = gradients(model, losses_of(pair_batch(parts, [True] * 6), model)["distil/cover"])
    assert moved
    assert all(name.startswith("student.") for name in moved)


def test_both_towers_move_the_document_tower(parts):
    model = parts[2].eval()
    for tower in ("teacher", "student"):
        moved = gradients(model, losses_of(pair_batch(parts, [True] * 6), model)[f"{tower}/content"])
        assert any(name.startswith("document.fusions.content") for name in moved)
        other = {"teacher": "student", "student": "teacher"}[tower]
        assert not any(name.startswith(f"{other}.") and "embed" not in name for name in moved)


def test_a_scale_beyond_its_bound_comes_back(parts):
    model = parts[2].eval()
    with torch.no_grad():
        model.log_scale["cover"].fill_(9.0)
    model.bound_scales()
    assert model.scale("cover").item() == pytest.approx(100)
    assert "log_scale.cover" in gradients(model, losses_of(pair_batch(parts, [True] * 6), model)["teacher/cover"])
    with torch.no_grad():
        model.log_scale["cover"].fill_(2.0)
    model.bound_scales()
    assert model.log_scale["cover"].item() == 2


def test_only_the_spaces_of_a_stage_learn(parts):
    model = parts[2].eval()
    moved = gradients(model, losses_of(pair_batch(parts, [True] * 6, spaces=["cover"]), model)["loss"])
    assert "document.heads.cover.weight" in moved
    assert not any("fusions" in name or "heads.content" in name for name in moved)


def test_graded_batches_draw_the_judged_videos_of_their_queries(parts):
    corpus, maker, model = parts
    judged = Judged(["a", "b", "c"], [np.arange(8), np.arange(8, 10), np.arange(4)], [np.arange(8), *[np.ones(4)] * 2])
    batches = GradedBatches(
        corpus, judged, maker, GradedSettings(videos_per_query=3, augment=AugmentSettings()), batch_size=3, seed=0
    )
    batch = batches(0)
    assert torch.bincount(batch.query_of).tolist().count(3) == 2  # one query has two judged videos only
    assert len(batch.documents) == len(batch.grades) == 8
    assert losses_of(batch, model.eval())["loss"].isfinite()


def test_batches_made_ahead_come_in_order_and_raise_what_was_raised():
    assert list(made_ahead(lambda step: step * 2, range(3, 7))) == [6, 8, 10, 12]
    assert list(made_ahead(lambda step: step, range(5, 5))) == []

    def broken(step):
        if step == 1:
            raise ValueError("broken batch")
        return step

    with pytest.raises(ValueError, match="broken batch"):
        list(made_ahead(broken, range(3)))


def naive_pair_loss(query, video, pairs, known, scale):
    """Give InfoNCE in both directions by loops: `pairs` are (query, video), `known` all that belong together."""
    total = 0.0
    for q, v in pairs:
        others = [w for w in sorted({w for _, w in pairs}) if w == v or (q, w) not in known]
        total -= torch.log_softmax(scale * torch.stack([query[q] @ video[w] for w in others]), 0)[others.index(v)]
        asking = [i for i in range(len(query)) if i == q or (i, v) not in known]
        total -= torch.log_softmax(scale * torch.stack([query[i] @ video[v] for i in asking]), 0)[asking.index(q)]
    return total / (2 * len(pairs))


def test_queries_that_share_a_video_in_a_batch_against_loops(parts):
    corpus, maker, model = parts
    rows = np.array([1, 1, 1, 2, 2, 3, 4, 4])  # the video of row 3 has one query only: it comes twice
    pairs = Pairs([f"query {n}" for n in range(8)], np.arange(8), rows, np.ones(8, bool), False)
    task = ContrastiveSettings(augment=AugmentSettings(), spaces=["cover"], queries_per_video=2, distil_weight=0)
    batch = PairBatches(corpus, pairs, maker, task, batch_size=8, seed=0)(0)
    assert len(batch.documents) == 4
    assert len(batch.queries) == len(batch) == 8
    given = ChunkedLearner(model.eval())(batch, embed_only=True)
    query, video = given.vectors["teacher/cover"], given.vectors["codes/cover"][:, 0]
    links = [(i, i // 2) for i in range(8)]
    expected = naive_pair_loss(query, video, links, set(links), model.scale("cover"))
    torch.testing.assert_close(batch.losses(model, given)["teacher/cover"], expected)
    drawn = {
        name for step in range(30) for name in PairBatches(corpus, pairs, maker, task, batch_size=8, seed=0)(step).names
    }
    assert len(drawn) == 8  # every query has its turn
