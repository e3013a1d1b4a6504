"""The document tower in two steps: what towers gave before stands for pictures, and the vectors stay the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.models.document_encoder import MatchDocumentEncoder
from mmsearch.models.fingerprints import tower_fingerprints
from mmsearch.models.match import MatchModel
from mmsearch.models.settings import ModelSettings
from mmsearch.protocols import SteppedEncoder
from mmsearch.text import Tokenizer
from mmsearch.types import Modality

COVER, FRAMES = Modality.COVER, Modality.FRAMES
TITLES = ["the red ball", "a green kite on the beach", "blue fish in the kitchen"]


def new_model(tiny_model, spaces=None, seed=0):
    torch.manual_seed(seed)
    tokenizer = Tokenizer.train(TITLES, vocab_size=200, min_count=1)
    return MatchModel(ModelSettings.model_validate(tiny_model), tokenizer.vocab_size, spaces), tokenizer


@pytest.fixture
def videos(tiny_corpus):
    corpus = PreparedCorpus.open(tiny_corpus)
    return corpus.read(range(corpus.num_videos))


@pytest.fixture
def encoder(tiny_model):
    return MatchDocumentEncoder(*new_model(tiny_model), single_modalities=True)


class Counted:
    """How many pictures and clips the towers of an encoder see."""

    def __init__(self, encoder):
        self.pictures = self.videos = 0
        document = encoder._model.document
        document.image.register_forward_pre_hook(lambda _, given: self._see("pictures", given[0]))
        document.frame.register_forward_pre_hook(lambda _, given: self._see("videos", given[0]))

    def _see(self, name, given):
        setattr(self, name, getattr(self, name) + len(given))


def assert_close(found, expected):
    assert set(found) == set(expected)
    for name, embedded in expected.items():
        np.testing.assert_array_equal(found[name].present, embedded.present)
        np.testing.assert_allclose(found[name].vectors, embedded.vectors, atol=2e-6)


def test_all_pictures_reused_run_no_picture_tower_and_give_the_same_vectors(encoder, videos):
    assert isinstance(encoder, SteppedEncoder)
    outputs = encoder.run_towers(encoder.read(videos))
    kept = encoder.kept(outputs)
    has_cover = [n for n, video in enumerate(videos) if video.cover is not None]
    assert list(kept[COVER]) == has_cover
    assert list(kept[FRAMES]) == [n for n, video in enumerate(videos) if video.frames]
    counted = Counted(encoder)
    retitled = [replace(video, texts={**video.texts, Modality.TITLE: "blue fish"}) for video in videos]
    torn = [replace(video, cover=video.cover and b"", frames=tuple(b"" for _ in video.frames)) for video in retitled]
    found = encoder.fuse(encoder.run_towers(encoder.read(torn, kept)))
    assert (counted.pictures, counted.videos) == (0, 0)
    assert_close(found, encoder.encode(retitled))
    assert counted.pictures > 0
    before = encoder.fuse(outputs)
    np.testing.assert_array_equal(found["cover"].vectors, before["cover"].vectors)
    assert not np.array_equal(found["content"].vectors, before["content"].vectors)


@pytest.mark.parametrize("modality", [COVER, FRAMES])
def test_some_pictures_reused_leave_the_others_to_the_towers(encoder, videos, modality):
    kept = encoder.kept(encoder.run_towers(encoder.read(videos)))
    some = {place: value for place, value in kept[modality].items() if place % 3}
    counted = Counted(encoder)
    assert_close(encoder.fuse(encoder.run_towers(encoder.read(videos, {modality: some}))), encoder.encode(videos))
    if modality is FRAMES:
        clips = sum(1 for n, video in enumerate(videos) if video.frames and n not in some)
        assert counted.videos - len(videos) == clips


def test_what_is_kept_of_what_was_reused_is_what_was_given(encoder, videos):
    kept = encoder.kept(encoder.run_towers(encoder.read(videos)))
    again = encoder.kept(encoder.run_towers(encoder.read(videos, kept)))
    for modality, outputs in kept.items():
        assert list(again[modality]) == list(outputs)
        assert all(np.array_equal(again[modality][place], value) for place, value in outputs.items())


def test_a_fingerprint_of_a_tower_moves_with_its_weights_alone(tiny_model):
    model, _ = new_model(tiny_model)
    before = tower_fingerprints(model)

    def after(part):
        with torch.no_grad():
            next(part.parameters()).add_(0.01)
        marks = tower_fingerprints(model)
        moved = {modality for modality in before if marks[modality] != before[modality]}
        before.update(marks)
        return moved

    assert after(model.document.text) == after(model.document.heads) == after(model.document.fusions) == set()
    assert after(model.document.from_image) == after(model.student) == set()
    assert after(model.document.frame) == {FRAMES}
    assert after(model.document.image) == {COVER, FRAMES}
    other, _ = new_model(tiny_model | {"num_frames": 1})
    assert tower_fingerprints(other)[FRAMES] != tower_fingerprints(new_model(tiny_model)[0])[FRAMES]


@pytest.mark.parametrize(("space", "towers"), [("cover", {COVER}), ("frames", {FRAMES}), ("perception", {COVER})])
def test_only_towers_of_the_spaces_are_kept(tiny_model, videos, space, towers):
    encoder = MatchDocumentEncoder(*new_model(tiny_model, [space]))
    kept = encoder.kept(encoder.run_towers(encoder.read(videos)))
    assert set(kept) == set(encoder.towers) == towers
    counted = Counted(encoder)
    found = encoder.fuse(encoder.run_towers(encoder.read(videos, kept)))
    assert (counted.pictures, counted.videos) == (0, 0)
    assert_close(found, encoder.encode(videos))
