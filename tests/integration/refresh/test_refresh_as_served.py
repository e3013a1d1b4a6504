"""The daily line without the settings of the first one: what is served stays; and what a plan warns of."""

from __future__ import annotations

import io
import json
import logging

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from mmsearch import logs
from mmsearch.errors import DataError
from mmsearch.index import ForwardIndex
from mmsearch.models import MatchModel, ModelSettings, load_document_encoder, save_model
from mmsearch.text import Tokenizer
from serving.__main__ import app
from serving.refresh import refresh
from serving.settings import RefreshSettings

TITLES = [f"{a} {b} {c}" for a in ("red panda", "大熊猫") for b in ("eats", "at home") for c in range(7)]


@pytest.fixture(scope="module")
def models(tiny_model, tmp_path_factory):
    """Two models that differ by their weights alone."""
    tokenizer = Tokenizer.train(TITLES, vocab_size=300, min_count=1)
    image = {"image": {"image_size": 32, "args": {"patch_size": 16, "embed_dim": 16, "depth": 1, "num_heads": 2}}}
    tree = {**tiny_model, "num_frames": 8, "document": tiny_model["document"] | image | {"frames": {"depth": 1}}}
    folders = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        folders.append(tmp_path_factory.mktemp("run"))
        save_model(folders[-1], MatchModel(ModelSettings.model_validate(tree), tokenizer.vocab_size), tokenizer)
    return folders


@pytest.fixture
def line(models, tmp_path, monkeypatch, query_tower):
    """Give what runs the documented line, with --json; query towers are written, not exported."""

    def export(model, to, *, single_modalities, codes, precision):
        query_tower(to, load_document_encoder(model, "cpu", single_modalities=single_modalities, codes=codes).spaces)

    def run(*words, model=models[0]):
        folders = ["--model", model, "--corpus", tmp_path / "corpus", "--index", tmp_path / "index"]
        fixed = ["device=cpu", "executor.num_workers=0", "--json"]
        done = CliRunner().invoke(app, list(map(str, ["refresh", *folders, *fixed, *words])), catch_exceptions=False)
        return json.loads(done.stdout)

    monkeypatch.setattr("serving.refresh_command.export_query_tower", export)
    monkeypatch.setattr("mmsearch.logs.set_up", lambda **_: None)  # else warnings go past caplog
    return run


def warned(caplog):
    found = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    caplog.clear()
    return found


def test_features_codes_and_numbers_stay_without_the_settings_that_made_them(line, new_corpus, tmp_path, caplog):
    new_corpus(TITLES)
    first = line("single_modalities=true", "served=codes", "dtype=int8")
    assert warned(caplog) == [], "nothing was served: nothing is done again"
    served = ForwardIndex.open(tmp_path / "index")
    assert line()["noop"]
    new_corpus(["new", *TITLES[1:]])
    second = line()
    now = ForwardIndex.open(tmp_path / "index")
    assert (second["embed"], second["copy"], second["anew"]) == (1, 27, None)
    assert (now.spaces, now.dtypes) == (served.spaces, served.dtypes)
    assert first["generation"] != second["generation"]
    assert warned(caplog) == []


def test_what_replaces_a_damaged_generation_has_the_features_of_the_one_before(line, new_corpus, tmp_path):
    new_corpus(TITLES)
    line("single_modalities=true", "dtype=int8")
    before = ForwardIndex.open(tmp_path / "index")
    new_corpus(["new", *TITLES[1:]])
    damaged = line()["generation"]
    (tmp_path / "index" / "generations" / damaged / "manifest.json").write_bytes(b"{")
    assert line()["embed"] == 28
    now = ForwardIndex.open(tmp_path / "index")
    assert now.generation != damaged
    assert (now.spaces, now.dtypes) == (before.spaces, before.dtypes)


