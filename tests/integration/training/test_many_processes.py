"""Several processes of torchrun (gloo) against one with the same global batch; killed, and with fewer or more."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
import yaml

from mmsearch.files import hash_file
from mmsearch.models import load_model
from training.config import FitSettings
from training.fit import fit

CHECKOUT = Path(__file__).parents[3]
STILL = {"min_crop": 1.0}
STAGES = [
    {
        "steps": 5,
        "task": {"type": "contrastive", "pairs": "titles", "spaces": ["frames", "content"], "frame_weight": 0.5},
    },
    {
        "steps": 6,
        "batch_size": 4,
        "chunk_size": 4,
        "task": {"type": "graded", "videos_per_query": 6, "spaces": ["cover"]},
    },
]


@pytest.fixture(scope="module")
def config(tiny_run, tiny_world, tiny_model, old_index, tmp_path_factory):
    """Give the file of a run without any chance in it, so that processes can be compared.

    One query has 2 judged videos and the others 6 each: processes hold different numbers of rows, and of chunks.
    """
    folder = tmp_path_factory.mktemp("config")
    rows = (tiny_world / "judgments_train.jsonl").read_text().splitlines()
    few = [row for row in rows if "red ball" not in row or '"d00"' in row or '"d07"' in row]
    (folder / "judgments.jsonl").write_text("\n".join(few) + "\n")
    fusion = {"depth": 1, "heads": 2, "num_codes": 3, "modality_dropout": 0.0}
    model = tiny_model | {"document": tiny_model["document"] | {"fusion": fusion}}
    stages = [stage | {"task": stage["task"] | {"augment": STILL}} for stage in STAGES]
    stages[0]["task"]["compatible"] = {"index": str(old_index), "old_queries": True}
    stages[1]["task"]["compatible"] = {"index": str(old_index)}
    runs, data = {"save_every": 2, "validate_every": 3, "keep": "last"}, {"judgments": str(folder / "judgments.jsonl")}
    tree = tiny_run("set below", stages, run=runs, data=data, model=model)
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.fixture(scope="module")
def alone(config, tmp_path_factory):
    tree = yaml.safe_load(config.read_text())
    tree["run"]["dir"] = str(tmp_path_factory.mktemp("alone") / "run")
    return fit(FitSettings.model_validate(tree))


def launch(config, folder):
    """Start a run as a person does it."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    arguments = ["-m", "training", "--local_rank=0", "fit", str(config), f"run.dir={folder}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, *arguments], cwd=CHECKOUT, env=environment, **pipes)


def finished(process):
    errors = process.communicate(timeout=200)[1]
    assert process.returncode == 0, errors[-3000:]


def killed_at(process, folder, steps):
    """Kill a whole launch once it has left a checkpoint of so many steps; give the steps of its last one."""
    checkpoints = folder / "checkpoints"
    deadline = time.monotonic() + 100
    while process.poll() is None and time.monotonic() < deadline:
        done = [int(path.name) for path in checkpoints.glob("0*")] if checkpoints.is_dir() else []
        if max(done, default=0) >= steps:
            break
        time.sleep(0.005)
    # torchrun gives its workers sessions of their own: a signal to one group would leave them running
    everyone = [*psutil.Process(process.pid).children(recursive=True), process]
    for one in everyone:
        one.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL, "it was over before it could be killed"
    return max(int(path.name) for path in checkpoints.glob("0*"))


def assert_learned_alike(one, other, lines_of):
    mine, theirs = lines_of(one), lines_of(other)
    assert [line["total_steps"] for line in mine] == [line["total_steps"] for line in theirs]
    for line, twin in zip(mine, theirs, strict=True):
        assert set(line) == set(twin)
        if line["kind"] == "train":
            numbers = [key for key, value in line.items() if isinstance(value, float)]
            assert [twin[key] for key in numbers] == pytest.approx([line[key] for key in numbers], abs=1e-4, rel=1e-4)
        else:
            for name, figure in line["pnr"].items():
                assert twin["pnr"][name] == pytest.approx(figure, rel=0.2), "a pair of nearly equal scores may turn"
    mine, theirs = load_model(one)[0].state_dict(), load_model(other)[0].state_dict()
    for name, tensor in mine.items():
        torch.testing.assert_close(theirs[name], tensor, atol=1e-3, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}")


@pytest.fixture(scope="module")
def two(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two") / "run"
    finished(launch(config, folder))
    return folder


def test_two_processes_learn_what_one_learns(alone, two, lines_of):
    assert_learned_alike(alone, two, lines_of)
    assert (two / "lineage.json").stat().st_size == (alone / "lineage.json").stat().st_size


@pytest.mark.nightly
def test_killed_they_go_on_to_the_same_bytes_and_one_alone_to_the_same_figures(config, alone, two, tmp_path, lines_of):
    folder, copy = tmp_path / "two", tmp_path / "one"
    assert killed_at(launch(config, folder), folder, 2) < 11
    shutil.copytree(folder, copy)
    finished(launch(config, folder))
    assert hash_file(folder / "model.safetensors") == hash_file(two / "model.safetensors")
    assert lines_of(folder) == lines_of(two)
    tree = yaml.safe_load(config.read_text())
    tree["run"]["dir"] = str(copy)
    fit(FitSettings.model_validate(tree))
    assert_learned_alike(alone, copy, lines_of)


@pytest.mark.slow
def test_two_go_on_where_one_was_killed(config, alone, tmp_path, lines_of):
    folder = tmp_path / "run"
    shutil.copytree(alone, folder)
    for name in ("fingerprints.json", "model.safetensors", "checkpoints/00000011"):  # as a kill leaves it
        (shutil.rmtree if (folder / name).is_dir() else Path.unlink)(folder / name)
    finished(launch(config, folder))
    assert_learned_alike(alone, folder, lines_of)


def test_a_batch_that_has_no_equal_parts_is_refused(config, tmp_path):
    tree = yaml.safe_load(config.read_text())
    tree["stages"][1]["batch_size"] = 3
    path = tmp_path / "uneven.yaml"
    path.write_text(yaml.safe_dump(tree))
    process = launch(path, tmp_path / "run")
    errors = process.communicate(timeout=100)[1]
    assert process.returncode != 0
    assert "batch_size 3 cannot be shared by 2 processes; give a multiple" in errors
    assert "Traceback (most recent call last)" not in errors.split("batch_size 3")[0]
    assert not (tmp_path / "run" / "metrics.jsonl").exists()
