"""A model served with all codes of a video, beside the same model served with their mean."""

import numpy as np
import pytest
import torch

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.index.query_tower import read_query_tower
from mmsearch.matching import mean_code
from mmsearch.models import MatchModel, ModelSettings, export_query_tower, save_model
from mmsearch.models.document_encoder import MatchDocumentEncoder
from mmsearch.protocols import PreparedVideo
from mmsearch.text import Tokenizer
from mmsearch.types import Modality

FUSED = {"perception", "content"}


@pytest.fixture(scope="module")
def parts(tiny_model, tiny_corpus):
    videos = PreparedCorpus.open(tiny_corpus).read(range(12))
    tokenizer = Tokenizer.train([text for video in videos for text in video.texts.values()], vocab_size=150)
    torch.manual_seed(0)
    tree = tiny_model | {"poly": {"selection": "weighted", "sharpness": 7.5}}
    return MatchModel(ModelSettings.model_validate(tree), tokenizer.vocab_size), tokenizer, videos


@pytest.mark.parametrize("single_modalities", [False, True])
def test_fused_spaces_have_all_codes_and_the_others_one_vector(parts, single_modalities):
    model, tokenizer, videos = parts
    speech = PreparedVideo("speech", {Modality.ASR: "a ball"}, None, (), {})
    encoder = MatchDocumentEncoder(model, tokenizer, single_modalities=single_modalities, codes=True)
    found = encoder.encode([*videos, speech])
    assert [space.name for space in encoder.spaces] == list(found)
    for space in encoder.spaces:
        vectors, present = found[space.name].vectors, found[space.name].present
        assert space.num_codes == (3 if space.name.split(".")[0] in FUSED else 1)
        assert vectors.shape == (13, space.row_dim)
        lengths = np.linalg.norm(vectors.reshape(13, space.num_codes, space.dim), axis=2)
        np.testing.assert_allclose(lengths, np.broadcast_to(present[:, None], lengths.shape), atol=1e-5)
    assert {name for name, embedded in found.items() if embedded.present[-1]} >= {"content"}


def test_their_mean_is_what_is_served_else(parts):
    model, tokenizer, videos = parts
    every, mean = (MatchDocumentEncoder(model, tokenizer, codes=codes).encode(videos) for codes in (True, False))
    for name, embedded in mean.items():
        codes = torch.from_numpy(every[name].vectors).reshape(len(videos), -1, model.settings.dim)
        expected = mean_code(codes).numpy()[embedded.present]
        np.testing.assert_allclose(embedded.vectors[embedded.present], expected, atol=1e-6)
        np.testing.assert_array_equal(embedded.present, every[name].present)
    assert len(np.unique(every["content"].vectors[0].reshape(3, -1), axis=0)) == 3, "the codes differ"


def test_how_it_is_served_is_no_part_of_the_fingerprint(parts):
    model, tokenizer, _ = parts
    every, mean = (MatchDocumentEncoder(model, tokenizer, codes=codes).spaces for codes in (True, False))
    assert [space.fingerprint for space in every] == [space.fingerprint for space in mean]
    assert every != mean


@pytest.mark.parametrize("codes", [False, True])
def test_the_exported_tower_names_codes_and_selection(parts, tmp_path, codes):
    model, tokenizer, _ = parts
    save_model(tmp_path / "run", model, tokenizer)
    export_query_tower(tmp_path / "run", tmp_path / "tower", codes=codes)
    told = read_query_tower(tmp_path / "tower")
    encoder = MatchDocumentEncoder(model, tokenizer, codes=codes)
    assert tuple(space.space for space in told.spaces) == encoder.spaces
    assert {(space.selection, space.sharpness) for space in told.spaces} == {("weighted", 7.5)}