def test_settings_that_say_otherwise_are_followed_and_told_before_and_then(line, new_corpus, tmp_path, caplog):
    new_corpus(TITLES)
    line("single_modalities=true")
    lost = [space.name for space in ForwardIndex.open(tmp_path / "index").spaces if space.name.startswith("content.")]
    caplog.clear()
    for words in (["--dry-run"], []):
        plan = line("single_modalities=false", *words)
        assert (plan["features_lost"], plan["features_new"], plan["embed"]) == (lost, [], 28)
        (told,) = warned(caplog)
        because = f"single_modalities=false, features lost: {', '.join(lost)}"
        assert told == f"every video is embedded again, 28 in all: {because}"
    assert line("single_modalities=true", "--dry-run")["features_new"] == lost


def test_another_model_keeps_what_is_served_and_is_named(line, new_corpus, models, tmp_path, caplog):
    new_corpus(TITLES)
    line("single_modalities=true", "dtype=float32")
    before = ForwardIndex.open(tmp_path / "index").spaces
    caplog.clear()
    plan = line(model=models[1])
    after = ForwardIndex.open(tmp_path / "index").spaces
    assert [space.name for space in after] == [space.name for space in before]
    assert set(ForwardIndex.open(tmp_path / "index").dtypes.values()) == {"float32"}
    (told,) = warned(caplog)
    assert f"another model ({before[0].name} {before[0].fingerprint} -> {after[0].fingerprint}" in told
    assert plan["features_lost"] == plan["features_new"] == []


def test_a_dry_run_tells_what_would_be_refused_and_what_was_done_before(line, new_corpus, tmp_path, caplog):
    corpus = new_corpus(TITLES)
    line()
    new_corpus(TITLES[:6])
    (corpus.folder / "rejected.jsonl").write_text('{"doc_id": "v9"}\n', encoding="utf-8")
    plan = line("--dry-run")
    assert (plan["deleted"], plan["deleted_rejected"], plan["deleted_gone"]) == (22, 1, 21)
    assert "max_deleted_share=0.5" in plan["refused"]
    assert [told.split(":")[0] for told in warned(caplog)] == [
        "1 served videos are left out because prepare rejects them now",
        "a refresh will be refused",
    ]
    with pytest.raises(DataError, match="22 of the 28 videos"):
        line()
    assert line("--dry-run", "max_deleted_share=0.9")["refused"] is None


def test_a_dry_run_tells_what_an_unfinished_run_has_done(line, new_corpus, models, tmp_path):
    corpus = new_corpus(TITLES)
    encoder = load_document_encoder(models[0], "cpu")
    settings = RefreshSettings(batch_size=8, shard_size=8, check_sample=0)
    fuse, batches = encoder.fuse, []

    def stop(outputs):
        batches.append(outputs)
        if len(batches) > 2:
            raise KeyboardInterrupt
        return fuse(outputs)

    encoder.fuse = stop
    with pytest.raises(KeyboardInterrupt):
        refresh(corpus, encoder, lambda to: _tower(to, encoder), tmp_path / "index", settings)
    plan = line("--dry-run", "batch_size=8", "shard_size=8")
    assert (plan["embed"], plan["embedded_before"]) == (28, 16)
    assert line("--dry-run", "batch_size=7", "shard_size=8")["embedded_before"] == 0, "another recipe"


def test_an_interrupted_refresh_says_that_it_goes_on(models, new_corpus, tmp_path, monkeypatch):
    new_corpus(TITLES)
    shown = io.StringIO()

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("mmsearch.logs.set_up", lambda **_: None)
    monkeypatch.setattr(logs, "console", Console(file=shown, width=200))
    monkeypatch.setattr("serving.refresh_command.refresh_in_rounds", interrupt)
    words = ["refresh", "--model", models[0], "--corpus", tmp_path / "corpus", "--index", tmp_path / "index"]
    with pytest.raises(SystemExit) as ended:
        logs.exit_on_error(lambda: app([*map(str, words), "device=cpu", "executor.num_workers=0"]))
    assert ended.value.code == 130
    assert shown.getvalue() == "interrupted; what was finished is kept: run the same command again\n"


def _tower(folder, encoder):
    rows = [{"name": s.name, "dim": s.dim, "fingerprint": s.fingerprint, "output": s.name} for s in encoder.spaces]
    folder.mkdir(parents=True)
    (folder / "query_tower.json").write_text(json.dumps({"format_version": 2, "max_length": 8, "spaces": rows}))
