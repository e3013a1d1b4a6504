"""The cross-encoder as part of a model, and the scorer over a corpus."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import ConfigError
from mmsearch.matching import paired_poly_scores
from mmsearch.models import MatchModel, ModelSettings, load_model, save_model
from mmsearch.models.cross_scorer import CrossScorer, score_pairs
from mmsearch.models.fingerprints import model_spaces
from mmsearch.models.inputs import InputMaker
from mmsearch.text import Tokenizer
from mmsearch.types import CONTENT, Modality

CROSS = {"depth": 1, "heads": 2}


@pytest.fixture(scope="module")
def corpus(tiny_corpus):
    return PreparedCorpus.open(tiny_corpus)


@pytest.fixture(scope="module")
def tokenizer(corpus):
    return Tokenizer.train([t for v in corpus.read(range(24)) for t in v.texts.values()], vocab_size=150)


def make(tiny_model, tokenizer, cross=CROSS, spaces=None):
    torch.manual_seed(0)
    return MatchModel(ModelSettings.model_validate(tiny_model | {"cross": cross}), tokenizer.vocab_size, spaces).eval()


@pytest.fixture(scope="module")
def model(tiny_model, tokenizer):
    """A model whose cross-encoder has learned something."""
    made = make(tiny_model, tokenizer)
    torch.nn.init.normal_(made.cross.head.weight)
    return made


def pairs_of(model, corpus, tokenizer, queries, rows):
    """Score query i with row i, all in one call."""
    maker, count = InputMaker(model.settings, tokenizer), torch.arange(len(rows))
    with torch.inference_mode():
        return model.cross_scores(maker.queries(queries), maker.documents(corpus.read(rows)), count, count)


def test_everything_else_starts_from_the_same_numbers_without_it(tiny_model, tokenizer):
    with_one, without = make(tiny_model, tokenizer).state_dict(), make(tiny_model, tokenizer, None).state_dict()
    assert {name.split(".")[0] for name in with_one.keys() - without.keys()} == {"cross"}
    assert all(torch.equal(with_one[name], tensor) for name, tensor in without.items())


def test_it_moves_no_fingerprint_of_a_space(tiny_model, tokenizer, model):
    without = model_spaces(make(tiny_model, tokenizer, None), tokenizer)
    assert model_spaces(model, tokenizer) == without
    assert model_spaces(make(tiny_model, tokenizer, CROSS | {"depth": 2}), tokenizer) == without


def test_folders_from_before_there_was_one_are_read(tiny_model, tokenizer, tmp_path):
    save_model(tmp_path, make(tiny_model, tokenizer, None), tokenizer)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["model"]["cross"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    loaded, _ = load_model(tmp_path)
    assert loaded.cross is None
    with pytest.raises(ConfigError, match="no cross-encoder"):
        loaded.cross_scores(None, None, None, None)


def test_untrained_it_ranks_as_the_vectors_do(tiny_model, corpus, tokenizer):
    model = make(tiny_model, tokenizer)
    queries, rows = ["red ball", "blue fish", "kite"], [1, 7, 13]
    scores, present = pairs_of(model, corpus, tokenizer, queries, rows)
    maker = InputMaker(model.settings, tokenizer)
    asked = maker.queries(queries)
    with torch.inference_mode():
        codes = model.document(maker.documents(corpus.read(rows)), ("content",))["content"].codes
        vectors = model.teacher(asked.ids, asked.mask, ("content",))["content"]
        expected = model.scale("content") * paired_poly_scores(vectors, codes, model.settings.poly)
    assert present.all()
    torch.testing.assert_close(scores, expected)


@pytest.mark.parametrize(("cross", "spaces"), [(CROSS | {"add_vectors": False}, None), (CROSS, ("cover",))])
def test_without_vectors_to_add_it_is_the_cross_encoder_alone(tiny_model, corpus, tokenizer, cross, spaces):
    model = make(tiny_model, tokenizer, cross, spaces)
    maker = InputMaker(model.settings, tokenizer)
    asked = maker.queries(["red ball"])
    with torch.inference_mode():
        read = model.document.tokens(maker.documents(corpus.read([1])))
        expected = model.cross(model.teacher.text(asked.ids, asked.mask), asked.mask, *read)
    found = pairs_of(model, corpus, tokenizer, ["red ball"], [1])[0]
    torch.testing.assert_close(found, expected)
    assert found.abs() > 0


def test_tokens_are_of_all_modalities_and_masked_where_something_is_missing(corpus, tokenizer, model):
    videos = corpus.read(range(24))
    read = model.document.tokens(InputMaker(model.settings, tokenizer).documents(videos))
    assert read.tokens.shape[:2] == read.mask.shape == (24, len(read.modality))
    order = list(Modality)
    assert set(read.modality.tolist()) == {order.index(m) for m in CONTENT}
    for video, mask in zip(videos, read.mask, strict=True):
        has = {order[number] for number, real in zip(read.modality.tolist(), mask.tolist(), strict=True) if real}
        given = {*video.texts, *([Modality.COVER] if video.cover else []), *([Modality.FRAMES] if video.frames else [])}
        assert has == given


def test_pairs_share_queries_and_videos_and_score_as_by_themselves(corpus, tokenizer, model):
    maker = InputMaker(model.settings, tokenizer)
    queries, rows = ["red ball", "blue fish on the beach"], [3, 5, 11]
    query_of, video_of = torch.tensor([1, 0, 1, 1]), torch.tensor([2, 0, 0, 2])
    with torch.inference_mode():
        together, _ = model.cross_scores(maker.queries(queries), maker.documents(corpus.read(rows)), query_of, video_of)
    alone = [
        pairs_of(model, corpus, tokenizer, [queries[q]], [rows[v]])[0]
        for q, v in zip(query_of.tolist(), video_of.tolist(), strict=True)
    ]
    torch.testing.assert_close(together, torch.cat(alone))
    assert len({round(float(score), 5) for score in alone}) == 3


def test_what_is_not_there_is_missing_and_the_order_is_kept(corpus, tokenizer, model):
    maker = InputMaker(model.settings, tokenizer)
    scorer = CrossScorer(model, corpus, maker, batch_size=2)
    doc_ids = ["d11", "nowhere", "d03", "d05", "d11"]
    found = scorer.score("blue fish", doc_ids)
    assert np.isnan(found).tolist() == [False, True, False, False, False]
    expected = pairs_of(model, corpus, tokenizer, ["blue fish"] * 3, [11, 3, 5])[0].numpy()
    np.testing.assert_allclose(found[[0, 2, 3]], expected, rtol=1e-4, atol=1e-5)
    assert found[0] == pytest.approx(found[4])
    assert np.isnan(scorer.score(" \t", ["d03"])).all()
    assert scorer.score("red", []).shape == (0,)


def test_a_video_with_nothing_to_read_is_missing(tokenizer, model, corpus):
    empty = replace(corpus.read([4])[0], texts={}, cover=None, frames=())

    class Emptied:
        """The corpus, with one video emptied."""

        def read(self, rows):
            return [empty if row == 4 else corpus.read([row])[0] for row in rows]

    maker = InputMaker(model.settings, tokenizer)
    numbers = np.array([4, 3, 4])
    found = np.zeros(3)
    for places, scores in score_pairs(model, Emptied(), maker, ["red"], np.zeros(3, np.int64), numbers):
        found[places] = scores
    assert np.isnan(found).tolist() == [True, False, True]


def test_every_pair_comes_once_in_the_order_of_the_corpus(corpus, tokenizer, model):
    random = np.random.default_rng(0)
    rows, query_of = random.integers(0, 24, 40), random.integers(0, 3, 40)
    maker = InputMaker(model.settings, tokenizer)
    batches = list(score_pairs(model, corpus, maker, ["red ball", "fish", "a kite"], query_of, rows, batch_size=7))
    places = np.concatenate([found for found, _ in batches])
    assert sorted(places) == list(range(40))
    assert (np.diff(rows[places]) >= 0).all()


def test_a_model_without_one_and_a_corpus_of_other_pictures_are_refused(tiny_model, tokenizer, corpus):
    plain = make(tiny_model, tokenizer, None)
    with pytest.raises(ConfigError, match="no cross-encoder"):
        CrossScorer(plain, corpus, InputMaker(plain.settings, tokenizer))
    other = make(tiny_model | {"num_frames": 1}, tokenizer)
    with pytest.raises(ConfigError, match="num_frames=1"):
        CrossScorer(other, corpus, InputMaker(other.settings, tokenizer))


def test_heads_must_divide_the_width(tiny_model):
    with pytest.raises(ValidationError, match=r"cross\.heads is 3"):
        ModelSettings.model_validate(tiny_model | {"cross": {"heads": 3}})
