"""Batches made ahead in several threads are those of one, and hold nothing that their task does not read."""

import threading
import time

import numpy as np
import pytest
import torch

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.models import MatchModel, ModelSettings
from mmsearch.models.inputs import InputMaker
from mmsearch.text import Tokenizer
from training.augment import AugmentSettings
from training.batches import GradedBatches, PairBatches, made_ahead
from training.config import FitSettings
from training.identity import run_hash_of
from training.learner import ChunkedLearner
from training.pairs import Judged, Pairs
from training.picture_batches import PictureBatches
from training.stages import Mixed
from training.tasks import ContrastiveSettings, GradedSettings, MaskedSettings


@pytest.fixture(scope="module")
def tokenizer(tiny_corpus):
    videos = PreparedCorpus.open(tiny_corpus).read(range(24))
    return Tokenizer.train([t for v in videos for t in v.texts.values()], vocab_size=150)


class OneAtATime(PreparedCorpus):
    """A corpus that notices when two threads read at once."""

    readers = 0

    def read(self, rows):
        type(self).readers += 1
        assert self.readers == 1
        time.sleep(0.001)  # gives another thread its chance
        found = super().read(rows)
        type(self).readers -= 1
        return found


@pytest.fixture
def sources(tiny_model, tiny_corpus, tokenizer):
    """Batches of every kind, all on one corpus whose cache holds less than it has."""
    corpus = OneAtATime.open(tiny_corpus)
    maker = InputMaker(ModelSettings.model_validate(tiny_model), tokenizer)
    rows = np.random.default_rng(0).permutation(24)
    pairs = Pairs([f"query {n}" for n in range(24)], np.arange(24), rows, np.ones(24, bool), False)
    judged = Judged(["a", "b", "c"], [rows[:8], rows[8:12], rows[12:]], [np.arange(8), np.ones(4), np.arange(12)])
    made = {
        "pairs": PairBatches(corpus, pairs, maker, ContrastiveSettings(), batch_size=5, seed=1),
        "graded": GradedBatches(corpus, judged, maker, GradedSettings(videos_per_query=3), batch_size=2, seed=2),
        "pictures": PictureBatches(corpus, rows, maker, MaskedSettings(), batch_size=7, seed=3),
    }
    return made | {"mixed": Mixed(made["pairs"], made["graded"], 0.4)}


def tensors(batch):
    if hasattr(batch, "pictures"):
        return [batch.pictures]
    documents, queries = batch.documents, batch.queries
    texts = [part for text in documents.texts.values() for part in (text.ids, text.mask)]
    return [documents.cover, documents.has_cover, documents.frames, documents.has_frame, queries.ids, *texts]


@pytest.mark.parametrize("kind", ["pairs", "graded", "pictures", "mixed"])
def test_several_threads_make_the_batches_of_one(kind, sources, monkeypatch):
    monkeypatch.setattr("mmsearch.data.prepared._MAX_CACHED", 2)
    make = sources[kind]
    steps = range(3, 40)  # several epochs
    alone = [make(step) for step in steps]
    for batch, expected in zip(made_ahead(make, steps, 6), alone, strict=True):
        assert batch.names == expected.names
        for one, other in zip(tensors(batch), tensors(expected), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_order_is_kept_and_no_more_are_made_than_asked_for(threads):
    lock, at_once, begun, most = threading.Lock(), 0, [], 0

    def make(step):
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
            begun.append(step)
        time.sleep(0.004 if step % 3 == 0 else 0.001)
        with lock:
            at_once -= 1
        return step

    for taken, step in enumerate(made_ahead(make, range(10, 40), threads)):
        assert step == 10 + taken
        with lock:
            assert len(begun) <= taken + 1 + threads
    assert sorted(begun) == list(range(10, 40))
    assert most == threads or threads > 2  # a busy machine may never run five at a time


def test_batches_are_made_while_one_is_used():
    made = threading.Event()

    def make(step):
        if step == 1:
            made.set()
        return step

    batches = made_ahead(make, range(3))
    assert next(batches) == 0
    assert made.wait(10)
    batches.close()


def test_what_one_thread_raises_comes_at_its_place():
    def make(step):
        if step == 4:
            raise ValueError("broken batch")
        return step

    seen = []
    with pytest.raises(ValueError, match="broken batch"):
        seen.extend(made_ahead(make, range(9), 3))
    taken = made_ahead(make, range(9), 3)
    assert [next(taken) for _ in range(4)] == [0, 1, 2, 3]


def test_pictures_that_no_space_reads_are_not_decoded(tiny_model, tiny_corpus, tokenizer):
    corpus = PreparedCorpus.open(tiny_corpus)
    settings = ModelSettings.model_validate(tiny_model)
    pairs = Pairs(["a", "b", "c"], np.arange(3), np.array([1, 2, 3]), np.ones(3, bool), False)
    torch.manual_seed(0)
    model = MatchModel(settings, tokenizer.vocab_size).eval()

    def of(spaces):
        task = ContrastiveSettings(spaces=spaces, augment=AugmentSettings())
        batch = PairBatches(corpus, pairs, InputMaker(settings, tokenizer), task, batch_size=3, seed=0)(0)
        return batch.documents, ChunkedLearner(model)(batch)

    everything, losses = of(["cover", "frames"])
    assert everything.has_cover.all()
    assert everything.has_frame.all()
    cover, cover_losses = of(["cover"])
    assert not cover.has_frame.any()
    torch.testing.assert_close(cover_losses["teacher/cover"], losses["teacher/cover"])
    frames, frame_losses = of(["frames"])
    assert not frames.has_cover.any()
    torch.testing.assert_close(frame_losses["teacher/frames"], losses["teacher/frames"])


def test_another_number_of_threads_is_the_same_run(tiny_corpus, tmp_path):
    corpus = PreparedCorpus.open(tiny_corpus)
    tree = {
        "run": {"dir": tmp_path},
        "data": {"corpus": tiny_corpus},
        "stages": [{"name": "titles", "task": {"type": "contrastive", "pairs": "titles"}, "steps": 1}],
    }
    hashes = set()
    for threads in (1, 4):
        tree["run"]["load_threads"] = threads
        hashes.add(run_hash_of(FitSettings.model_validate(tree), corpus, None))
    tree["run"]["seed"] = 1
    assert len(hashes) == 1
    assert run_hash_of(FitSettings.model_validate(tree), corpus, None) not in hashes
