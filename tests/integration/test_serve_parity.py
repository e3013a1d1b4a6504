"""A thousand queries and two hundred videos: scores in torch, of the exported tower, and as they are served."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch

from mmsearch.index import GenerationWriter
from mmsearch.matching import PolySettings, poly_scores
from mmsearch.metrics.pnr import count_pairs
from mmsearch.metrics.scored import Scored
from mmsearch.models import MatchModel, ModelSettings, export_query_tower, load_document_encoder, load_model, save_model
from mmsearch.protocols import PreparedVideo
from mmsearch.scoring import FeatureScorer
from mmsearch.text import Tokenizer
from mmsearch.types import Modality

pytestmark = pytest.mark.slow  # an export, and 1,000 queries three times

NUM_QUERIES, NUM_DOCS = 1000, 200
WORDS = [
    "red",
    "panda",
    "大熊猫",
    "吃",
    "竹子",
    "cooking",
    "noodles",
    "at",
    "home",
    "soup",
    "city",
    "第一集",
    "kite",
    "看",
    "海",
]
ODD = ["ＲＥＤ", "☃", "e\u0301", "\u200b", "\ud800", "\0", "  ", "👍🏽", "\u0645\u0631\u062d\u0628\u0627", "x" * 60]
SIZES = {
    "dim": 32,
    "document": {
        "image": {"image_size": 32, "args": {"patch_size": 16, "embed_dim": 32, "depth": 1, "num_heads": 2}},
        "text": {"width": 32, "depth": 1, "heads": 2, "max_length": 96},
        "fusion": {"num_codes": 3},
    },
    "query": {"teacher": {"width": 32, "depth": 3, "heads": 2}, "student_depth": 3},
}


def texts(num: int, seed: int, words: list[str], most: int) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(words, k=chance.randint(1, most))) for _ in range(num)]


QUERIES = texts(NUM_QUERIES, 1, WORDS + ODD, 20)
TITLES, SPEECH = texts(NUM_DOCS, 2, WORDS, 8), texts(NUM_DOCS, 3, WORDS, 20)
DOC_IDS = [f"v{i}" for i in range(NUM_DOCS)]
VIDEOS = [
    PreparedVideo(doc_id, {Modality.TITLE: title} if at % 9 == 0 else {Modality.TITLE: title, Modality.ASR: speech},
                  None, (), {})
    for at, (doc_id, title, speech) in enumerate(zip(DOC_IDS, TITLES, SPEECH, strict=True))
]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    tokenizer = Tokenizer.train([*TITLES, *SPEECH], vocab_size=300, min_count=1)
    model = MatchModel(ModelSettings.model_validate(SIZES), tokenizer.vocab_size)
    with torch.no_grad():  # away from its start, where many things are equal
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    folder = tmp_path_factory.mktemp("parity")
    save_model(folder / "run", model, tokenizer)
    export_query_tower(folder / "run", folder / "tower", single_modalities=True, codes=True)
    return folder


@pytest.fixture(scope="module")
def encoder(run):
    return load_document_encoder(run / "run", "cpu", single_modalities=True, codes=True)


@pytest.fixture(scope="module")
def embedded(encoder):
    return encoder.encode(VIDEOS)


@pytest.fixture(scope="module")
def trained(run, encoder, embedded) -> dict[str, np.ndarray]:
    """Scores as training computes them: queries in padded batches, every space in torch, [queries, documents]."""
    model, tokenizer = load_model(run / "run")
    poly = PolySettings(selection=model.settings.poly.selection, sharpness=model.settings.poly.sharpness)
    found = {space.name: [] for space in encoder.spaces}
    for start in range(0, NUM_QUERIES, 50):
        ids, mask = tokenizer.encode_batch(QUERIES[start : start + 50], model.settings.lengths.query)
        with torch.inference_mode():
            vectors = model.student(torch.from_numpy(ids), torch.from_numpy(mask).bool())
            for space in encoder.spaces:
                codes = torch.from_numpy(embedded[space.name].vectors).reshape(NUM_DOCS, space.num_codes, space.dim)
                query = vectors[space.name.split(".")[0]]
                found[space.name].append(poly_scores(query, codes, poly).numpy())
    return {name: np.concatenate(parts) for name, parts in found.items()}


def serve(run: Path, encoder, embedded, dtype: str) -> tuple[FeatureScorer, np.ndarray, np.ndarray]:
    """Publish the documents; give the scorer and all that it scores, [queries, documents, spaces]."""
    with GenerationWriter(run / f"index-{dtype}", encoder.spaces, dtype=dtype) as writer:
        writer.add(DOC_IDS, embedded)
        writer.publish(query_tower=run / "tower", source={})
    scorer = FeatureScorer.open(run / f"index-{dtype}", derived=False)
    found = scorer.score_batch([(query, DOC_IDS) for query in QUERIES])
    return scorer, np.stack([one.values for one in found]), np.stack([one.missing for one in found])


def pnr(scores: np.ndarray, grades: np.ndarray) -> float:
    queries = np.repeat([str(i) for i in range(len(scores))], NUM_DOCS).tolist()
    scored = Scored.from_columns(queries, DOC_IDS * len(scores), grades.ravel(), scores.ravel().astype(np.float64))
    concordant, discordant, tied = count_pairs(scored).totals
    return (concordant + tied / 2) / (discordant + tied / 2)


@pytest.mark.parametrize(("dtype", "most"), [("float32", 1e-5), ("float16", 1e-3), ("int8", 1e-2)])
def test_served_scores_are_those_of_training(run, encoder, embedded, trained, dtype, most):
    scorer, values, missing = serve(run, encoder, embedded, dtype)
    says_nothing = np.array([not scorer.encoder.encode([query])["content"].any() for query in QUERIES])
    assert 0 < says_nothing.sum() < 100
    assert {space.num_codes for space in scorer.index.spaces} == {1, 3}
    chance, compared = np.random.default_rng(4), 0
    for at, name in enumerate(scorer.spaces):
        there = embedded[name].present
        np.testing.assert_array_equal(missing[:, :, at], says_nothing[:, None] | ~there)
        expected, found = (one[~says_nothing][:, there] for one in (trained[name], values[:, :, at]))
        if not there.any():
            continue
        compared += 1
        assert np.abs(expected - found).max() < most, name
        for row in range(0, len(expected), 10):  # Kendall's tau is 1 where scores are further apart than rounding
            apart = expected[row][:, None] - expected[row][None] > 2 * most
            assert (found[row][:, None] > found[row][None])[apart].all()
        noisy = expected + chance.normal(0, expected.std(axis=1, keepdims=True), expected.shape)
        grades = np.digitize(noisy, np.quantile(noisy, [0.5, 0.8, 0.95]))
        if there.all():
            before, after = pnr(expected, grades), pnr(found, grades)
            assert before > 1.5
            assert abs(after / before - 1) < 1e-3 * (1 if dtype != "int8" else 5)
    assert compared >= 4


def test_token_ids_in_training_and_in_serving_are_the_same(run):
    _, trained = load_model(run / "run")
    served = Tokenizer.load(run / "tower" / "tokenizer")
    chance = random.Random(5)
    fuzzed = [
        "".join(chance.choice([*WORDS, *ODD, chr(chance.randrange(0x11_0000))]) for _ in range(chance.randint(0, 30)))
        for _ in range(10_000)
    ]
    for start in range(0, len(fuzzed), 500):
        ids, mask = trained.encode_batch(fuzzed[start : start + 500], 16)
        for row, text in enumerate(fuzzed[start : start + 500]):
            (alone,), _ = served.encode_batch([text], 16)
            np.testing.assert_array_equal(ids[row][mask[row].astype(bool)], alone)
