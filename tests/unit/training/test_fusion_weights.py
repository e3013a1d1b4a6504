"""Gates and attention by modality, against a loop over the videos."""

import json
import math

import numpy as np
import pytest
import torch

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.tables import read_judgments
from mmsearch.models import MatchModel, ModelSettings, load_model, save_model
from mmsearch.models.document import SPACES
from mmsearch.models.inputs import InputMaker
from mmsearch.text import Tokenizer
from mmsearch.types import Modality
from training.diagnose import DiagnoseSettings, diagnose
from training.fusion_weights import Weighed, watched
from training.pairs import judged_rows

SETTINGS = DiagnoseSettings(device="cpu", batch_size=5, num_shuffles=1, resamples=100)
TITLE, COVER, ASR = (list(Modality).index(m) for m in (Modality.TITLE, Modality.COVER, Modality.ASR))


@pytest.fixture(scope="module")
def run(tiny_model, tmp_path_factory):
    """A folder with an untrained model."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(["the red ball blue fish here is on"] * 3, vocab_size=300, min_count=1)
    save_model(folder, MatchModel(ModelSettings.model_validate(tiny_model), tokenizer.vocab_size), tokenizer)
    (folder / "fingerprints.json").write_text('{"run_hash": "abc", "spaces": {}}')
    return folder


@pytest.fixture(scope="module")
def videos(tiny_corpus, tiny_world):
    """The judged videos."""
    corpus, path = PreparedCorpus.open(tiny_corpus), tiny_world / "judgments_train.jsonl"
    judged = judged_rows(corpus, read_judgments(path), "overall", set(), path)
    return corpus.read(np.unique(np.concatenate(judged.rows)).tolist())


@pytest.mark.parametrize("space", ["perception", "content"])
def test_shares_equal_a_loop_over_videos(run, tiny_corpus, tiny_world, videos, space):
    found = json.loads(diagnose(run, tiny_corpus, tiny_world / "judgments_train.jsonl", SETTINGS).read_bytes())
    told = found["spaces"][space]["weights"]
    assert told["method"] == "transformer"
    model, tokenizer = load_model(run)
    maker, fusion, inputs = InputMaker(model.settings, tokenizer), model.document.fusions[space], []
    fusion.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments))
    shares = {modality: [] for modality in SPACES[space]}
    for video in videos:
        with torch.inference_mode():
            model.document(maker.documents([video]), (space,))
            tokens, mask, modality = inputs.pop()
            [weights] = fusion.weights(tokens, mask, modality).tolist()
        kinds = [list(Modality)[kind] for kind in modality[mask[0]].tolist()]
        for kind in set(kinds):
            weight = weights[list(Modality).index(kind)]
            shares[kind].append((weight, 1 / len(set(kinds)), kinds.count(kind) / len(kinds)))
    for kind, rows in shares.items():
        one = told["shares"][kind.value]
        assert one["num_videos"] == len(rows)
        values = (one["share"]["value"], one["even"], one["by_tokens"])
        assert values == (pytest.approx(np.mean(rows, 0), abs=1e-6) if rows else (None, None, None))
        assert rows == [] or one["share"]["low"] <= one["share"]["value"] <= one["share"]["high"]
    assert shares[Modality.ACCOUNT] == []
    assert 0 < len(shares[Modality.COVER]) < len(videos)


def weighed(weights, tokens):
    """What a fusion gave to titles, covers and speech, one row a video."""
    one = Weighed("gated_sum")
    for found, rows in ((one.weights, weights), (one.tokens, tokens)):
        full = np.zeros((len(rows), len(Modality)))
        full[:, [TITLE, COVER, ASR]] = rows
        found.append(full)
    return one


def test_means_are_over_the_videos_that_have_it():
    one = weighed([[0.2, 0.0, 0.8], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]], [[2, 0, 6], [3, 0, 0], [0, 0, 0]])
    told = one.shares((Modality.TITLE, Modality.COVER, Modality.ASR), 500, 0)
    title, cover, speech = told.shares.values()
    assert told.method == "gated_sum"
    assert title.num_videos == 2
    assert (title.share.value, title.even, title.by_tokens) == pytest.approx((0.6, 0.75, 0.625))
    assert (speech.share.value, speech.even, speech.by_tokens) == pytest.approx((0.8, 0.5, 0.75))
    assert (title.share.low, title.share.high) == pytest.approx((0.2, 1.0))  # a sample may draw either video alone
    assert (speech.share.low, speech.share.high) == pytest.approx((0.8, 0.8))  # undefined without its one video
    assert (cover.share.value, cover.share.low, cover.even, cover.by_tokens, cover.num_videos) == (*[None] * 4, 0)


def test_intervals_are_those_of_a_mean():
    rng = np.random.default_rng(0)
    share = rng.uniform(0, 1, 400)
    tokens = np.ones((400, 3))
    told = weighed(np.stack([share, 1 - share, 0 * share], 1), tokens).shares((Modality.TITLE,), 2_000, 1)
    estimate, error = told.shares[Modality.TITLE].share, share.std() / math.sqrt(400)
    assert (estimate.low, estimate.high) == pytest.approx(
        (share.mean() - 1.96 * error, share.mean() + 1.96 * error), abs=0.004
    )


@pytest.mark.parametrize("fusion", ["concat", "gated_sum", "tfn", "lmf", "cross_attention", "transformer"])
def test_every_fusion_gives_shares_or_none(tiny_model, run, videos, fusion):
    settings = {"type": fusion} | ({"depth": 1, "heads": 2} if fusion in ("cross_attention", "transformer") else {})
    tree = tiny_model | {"document": tiny_model["document"] | {"fusion": settings}}
    _, tokenizer = load_model(run)
    model = MatchModel(ModelSettings.model_validate(tree), tokenizer.vocab_size).eval()
    inputs = InputMaker(model.settings, tokenizer).documents(videos)
    with torch.inference_mode(), watched(model, ("content",)) as seen:
        model.document(inputs, ("content",))
    told = seen["content"].shares(SPACES["content"], 100, 0)
    if fusion in ("concat", "tfn"):
        assert told is None
        return
    assert told.method == fusion
    given = {modality: share for modality, share in told.shares.items() if share.num_videos}
    assert set(given) == {Modality.TITLE, Modality.COVER, Modality.FRAMES, Modality.ASR}
    assert sum(share.share.value * share.num_videos for share in given.values()) == pytest.approx(len(videos))
    if fusion in ("gated_sum", "lmf"):  # their gates start even
        assert {m: s.share.value for m, s in given.items()} == pytest.approx({m: s.even for m, s in given.items()})


def test_watching_changes_nothing_and_ends(run, videos):
    model, tokenizer = load_model(run)
    inputs = InputMaker(model.settings, tokenizer).documents(videos[:3])
    with torch.inference_mode():
        alone = model.document(inputs, ("content",))["content"].codes
        with watched(model, ("content",)) as seen:
            together = model.document(inputs, ("content", "perception"))["content"].codes
        model.document(inputs, ("content",))
    assert torch.equal(alone, together)
    assert set(seen) == {"content"}
    assert [len(batch) for batch in seen["content"].weights] == [3]
