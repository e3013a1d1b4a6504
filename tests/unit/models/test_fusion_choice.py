"""Any fusion in the match model: chosen by configuration, saved, loaded, fingerprinted; misfits are refused."""

import numpy as np
import pytest
import torch
import yaml

from mmsearch.config import load_settings
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import ConfigError
from mmsearch.fusion import FusionTransformerSettings
from mmsearch.models import MatchModel, ModelSettings, load_model, save_model
from mmsearch.models.document_encoder import MatchDocumentEncoder
from mmsearch.protocols import PreparedVideo
from mmsearch.text import Tokenizer
from mmsearch.types import CONTENT, PERCEPTION, Modality

METHODS = ["concat", "gated_sum", "tfn", "lmf", "cross_attention", "transformer"]


@pytest.fixture(scope="module")
def path(tiny_model, tmp_path_factory):
    file = tmp_path_factory.mktemp("settings") / "model.yaml"
    file.write_text(yaml.safe_dump(tiny_model))
    return file


@pytest.fixture(scope="module")
def videos(tiny_corpus):
    return PreparedCorpus.open(tiny_corpus).read(range(12))


@pytest.fixture(scope="module")
def tokenizer(videos):
    return Tokenizer.train([text for video in videos for text in video.texts.values()], vocab_size=150)


def chosen(path, method):
    return load_settings(ModelSettings, path, [f"document.fusion.type={method}", "document.fusion.num_codes=2"])


@pytest.mark.parametrize("method", METHODS)
def test_a_model_with_it_encodes_saves_and_loads(path, videos, tokenizer, tmp_path, method):
    torch.manual_seed(0)
    model = MatchModel(chosen(path, method), tokenizer.vocab_size).eval()
    fusions = model.document.fusions
    assert (fusions["perception"].modalities, fusions["content"].modalities) == (PERCEPTION, CONTENT)
    some = [*videos, PreparedVideo("speech", {Modality.ASR: "a ball"}, None, (), {})]
    encoder = MatchDocumentEncoder(model, tokenizer)
    found = encoder.encode(some)
    assert found["content"].present.all()
    assert not found["perception"].present[-1]
    save_model(tmp_path / "model", model, tokenizer)
    again = MatchDocumentEncoder(*load_model(tmp_path / "model", "cpu"))
    assert again.settings.document.fusion.type == method
    assert again.spaces == encoder.spaces
    for name, embedded in again.encode(some).items():
        np.testing.assert_array_equal(embedded.vectors, found[name].vectors)


def test_an_override_of_the_type_takes_the_new_methods_defaults(path, tiny_model):
    assert load_settings(ModelSettings, path).document.fusion == FusionTransformerSettings(
        **tiny_model["document"]["fusion"]
    )
    lmf = load_settings(ModelSettings, path, ["document.fusion.rank=2", "document.fusion.type=lmf"])
    assert (lmf.document.fusion.rank, lmf.document.fusion.num_codes) == (2, 5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["document.fusion.type=cross_attention", "document.fusion.heads=3"], r"document\.fusion\.heads is 3"),
        (["document.fusion.type=tfn", "document.fusion.modality_dim=4"], r"5\^7 = 78,125 products"),
        (["document.fusion.type=lmf", "document.fusion.heads=2"], "heads"),
        (["document.fusion.type=bilinear"], r"bilinear|transformer"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_made(path, overrides, message):
    with pytest.raises(ConfigError, match=message):
        load_settings(ModelSettings, path, overrides)
