"""What is told of a batch whose gradient is no number."""

import json

import numpy as np
import pytest
import torch

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.models import MatchModel, ModelSettings
from mmsearch.models.inputs import InputMaker
from mmsearch.text import Tokenizer
from training.augment import AugmentSettings
from training.batches import GradedBatches, PairBatches
from training.learner import ChunkedLearner
from training.not_finite import explain
from training.pairs import Judged, Pairs
from training.paths import RunPaths
from training.picture_batches import PictureBatches
from training.tasks import ContrastiveSettings, GradedSettings, MaskedLearner, MaskedSettings

QUERIES = [f"{colour} thing" for colour in ("red", "green", "blue", "yellow", "pink", "grey")]


@pytest.fixture
def parts(tiny_model, tiny_corpus):
    corpus = PreparedCorpus.open(tiny_corpus)
    texts = [text for video in corpus.read(range(24)) for text in video.texts.values()]
    tokenizer = Tokenizer.train(texts + QUERIES * 2, vocab_size=200)
    torch.manual_seed(0)
    model = MatchModel(ModelSettings.model_validate(tiny_model), tokenizer.vocab_size).eval()
    return corpus, InputMaker(model.settings, tokenizer), model


def pairs_of(parts):
    corpus, maker, _ = parts
    pairs = Pairs(QUERIES, np.arange(6), np.arange(1, 7), np.ones(6, bool), False)
    settings = ContrastiveSettings(spaces=["cover"], augment=AugmentSettings())
    return PairBatches(corpus, pairs, maker, settings, batch_size=6, seed=0)(0)


def poison_word(parts, word):
    _, maker, model = parts
    ids = [set(maker.queries([text]).ids[0].tolist()) for text in (f"{word} thing", "thing")]
    (token,) = ids[0] - ids[1]
    with torch.no_grad():
        model.student.text.embed.weight[token] = float("nan")


def test_the_row_is_named_and_all_rows_are_written_down(parts, tmp_path):
    poison_word(parts, "yellow")
    batch = pairs_of(parts)
    error = explain(ChunkedLearner(parts[2]), batch, "clicks", 17, RunPaths(tmp_path))
    (name,) = [name for name in batch.names if "yellow" in name]
    assert (
        f"stage 'clicks', step 17: the loss or its gradient is not finite; vectors that are no numbers come from {name}"
        in str(error)
    )
    assert str(tmp_path / "bad_batch-0.json") in str(error)
    told = json.loads((tmp_path / "bad_batch-0.json").read_text())
    assert told == {"stage": "clicks", "step": 17, "suspects": [name], "batch": list(batch.names)}


def test_without_a_suspect_the_batch_is_told(parts, tmp_path):
    error = explain(ChunkedLearner(parts[2]), pairs_of(parts), "clicks", 0, RunPaths(tmp_path))
    assert "the batch begins with d0" in str(error)
    assert json.loads((tmp_path / "bad_batch-0.json").read_text())["suspects"] == []


def test_where_no_row_is_left_the_rate_is_blamed(parts, tmp_path):
    with torch.no_grad():
        for parameter in parts[2].parameters():
            parameter.fill_(float("nan"))
    error = explain(ChunkedLearner(parts[2]), pairs_of(parts), "clicks", 1, RunPaths(tmp_path))
    assert "no vector of the batch is a number any more, as those of d0" in str(error)
    assert "Lower optim.lr, or raise warmup_steps. The last" in str(error)


def test_of_graded_rows_those_of_a_broken_query_are_named(parts, tmp_path):
    corpus, maker, model = parts
    poison_word(parts, "yellow")
    judged = Judged(["red thing", "yellow thing"], [np.arange(1, 4), np.arange(6, 9)], [np.arange(3)] * 2)
    settings = GradedSettings(spaces=["cover"], augment=AugmentSettings())
    batch = GradedBatches(corpus, judged, maker, settings, batch_size=2, seed=0)(0)
    error = explain(ChunkedLearner(model), batch, "grades", 3, RunPaths(tmp_path))
    suspects = json.loads((tmp_path / "bad_batch-0.json").read_text())["suspects"]
    assert suspects == [name for name in batch.names if "yellow" in name]
    assert suspects[0] in str(error)


def test_of_pictures_the_videos_are_told(parts, tmp_path):
    corpus, maker, model = parts
    settings = MaskedSettings(decoder_depth=1, decoder_width=16, decoder_heads=2)
    batch = PictureBatches(corpus, np.arange(1, 4), maker, settings, batch_size=3, seed=0)(0)
    explain(MaskedLearner(model, settings), batch, "mae", 1, RunPaths(tmp_path))
    assert sorted(json.loads((tmp_path / "bad_batch-0.json").read_text())["batch"]) == ["d01", "d02", "d03"]
