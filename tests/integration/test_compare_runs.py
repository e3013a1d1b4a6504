"""Variants of a tiny run, really trained, compared, and compared again."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from mmsearch.errors import ConfigError, PartialResultError
from training.compare import compare

CHECKOUT = Path(__file__).parents[2]
QUICK = {"steps": 2, "batch_size": 6}


@pytest.fixture
def config(tiny_world, tiny_corpus, tiny_model, tmp_path):
    tree = {
        "run": {"dir": str(tmp_path / "run"), "num_threads": 1, "seed": 5},
        "data": {
            "corpus": str(tiny_corpus),
            "interactions": str(tiny_world / "interactions.jsonl"),
            "val_judgments": str(tiny_world / "judgments_val.jsonl"),
            "min_watch_s": 1.0,
        },
        "tokenizer": {"vocab_size": 200},
        "model": tiny_model,
        "stages": [{"name": "clicks", "task": {"type": "contrastive"}, **QUICK, "optim": {"lr": 1e-3}}],
    }
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.mark.slow
def test_variants_are_trained_once_and_compared(config, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    vary, overrides = ["stages.0.optim.lr=1e-3,1e-2"], ["stages.0.steps=3"]
    out = tmp_path / "run-comparison"
    runs = [out / f"stages.0.optim.lr={rate}" / f"seed-{seed}" for rate in ("1e-3", "1e-2") for seed in (5, 6)]
    runs[2].mkdir(parents=True)
    (runs[2] / "fingerprints.json").write_text("[]")  # no run writes this: one fails, and holds up no other

    partial = compare(config, vary, num_seeds=1, overrides=overrides, jobs=2)
    (failure,) = partial.failures
    assert (failure.run.folder, failure.exit_code) == (runs[2], 4)
    assert "fingerprints.json: is not what a finished run writes" in failure.tail
    assert [len(seeds) for seeds in partial.outcomes.values()] == [1, 0]
    assert "- Failed: lr=1e-2, seed 5 (exit code 4)." in (out / "comparison.md").read_text()
    with pytest.raises(PartialResultError, match=r"1 of 2 runs failed: lr=1e-2 \(seed 5\)"):
        partial.check_complete()

    (runs[2] / "fingerprints.json").unlink()
    left = [(runs[0] / "fingerprints.json").stat().st_mtime_ns, runs[0].with_suffix(".json").read_text()]
    found = compare(config, vary, num_seeds=2, overrides=overrides, jobs=2)
    found.check_complete()
    assert [(runs[0] / "fingerprints.json").stat().st_mtime_ns, runs[0].with_suffix(".json").read_text()] == left
    trees = [yaml.safe_load((run / "config.yaml").read_text()) for run in runs]
    given = [(tree["stages"][0]["optim"]["lr"], tree["run"]["seed"]) for tree in trees]
    assert given == [(1e-3, 5), (1e-3, 6), (1e-2, 5), (1e-2, 6)]
    assert all(tree["stages"][0]["steps"] == 3 for tree in trees)

    table = json.loads((out / "comparison.json").read_text())
    last = json.loads((runs[3] / "metrics.jsonl").read_text().splitlines()[-1])
    assert table["runs"]["lr=1e-2"]["6"]["values"] == pytest.approx(last["pnr"])
    assert table["runs"]["lr=1e-2"]["6"]["parameters"] > 1000
    assert table["first"] == "lr=1e-3"
    assert table["metrics"]["teacher/content"]["variants"]["lr=1e-2"]["difference"]["num_pairs"] == 2
    found.show()
    assert "lr=1e-2" in capsys.readouterr().out
    assert "| lr=1e-2 |" in (out / "comparison.md").read_text()


def test_mistakes_come_out_before_the_first_run(config, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(ConfigError, match=r"variant lrr=1: command line: .*did you mean 'lr'"):
        compare(config, ["stages.0.optim.lrr=1,2"], out=out)
    with pytest.raises(ConfigError, match=r"variant steps=x: .*steps"):
        compare(config, ["stages.0.steps=1,x"], out=out)
    with pytest.raises(ConfigError, match=r"run\.dir is given to every run"):
        compare(config, ["stages.0.steps=1,2"], out=out, overrides=[f"run.dir={out}"])
    with pytest.raises(ConfigError, match="--seeds"):
        compare(config, ["stages.0.steps=1,2"], out=out, num_seeds=0)
    assert not Path(out).exists()


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="processes are looked up in /proc")
def test_an_interrupt_leaves_no_process_behind(config, tmp_path):
    script = (
        "import signal, sys; from pathlib import Path\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored where the tests run in the background
        "from training.comparison.plan import make_variants, parse_varied\n"
        "from training.comparison.runs import Run, run_all\n"
        "variants = make_variants([parse_varied('run.log_every=1,2')])\n"
        "runs = [Run(one, 5, Path(sys.argv[2]) / one.folder / 'seed-5') for one in variants]\n"
        "run_all(runs, Path(sys.argv[1]), ['stages.0.steps=1000000'])\n"
    )
    command = [sys.executable, "-c", script, str(config), str(tmp_path / "out")]
    parent = subprocess.Popen(command, cwd=CHECKOUT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE)
    first, second = (tmp_path / "out" / f"run.log_every={number}" / "seed-5.log" for number in (1, 2))
    assert wait_until(lambda: running(tmp_path / "out") > 1)
    parent.send_signal(signal.SIGINT)
    _, told = parent.communicate(timeout=60)
    assert "KeyboardInterrupt" in told.decode()
    assert running(tmp_path / "out") == 0
    assert first.exists()
    assert json.loads(first.with_suffix(".json").read_text())["exit_code"] == -signal.SIGTERM
    assert not second.exists() or second.read_bytes() == b""  # the next one was never begun


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="processes are looked up in /proc")
def test_a_comparison_that_is_ended_ends_its_runs(config, tmp_path):
    out = tmp_path / "out"
    told = ["--vary", "run.log_every=1,2", "--seeds", "1", "--out", str(out), "stages.0.steps=1000000"]
    command = [sys.executable, "-m", "training", "compare", str(config), *told]
    parent = subprocess.Popen(
        command, cwd=CHECKOUT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL
    )
    assert wait_until(lambda: running(out) > 1)
    parent.terminate()
    assert parent.wait(timeout=60) != 0
    assert wait_until(lambda: running(out) == 0)


def wait_until(happens, seconds=60):
    deadline = time.monotonic() + seconds
    while not happens() and time.monotonic() < deadline:
        time.sleep(0.05)
    return happens()


def running(folder):
    """How many processes name the folder in their command."""
    found = 0
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found += str(folder).encode() in path.read_bytes()
        except OSError:  # it has ended
            continue
    return found
