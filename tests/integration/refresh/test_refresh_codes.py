"""All codes served, by the commands: refreshed, scored, searched, measured; and what they cost on the disk."""

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from mmsearch.cli.main import app
from mmsearch.index import ForwardIndex
from mmsearch.index.layout import vectors_file
from mmsearch.matching import poly_scores
from mmsearch.models import MatchModel, ModelSettings, load_document_encoder, load_model, save_model
from mmsearch.scoring import FeatureScorer
from mmsearch.text import Tokenizer
from serving.__main__ import refresh

TITLES = [f"{a} {b}" for a in ("red panda", "大熊猫", "noodle soup", "city") for b in ("eats", "at home", "第一集")]
FUSED = ("perception", "content")


@pytest.fixture(scope="module")
def run(tiny_model, tmp_path_factory):
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(TITLES, vocab_size=300, min_count=1)
    image = {"image": {"image_size": 32, "args": {"patch_size": 16, "embed_dim": 16, "depth": 1, "num_heads": 2}}}
    tree = {**tiny_model, "num_frames": 8, "document": tiny_model["document"] | image | {"frames": {"depth": 1}}}
    tree["poly"] = {"selection": "weighted", "sharpness": 5.0}
    folder = tmp_path_factory.mktemp("run")
    save_model(folder, MatchModel(ModelSettings.model_validate(tree), tokenizer.vocab_size), tokenizer)
    return folder


def asked(*words):
    done = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert done.exit_code == 0
    return json.loads(done.stdout)


def test_all_codes_are_served_scored_searched_and_measured(run, new_corpus, tmp_path):
    corpus, index = new_corpus(TITLES), tmp_path / "index"
    settings = ["dtype=float32", "device=cpu", "executor.num_workers=0"]
    refresh(run, tmp_path / "corpus", index, settings)
    one = ForwardIndex.open(index)
    refresh(run, tmp_path / "corpus", index, [*settings, "served=codes"])
    scorer = FeatureScorer.open(index)
    assert scorer.index.generation != one.generation, "codes are not the mean"
    served = scorer.index.generation
    refresh(run, tmp_path / "corpus", index, [*settings, "served=codes"])
    assert ForwardIndex.open(index).generation == served
    folder = index / "generations"
    for name in FUSED:
        sizes = [(folder / g / vectors_file(name)).stat().st_size - 128 for g in (one.generation, served)]
        assert sizes[1] == 3 * sizes[0] == 3 * 4 * 16 * len(TITLES)

    model, _ = load_model(run)
    codes = load_document_encoder(run, "cpu", codes=True).encode(corpus.read(range(corpus.num_videos)))
    best = {}
    for query in ("red panda at home", "大熊猫"):
        features = scorer.score(query, list(corpus.doc_ids))
        vectors = scorer.encoder.encode([query])
        for name in FUSED:
            videos = torch.from_numpy(codes[name].vectors).reshape(len(TITLES), 3, -1)
            expected = poly_scores(torch.from_numpy(vectors[name]), videos, model.settings.poly)[0].numpy()
            values, missing = features.column(name)
            assert not missing.any()
            np.testing.assert_allclose(values, expected, atol=1e-5)
        best[query] = corpus.doc_ids[int(features.column("content")[0].argmax())]
        found = asked("search", "--index", index, query, "-k", 3, "--format", "json")
        assert found["docs"][0]["doc_id"] == best[query]

    judgments = tmp_path / "judgments.jsonl"
    rows = [{"query": q, "doc_id": d, "grade": int(d == best[q])} for q in best for d in corpus.doc_ids[:6]]
    rows += [{"query": q, "doc_id": d, "grade": 1} for q, d in best.items() if d not in corpus.doc_ids[:6]]
    judgments.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    measured = asked("evaluate", "--index", index, "--judgments", judgments, "--depth", 5, "--json", "--metrics", "map")
    assert measured["features"]["content"]["map"]["value"] == 1
