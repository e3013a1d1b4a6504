"""A run with a stage for the cross-encoder: what it moves, what it keeps, and reranking with what it leaves."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from mmsearch.cli.evaluate import run as evaluate
from mmsearch.files import hash_file
from mmsearch.metrics.files import read_run
from mmsearch.models import load_model
from mmsearch.models.cross_scorer import CrossScorer
from serving.__main__ import rerank
from training.config import FitSettings
from training.fit import fit
from training.loop import selected

CHECKOUT = Path(__file__).parents[3]
STILL = {"min_crop": 1.0}
TOWERS = {"task": {"type": "contrastive", "spaces": ["cover", "content"], "augment": STILL}, "steps": 3}
CLICKS = {"task": {"type": "cross", "num_negatives": 3, "augment": STILL}, "train": ["cross"], "steps": 4}
GRADES = {
    "task": {"type": "cross", "pairs": "grades", "videos_per_query": 6, "augment": STILL},
    "batch_size": 4,
    "steps": 6,
}


@pytest.fixture(scope="module")
def tree_of(tiny_run, tiny_model):
    """Give the settings of a run with a cross-encoder."""

    def tree(folder, stages, **run):
        fusion = {"depth": 1, "heads": 2, "num_codes": 3, "modality_dropout": 0.0}
        model = tiny_model | {"document": tiny_model["document"] | {"fusion": fusion}}
        model |= {"cross": {"depth": 1, "heads": 2}}
        runs = {"save_every": 2, "validate_every": 2} | run
        return tiny_run(folder, stages, run=runs, model=model, data={"min_watch_s": 1.0})

    return tree


@pytest.fixture(scope="module")
def run(tree_of, tmp_path_factory):
    """Towers, then the cross-encoder alone on clicks, then on grades with everything below it."""
    folder = tmp_path_factory.mktemp("cross") / "run"
    return fit(FitSettings.model_validate(tree_of(folder, [TOWERS, CLICKS, GRADES], keep="last")))


@pytest.fixture(scope="module")
def frozen(tree_of, tmp_path_factory):
    """The same without the last stage."""
    folder = tmp_path_factory.mktemp("frozen") / "run"
    return fit(FitSettings.model_validate(tree_of(folder, [TOWERS, CLICKS], keep="last")))


def moved(before, after):
    old, new = (load_model(folder)[0].state_dict() for folder in (before, after))
    return {name for name, tensor in new.items() if not torch.equal(tensor, old[name])}


def test_alone_it_leaves_the_vectors_as_they_are(tree_of, frozen, lines_of, tmp_path):
    before, after = fit(FitSettings.model_validate(tree_of(tmp_path / "before", [TOWERS], keep="last"))), frozen
    spaces = [json.loads((folder / "fingerprints.json").read_text())["spaces"] for folder in (before, after)]
    assert spaces[0] == spaces[1]
    assert set(spaces[0]) == {"cover", "content"}
    assert {name.split(".")[0] for name in moved(before, after)} == {"cross"}
    lines = [line for line in lines_of(after, "validation") if line["stage"] == "stage1"]
    assert len({line["pnr"]["student/content"] for line in lines}) == 1
    first, last = (lines_of(after, "train")[at]["cross/content"] for at in (3, -1))
    assert first > 0
    assert first != last


def test_with_the_towers_it_moves_what_it_reads_and_nothing_else(frozen, run):
    names = moved(frozen, run)
    assert {"document.from_image.1.weight", "teacher.text.position", "cross.head.weight"} <= names
    others = ("student.text.position", "student.text.transformer", "log_scale", "document.heads", "teacher.heads")
    assert not any(name.startswith(others) for name in names)


def test_a_stage_keeps_the_weights_of_its_best_figure(tree_of, tmp_path, lines_of):
    folder = fit(FitSettings.model_validate(tree_of(tmp_path / "run", [TOWERS, GRADES | {"optim": {"lr": 3e-2}}])))
    found = [line for line in lines_of(folder, "validation") if line["stage"] == "stage1"]
    figures = [line["pnr"]["cross/content"] for line in found]
    assert all(np.isfinite(figures))
    best = [figure > max(figures[:place], default=0) for place, figure in enumerate(figures)]
    assert [line.get("best", False) for line in found] == best
    after = json.loads((folder / "lineage.json").read_text())["stages"][1]["after"]
    assert selected(after, "cross/content") == max(figures)


def killed(tree, folder, steps):
    """Start a run as a person does, and kill it once it has left a checkpoint of so many steps."""
    path = folder.parent / "run.yaml"
    path.write_text(yaml.safe_dump(tree))
    command = [sys.executable, "-m", "training", "fit", str(path)]
    process = subprocess.Popen(command, cwd=CHECKOUT, env=os.environ | {"OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 100
    while process.poll() is None and time.monotonic() < deadline:
        if any(int(at.name) >= steps for at in (folder / "checkpoints").glob("0*")):
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.returncode == -signal.SIGKILL, "it was over before it could be killed"


@pytest.mark.nightly
def test_killed_in_its_midst_it_ends_with_the_same_bytes(tree_of, run, tmp_path, lines_of):
    tree = tree_of(tmp_path / "run", [TOWERS, CLICKS, GRADES], keep="last")
    killed(tree, tmp_path / "run", 5)
    folder = fit(FitSettings.model_validate(tree))
    assert hash_file(folder / "model.safetensors") == hash_file(run / "model.safetensors")
    assert lines_of(folder) == lines_of(run)


def launched(tree, folder, count):
    """Run in several processes of torchrun; give the folder."""
    path = folder.parent / f"{folder.name}.yaml"
    path.write_text(yaml.safe_dump(tree))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count)]
    command = [*launcher, "-m", "training", "--local_rank=0", "fit", str(path)]
    done = subprocess.run(
        command, cwd=CHECKOUT, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


ENGINES = [{"type": "plain"}, pytest.param({"type": "deepspeed", "zero_stage": 3}, marks=pytest.mark.deepspeed)]


@pytest.mark.nightly
@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: f"{engine['type']}{engine.get('zero_stage', '')}")
def test_two_processes_learn_from_grades_as_one_does(tree_of, tmp_path, lines_of, engine):
    if engine["type"] == "deepspeed" and importlib.util.find_spec("deepspeed") is None:
        pytest.skip("the extra `deepspeed` is absent")
    stages = [GRADES | {"steps": 3}, CLICKS | {"steps": 1, "batch_size": 8}]
    alone = fit(FitSettings.model_validate(tree_of(tmp_path / "alone", stages[:1], keep="last")))
    two = launched(tree_of(tmp_path / "two", stages, keep="last", engine=engine), tmp_path / "two", 2)
    mine, theirs = (lines_of(folder) for folder in (alone, two))
    for line, twin in zip(mine, theirs, strict=False):
        for name in ("loss", "grad_norm") if line["kind"] == "train" else ():
            assert twin[name] == pytest.approx(line[name], abs=1e-4, rel=1e-3)
        if line["kind"] == "validation":
            assert twin["pnr"]["cross/content"] == pytest.approx(line["pnr"]["cross/content"], rel=0.2)
    (clicks,) = [line for line in theirs if line["stage"] == "stage1" and line["kind"] == "train"]
    assert np.isfinite(clicks["loss"])


def test_it_reranks_a_run_that_evaluate_reads(run, tiny_world, tiny_corpus, tmp_path, capsys):
    judged, out = tiny_world / "judgments_val.jsonl", tmp_path / "best.jsonl"
    rerank(run, tiny_corpus, judged, out, top=5, settings=["batch_size=4", "device=cpu"])
    assert capsys.readouterr().out.strip() == str(out)
    found = read_run(out)
    scorer = CrossScorer.open(run, tiny_corpus, "cpu")
    for query in dict.fromkeys(found.queries):
        rows = [(d, s) for q, d, s in zip(found.queries, found.doc_ids, found.scores, strict=True) if q == query]
        wanted = scorer.score(query, [doc_id for doc_id, _ in rows[:5]])
        np.testing.assert_allclose([s for _, s in rows[:5]], wanted, rtol=1e-3, atol=1e-4)
        assert (np.diff(wanted) <= 1e-4).all()
    evaluate(qrels=judged, runs=[out], resamples=20, as_json=True)
    assert list(json.loads(capsys.readouterr().out)["runs"]) == ["best"]


def test_a_run_of_it_alone_keeps_the_spaces_of_the_run_that_it_starts_from(tree_of, run, tmp_path):
    stage = CLICKS | {"start_from": {"run": str(run)}, "steps": 1}
    tree = tree_of(tmp_path / "run", [stage], keep="last") | {"tokenizer": {"folder": str(run / "tokenizer")}}
    model, _ = load_model(fit(FitSettings.model_validate(tree)))
    assert model.spaces == ("cover", "content")
