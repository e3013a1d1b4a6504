"""Modalities left out and shuffled, against a plain way of doing the same."""

import json

import numpy as np
import pytest
import torch

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.tables import read_judgments
from mmsearch.errors import DataError
from mmsearch.metrics import Scored, count_pairs, pnr
from mmsearch.models import MatchModel, ModelSettings, load_model, save_model
from mmsearch.models.document_encoder import MatchDocumentEncoder
from mmsearch.models.inputs import InputMaker
from mmsearch.text import Tokenizer
from mmsearch.types import Modality
from training.diagnose import DiagnoseSettings, diagnose
from training.pairs import judged_rows
from training.validation import Validation
from training.what_if import altered, lenders

SETTINGS = DiagnoseSettings(device="cpu", batch_size=5, num_shuffles=2, resamples=100)


@pytest.fixture(scope="module")
def run(tiny_model, tmp_path_factory):
    """A folder with an untrained model."""
    folder = tmp_path_factory.mktemp("run")
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(
        ["the red ball blue fish yellow kite green cup here is on"] * 3, vocab_size=300, min_count=1
    )
    save_model(folder, MatchModel(ModelSettings.model_validate(tiny_model), tokenizer.vocab_size), tokenizer)
    (folder / "fingerprints.json").write_text('{"run_hash": "abc", "spaces": {}}')
    return folder


@pytest.fixture(scope="module")
def found(run, tiny_corpus, tiny_world):
    return json.loads(diagnose(run, tiny_corpus, tiny_world / "judgments_train.jsonl", SETTINGS).read_bytes())


@pytest.fixture(scope="module")
def judged(tiny_corpus, tiny_world):
    corpus, path = PreparedCorpus.open(tiny_corpus), tiny_world / "judgments_train.jsonl"
    return corpus, judged_rows(corpus, read_judgments(path), "overall", set(), path)


def naive_pnr(run, judged, space, change):
    """PNR with every video changed by a function, one query after another."""
    corpus, rows = judged
    model, tokenizer = load_model(run)
    encoder, maker = MatchDocumentEncoder(model, tokenizer), InputMaker(model.settings, tokenizer)
    queries, docs, grades, scores = [], [], [], []
    for query, own, own_grades in zip(rows.queries, rows.rows, rows.grades, strict=True):
        inputs = maker.queries([query])
        vector = model.student(inputs.ids, inputs.mask)[space][0].detach().numpy()
        embedded = encoder.encode([change(video) for video in corpus.read(own.tolist())])[space]
        scores += np.where(embedded.present, embedded.vectors @ vector, np.nan).tolist()
        queries += [query] * len(own)
        docs += [corpus.doc_ids[row] for row in own]
        grades += own_grades.tolist()
    return pnr(count_pairs(Scored.from_columns(queries, docs, grades, scores)))


@pytest.mark.parametrize("modality", [Modality.TITLE, Modality.FRAMES])
def test_left_out_equals_videos_without_it(run, judged, found, modality):
    expected = naive_pnr(run, judged, "content", lambda video: altered(video, modality, None))
    told = found["spaces"]["content"]["left_out"][modality.value]
    assert told["pnr"]["value"] == pytest.approx(expected, abs=1e-9)
    whole = naive_pnr(run, judged, "content", lambda video: video)
    assert told["change"]["value"] == pytest.approx(expected - whole, abs=1e-9)


def naive_codes_pnr(run, judged, modality):
    """PNR by the closest code of each video without a modality, one row after another."""
    corpus, rows = judged
    model, tokenizer = load_model(run)
    maker, columns = InputMaker(model.settings, tokenizer), []
    for query, own, grades in zip(rows.queries, rows.rows, rows.grades, strict=True):
        inputs = maker.queries([query])
        vector = model.student(inputs.ids, inputs.mask)["content"][0]
        for video, grade in zip(corpus.read(own.tolist()), grades.tolist(), strict=True):
            found = model.document(maker.documents([altered(video, modality, None)]), ("content",))["content"]
            score = max((code @ vector).item() for code in found.codes[0])
            columns.append((query, video.doc_id, grade, score if found.present[0] else float("nan")))
    return pnr(count_pairs(Scored.from_columns(*zip(*columns, strict=True))))


