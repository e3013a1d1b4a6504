"""A comparison that stands in a settings file: trained, measured on unseen grades, written as tables."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from mmsearch.config import load_settings
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.tables import read_judgments
from mmsearch.errors import ConfigError
from mmsearch.models.checkpoint import load_model
from mmsearch.models.inputs import InputMaker
from training.comparison.measures import Ruler, figure
from training.comparison.suite import compare_tables, make_plan
from training.config import FitSettings

pytestmark = pytest.mark.slow  # several variants are trained

FUSED = {"spaces": ["content"], "teacher_weight": 0, "distil_weight": 0}


@pytest.fixture(scope="module")
def config(tiny_world, tiny_corpus, tiny_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    tree = {
        "run": {"dir": str(folder / "run"), "num_threads": 1, "seed": 3},
        "data": {
            "corpus": str(tiny_corpus),
            "interactions": str(tiny_world / "interactions.jsonl"),
            "val_judgments": str(tiny_world / "judgments_val.jsonl"),
            "min_watch_s": 1.0,
        },
        "tokenizer": {"vocab_size": 200},
        "model": tiny_model,
        "stages": [
            {"name": "clicks", "task": {"type": "contrastive", **FUSED}, "steps": 2, "batch_size": 6},
        ],
        "compare": {
            "judgments": str(tiny_world / "judgments_train.jsonl"),
            "seeds": 1,
            "missing": [0, 0.5],
            "tables": {
                "selection": {"max": {}, "mean": {"model.poly.selection": "mean"}},
                "rates": {"slow": {}, "fast": {"stages.0.optim.lr": 0.01}},
            },
        },
    }
    path = folder / "tables.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False))
    return path


def naive_pnr(run: Path, corpus: PreparedCorpus, judgments: Path) -> float:
    model, tokenizer = load_model(run)
    maker = InputMaker(model.settings, tokenizer)
    scored: dict[str, list[tuple[int, float]]] = {}
    for row in read_judgments(judgments):
        if row.doc_id not in corpus.row_of:
            continue
        with torch.inference_mode():
            text = maker.queries([row.query])
            query = model.student(text.ids, text.mask, ["content"])["content"][0]
            video = maker.documents(corpus.read([corpus.row_of[row.doc_id]]))
            codes = model.document(video, ["content"])["content"].codes[0]
        scored.setdefault(row.query, []).append((row.grade, float(max(query @ code for code in codes))))
    right = wrong = 0.0
    for rows in scored.values():
        for grade, score in rows:
            for other_grade, other in rows:
                if grade > other_grade:
                    right += (score > other) + (score == other) / 2
                    wrong += (score < other) + (score == other) / 2
    return right / wrong


@pytest.fixture(scope="module")
def suite(config):
    return compare_tables(config, jobs=2)


def test_variants_of_equal_settings_are_trained_once(suite):
    suite.check_complete()
    assert suite.num_runs == 3  # `max` and `slow` are the same run
    assert [table.name for table in suite.tables] == ["selection", "rates"]
    selection, rates = suite.tables
    assert selection.outcomes["max"] == rates.outcomes["slow"]
    assert selection.outcomes["max"] != rates.outcomes["fast"]


def test_figures_are_those_of_a_loop_over_the_unseen_grades(suite, tiny_corpus, tiny_world):
    selection = suite.tables[0]
    measured = selection.outcomes["max"][3].values
    assert measured.keys() == {figure(share, way) for share in (0, 0.5) for way in ("mean", "codes")}
    run = suite.folder / "selection" / "max" / "seed-3"
    expected = naive_pnr(run, PreparedCorpus.open(tiny_corpus), tiny_world / "judgments_train.jsonl")
    assert measured[figure(0, "codes")] == pytest.approx(expected, rel=1e-6)
    as_mean = selection.outcomes["mean"][3].values
    assert as_mean[figure(0, "codes")] == pytest.approx(as_mean[figure(0, "mean")], rel=1e-6)


def test_tables_and_costs_are_written(suite, config):
    cost = suite.tables[0].costs["max"]
    codes = load_settings(FitSettings, config).model.document.fusion.num_codes
    assert cost.codes_bytes == codes * cost.mean_bytes
    assert 0 < cost.fusion_ms < cost.document_ms
    page = (suite.folder / "comparison.md").read_text()
    for told in ("## selection", "## rates", "| fast | 1 |", "50% missing", "codes against mean"):
        assert told in page
    table = json.loads((suite.folder / "comparison.json").read_text())
    assert set(table["tables"]["selection"]["runs"]["mean"]) == {"3"}


def test_what_was_measured_is_read_again_and_not_for_other_grades(suite, tiny_corpus, tiny_world):
    run = suite.folder / "selection" / "max" / "seed-3"
    corpus, before = PreparedCorpus.open(tiny_corpus), (run / "measures.json").stat().st_mtime_ns
    same = Ruler(corpus, tiny_world / "judgments_train.jsonl", "overall", "content", [0, 0.5])
    assert same.measure(run) == suite.tables[0].outcomes["max"][3].values
    assert (run / "measures.json").stat().st_mtime_ns == before
    others = Ruler(corpus, tiny_world / "judgments_val.jsonl", "overall", "content", [0.0])
    assert others.measure(run).keys() == {figure(0, "mean"), figure(0, "codes")}


def test_a_wrong_variant_is_named_before_the_first_run(config, tmp_path):
    settings = load_settings(FitSettings, config).compare
    assert settings is not None
    wrong = settings.model_copy(update={"tables": {"sizes": {"first": {}, "large": {"model.dimm": 3}}}})
    with pytest.raises(ConfigError, match=r"variant sizes: large: .*did you mean 'dim'"):
        make_plan(config, [], wrong, tmp_path, 0)
    own = settings.model_copy(update={"tables": {"seeds": {"first": {}, "other": {"run.seed": 3}}}})
    with pytest.raises(ConfigError, match=r"run\.seed is given to every run by the comparison"):
        make_plan(config, [], own, tmp_path, 0)


def test_without_tables_and_without_vary_both_are_offered(config):
    with pytest.raises(ConfigError, match="has no section 'compare'; give --vary"):
        compare_tables(config, ["compare=null"])
