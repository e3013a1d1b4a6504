"""From a trained model to features: the command `refresh`, and the served scores against torch's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmsearch.models import MatchModel, ModelSettings, load_document_encoder, load_model, save_model
from mmsearch.scoring import FeatureScorer
from mmsearch.text import Tokenizer
from serving.__main__ import refresh

TITLES = [f"{a} {b}" for a in ("red panda", "大熊猫", "noodle soup", "city") for b in ("eats", "at home", "第一集")]
QUERIES = ["red panda at home", "大熊猫", "soup", "noodle city 第一集", "ＲＥＤ ☃"]
SIZES = {
    "dim": 16,
    "document": {
        "image": {"image_size": 32, "args": {"patch_size": 16, "embed_dim": 32, "depth": 1, "num_heads": 2}},
        "text": {"width": 32, "depth": 1, "heads": 2, "max_length": 96},
    },
    "query": {"teacher": {"width": 32, "depth": 3, "heads": 2}},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(TITLES, vocab_size=300, min_count=1)
    folder = tmp_path_factory.mktemp("run")
    save_model(folder, MatchModel(ModelSettings.model_validate(SIZES), tokenizer.vocab_size), tokenizer)
    return folder


def test_served_features_are_those_of_the_model(run, new_corpus, tmp_path, capsys):
    corpus = new_corpus(TITLES)
    settings = ["batch_size=5", "dtype=float32", "device=cpu", "executor.num_workers=0"]
    refresh(run, tmp_path / "corpus", tmp_path / "index", settings)
    scorer = FeatureScorer.open(tmp_path / "index")
    assert capsys.readouterr().out.strip() == scorer.index.generation
    assert scorer.spaces == tuple(space.name for space in load_document_encoder(run, "cpu").spaces)

    model, tokenizer = load_model(run)
    documents = load_document_encoder(run, "cpu").encode(corpus.read(range(corpus.num_videos)))
    for query in QUERIES:
        features = scorer.score(query, list(corpus.doc_ids))
        ids, mask = tokenizer.encode_batch([query], model.settings.lengths.query)
        with torch.inference_mode():
            vectors = model.student(torch.from_numpy(ids), torch.from_numpy(mask).bool())
        for name in scorer.spaces:
            values, missing = features.column(name)
            np.testing.assert_array_equal(missing, ~documents[name].present)
            expected = documents[name].vectors @ vectors[name][0].numpy()
            np.testing.assert_allclose(values[~missing], expected[~missing], atol=1e-5)
    assert features.column("cover")[1].all(), "none of these videos has a cover"
    assert not features.column("content")[1].any()