def test_codes_are_scored_as_an_index_of_codes_does(run, judged, tiny_corpus, tiny_world, monkeypatch):
    monkeypatch.setattr("training.diagnose._ROWS_AT_A_TIME", 7)
    settings = SETTINGS.model_copy(update={"served": "codes", "num_shuffles": 1})
    found = json.loads(diagnose(run, tiny_corpus, tiny_world / "judgments_train.jsonl", settings).read_bytes())
    assert found["served"] == "codes"
    told = found["spaces"]["content"]["left_out"]["title"]["pnr"]["value"]
    assert told == pytest.approx(naive_codes_pnr(run, judged, Modality.TITLE), abs=1e-9)
    assert told != pytest.approx(naive_pnr(run, judged, "content", lambda video: altered(video, Modality.TITLE, None)))


def test_a_modality_that_nobody_has_changes_nothing(found):
    told = found["spaces"]["content"]
    for kind in ("left_out", "shuffled"):
        assert told[kind]["account"]["num_videos"] == 0
        assert told[kind]["account"]["change"]["value"] == pytest.approx(0, abs=1e-9)


def test_towers_equal_validation(run, judged, found):
    corpus, rows = judged
    model, tokenizer = load_model(run)
    expected = Validation(corpus, rows, InputMaker(model.settings, tokenizer))(model)["pnr"]
    for space, told in found["towers"].items():
        for tower in ("teacher", "student"):
            assert told[tower]["value"] == pytest.approx(expected[f"{tower}/{space}"], abs=1e-9)
        assert told["change"]["value"] == pytest.approx(told["student"]["value"] - told["teacher"]["value"])


def test_the_same_seed_gives_the_same_file(run, tiny_corpus, tiny_world, found):
    again = json.loads(diagnose(run, tiny_corpus, tiny_world / "judgments_train.jsonl", SETTINGS).read_bytes())
    assert again == found
    assert (found["run_hash"], found["num_shuffles"], found["num_queries"]) == ("abc", 2, 4)
    assert set(found["spaces"]["perception"]["left_out"]) == {"title", "account", "cover", "cover_ocr"}


def test_a_ring_of_lenders_keeps_nothing_in_its_place():
    has = np.array([True, False, True, True, False, True])
    for seed in range(20):
        found = lenders(has, np.random.default_rng(seed))
        assert sorted(found[has]) == np.flatnonzero(has).tolist()
        assert not (found[has] == np.flatnonzero(has)).any()
        assert found[~has].tolist() == [1, 4]
    assert lenders(np.array([False, True]), np.random.default_rng(0)).tolist() == [0, 1]


def test_altered_videos_differ_in_one_modality_alone(judged):
    corpus, _ = judged
    video, other = corpus.read([corpus.row_of["d01"], corpus.row_of["d02"]])
    for modality in (Modality.TITLE, Modality.ASR, Modality.COVER, Modality.FRAMES):
        without, lent = altered(video, modality, None), altered(video, modality, other)
        assert modality not in without.hashes
        assert without.hashes == {m: h for m, h in video.hashes.items() if m is not modality}
        assert lent.hashes == {**video.hashes, modality: other.hashes[modality]}
    assert altered(video, Modality.COVER, other).cover == other.cover
    assert altered(video, Modality.FRAMES, None).frames == ()
    assert altered(video, Modality.TITLE, other).texts[Modality.TITLE] == other.texts[Modality.TITLE]


def test_a_folder_of_no_run_is_refused(tmp_path, tiny_corpus, tiny_world):
    with pytest.raises(DataError, match="no model"):
        diagnose(tmp_path, tiny_corpus, tiny_world / "judgments_train.jsonl", SETTINGS)
