"""The commands of an operator: a plan, a refresh, a refresh with nothing to do, a way back, a tidy disk."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from mmsearch.errors import ConfigError, DataError, PartialResultError
from mmsearch.index import ForwardIndex
from mmsearch.index.query_tower import read_query_tower
from mmsearch.models import MatchModel, ModelSettings, load_document_encoder, save_model
from mmsearch.text import Tokenizer
from serving.__main__ import app

TITLES = [f"{a} {b}" for a in ("red panda", "大熊猫", "noodle soup", "city") for b in ("eats", "at home", "第一集")]
BAD = "☠"


@pytest.fixture(scope="module")
def run(tiny_model, tmp_path_factory):
    """A model that gives NaN for every title with a skull in it."""
    torch.manual_seed(0)
    tokenizer = Tokenizer.train([*TITLES, BAD, BAD], vocab_size=300, min_count=1)
    image = {"image": {"image_size": 32, "args": {"patch_size": 16, "embed_dim": 16, "depth": 1, "num_heads": 2}}}
    tree = {**tiny_model, "num_frames": 8, "document": tiny_model["document"] | image | {"frames": {"depth": 1}}}
    model = MatchModel(ModelSettings.model_validate(tree), tokenizer.vocab_size)
    usual = set(tokenizer.encode_batch(TITLES, 12)[0].flatten().tolist())
    bad = set(tokenizer.encode_batch([BAD], 12)[0].flatten().tolist()) - usual
    with torch.no_grad():
        model.document.text.embed.weight[list(bad)] = torch.nan
    folder = tmp_path_factory.mktemp("run")
    save_model(folder, model, tokenizer)
    return folder


@pytest.fixture
def config(run, tmp_path, monkeypatch, query_tower):
    spaces = load_document_encoder(run, "cpu").spaces

    def export(_, to, *, precision, **options):
        query_tower(to, spaces)
        written = json.loads((to / "query_tower.json").read_text())
        (to / "query_tower.json").write_text(json.dumps(written | {"precision": precision}))

    monkeypatch.setattr("serving.refresh_command.export_query_tower", export)
    path = tmp_path / "nightly.yaml"
    path.write_text(
        f"model: {run}\ncorpus: {tmp_path / 'corpus'}\nindex: {tmp_path / 'index'}\n"
        "device: cpu\nexecutor: {num_workers: 0}\n",
        encoding="utf-8",
    )
    return path


def asked(*words):
    return CliRunner().invoke(app, list(map(str, words)))


def told(*words):
    done = asked(*words)
    assert done.exit_code == 0, done.exception
    return json.loads(done.stdout)


def test_from_the_plan_to_the_way_back(config, new_corpus, tmp_path):
    index = tmp_path / "index"
    new_corpus([*TITLES, f"{BAD} noodle"])
    plan = told("refresh", config, "--dry-run", "--json")
    assert (plan["new"], plan["embed"], plan["copy"], plan["noop"], plan["seconds"]) == (13, 13, 0, False, None)
    assert not index.exists(), "nothing was done"

    done = asked("refresh", config, "--json")
    assert isinstance(done.exception, PartialResultError)
    assert done.exception.exit_code == 5
    assert "1 videos could not be embedded (not_finite 1)" in str(done.exception)
    first = json.loads(done.stdout)
    assert (first["published"], first["embedded"], first["quarantined"]) == (True, 12, {"not_finite": 1})
    assert first["in_quarantine"] == 1
    served = ForwardIndex.open(index)
    assert (served.generation, served.num_docs) == (first["generation"], 12)

    nothing = told("refresh", config, "--json")
    assert (nothing["noop"], nothing["published"], nothing["left_out"]) == (True, False, 1)
    assert (nothing["quarantined"], nothing["in_quarantine"]) == ({}, 1), "status 0, yet it is told"
    new_corpus(["new title", *TITLES[1:]])
    shown = asked("refresh", config, "--dry-run").stdout
    assert "changed (title 1)" in shown
    assert "about 0 min" in shown, "the rate is that of the refresh before"
    second = asked("refresh", config, "executor.num_workers=0").stdout.strip()
    assert ForwardIndex.open(index).generation == second != first["generation"]

    held = ForwardIndex.open(index, first["generation"])
    assert asked("publish", "--index", index, "--generation", 1).stdout.strip() == first["generation"]
    assert ForwardIndex.open(index).generation == held.generation
    with pytest.raises(DataError, match=r"there is no generation 7; there are: g000001-\w+, g000002-"):
        CliRunner().invoke(app, ["publish", "--index", str(index), "--generation", "7"], catch_exceptions=False)
    assert told("gc", "--index", index, "--keep", 1, "--json")["removed"] == []
    assert told("refresh", config, "--json")["generation"] not in (first["generation"], second)
    del held
    assert asked("gc", "--index", index, "--keep", 1).stdout.split() == [second]


def test_another_precision_of_the_query_tower_is_published_over_the_same_vectors(config, new_corpus, tmp_path):
    new_corpus(TITLES)

    def precision():
        return read_query_tower(ForwardIndex.open(tmp_path / "index").query_tower).precision

    first = told("refresh", config, "--json")
    assert precision() == "fp32"
    assert told("refresh", config, "--json", "query_tower_precision=fp32")["noop"]
    plan = told("refresh", config, "--dry-run", "--json", "query_tower_precision=int8")
    assert (plan["new_tower"], plan["noop"], plan["embed"], plan["copy"]) == (True, False, 0, 12)
    shown = asked("refresh", config, "--dry-run", "query_tower_precision=int8").stdout
    assert "exported again" in shown
    second = told("refresh", config, "--json", "query_tower_precision=int8")
    assert (second["published"], second["embedded"], precision()) == (True, 0, "int8")
    before, now = (ForwardIndex.open(tmp_path / "index", done["generation"]) for done in (first, second))
    np.testing.assert_array_equal(*(one.raw("content", np.arange(12)).vectors for one in (before, now)))
    assert told("refresh", config, "--json")["noop"], "without the setting it stays as it is"
    new_corpus(["new title", *TITLES[1:]])
    told("refresh", config, "--json")
    assert precision() == "int8"


def test_what_is_not_given_is_asked_for(run, tmp_path):
    with pytest.raises(ConfigError, match="no corpus is given: add --corpus FOLDER, or 'corpus: FOLDER'"):
        CliRunner().invoke(app, ["refresh", "--model", str(run)], catch_exceptions=False)
