"""What a task cannot reach, against the gradients that its loss really gives."""

import numpy as np
import pytest
import torch

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.models import MatchModel, ModelSettings
from mmsearch.models.inputs import InputMaker
from mmsearch.text import Tokenizer
from training.batches import PairBatches
from training.learner import ChunkedLearner
from training.pairs import Pairs
from training.picture_batches import PictureBatches
from training.reach import unreached
from training.tasks import ContrastiveSettings, GradedSettings, MaskedLearner, MaskedSettings

TASKS = [
    {},
    {"spaces": ["cover"]},
    {"spaces": ["frames"]},
    {"spaces": ["frames"], "frame_weight": 1.0},
    {"spaces": ["perception"]},
    {"spaces": ["content"]},
    {"spaces": ["cover", "content"], "student_weight": 0.0, "distil_weight": 0.0},
    {"spaces": ["cover", "perception"], "teacher_weight": 0.0},
    {"spaces": ["cover", "content"], "teacher_weight": 0.0, "student_weight": 0.0},
]


@pytest.fixture(scope="module")
def parts(tiny_model, tiny_corpus):
    corpus = PreparedCorpus.open(tiny_corpus)
    tokenizer = Tokenizer.train([t for v in corpus.read(range(24)) for t in v.texts.values()], vocab_size=150)
    torch.manual_seed(0)
    model = MatchModel(ModelSettings.model_validate(tiny_model), tokenizer.vocab_size).eval()
    return corpus, InputMaker(model.settings, tokenizer), model


def without_gradient(model, loss):
    """Give the names of the parameters that a loss does not depend on, a tied one under every name."""
    model.zero_grad()
    loss.backward()
    return {name for name, p in model.named_parameters(remove_duplicate=False) if p.grad is None}


@pytest.mark.parametrize("task", TASKS, ids=str)
def test_it_is_what_gets_no_gradient(parts, task):
    corpus, maker, model = parts
    settings = ContrastiveSettings(**task)
    pairs = Pairs([f"query {n}" for n in range(6)], np.arange(6), np.arange(1, 7), np.ones(6, bool), False)
    batch = PairBatches(corpus, pairs, maker, settings, batch_size=6, seed=0)(0)
    found = without_gradient(model, ChunkedLearner(model)(batch)["loss"])
    told = unreached(model, [settings])
    named = {name for name, _ in model.named_parameters(remove_duplicate=False) if name.startswith(told)}
    assert found - named == set()
    tied = {"document.text.embed.weight", "teacher.text.embed.weight"}  # reached under its other name
    assert named - found - tied == set()


def test_masked_pictures_reach_the_picture_tower_alone(parts):
    corpus, maker, model = parts
    settings = MaskedSettings(decoder_depth=1, decoder_width=16, decoder_heads=2)
    batch = PictureBatches(corpus, np.arange(6), maker, settings, batch_size=6, seed=0)(0)
    found = without_gradient(model, MaskedLearner(model, settings)(batch)["loss"])
    told = unreached(model, [settings])
    assert {name for name, _ in model.named_parameters() if name.startswith(told)} <= found
    assert not any(name.startswith("document.image.vit.blocks") for name in found)


def test_a_replayed_task_reaches_more(parts):
    cover, content = ContrastiveSettings(spaces=["cover"]), GradedSettings(spaces=["content"])
    assert "document.fusions.content" in unreached(parts[2], [cover])
    assert "document.fusions.content" not in unreached(parts[2], [cover, content])
    assert "document.fusions.perception" in unreached(parts[2], [cover, content])
