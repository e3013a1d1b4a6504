"""What a stage leaves: the best weights, their average, an early end; killed and gone on; and while it is under way."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from mmsearch.errors import ConfigError, DataError
from mmsearch.files import hash_file
from mmsearch.models import load_model
from training.checkpoints import read_position, read_tensors
from training.config import FitSettings
from training.export import export
from training.fit import fit
from training.tracking import Tracker

CHECKOUT = Path(__file__).parents[3]
STILL = {"min_crop": 1.0}
COVERS = {"type": "contrastive", "spaces": ["cover"], "augment": STILL}
MASKED = {"type": "mae", "decoder_depth": 1, "decoder_width": 16, "decoder_heads": 2, "sources": ["cover", "frames"]}


def run(tree):
    return fit(FitSettings.model_validate(tree))


def validated(lines):
    return [line["pnr"]["student/cover"] for line in lines if line["kind"] == "validation" and "pnr" in line]


def test_the_best_weights_are_left_and_patience_ends_a_stage(tiny_run, lines_of, tmp_path):
    # so high a rate that it gets worse
    stage = {"steps": 60, "patience": 2, "optim": {"lr": 0.3, "warmup_steps": 0}}
    tree = tiny_run(
        tmp_path / "run", [stage, {"steps": 1, "train": ["log_scale"]}], run={"validate_every": 1, "save_every": 1}
    )
    folder = run(tree)
    lines = [line for line in lines_of(folder, "validation") if line["stage"] == "stage0"]
    figures = validated(lines)
    best = max(range(len(figures)), key=figures.__getitem__)  # the first of equal ones
    assert len(figures) == best + 3 < 60
    assert [line["total_steps"] for line in lines if line.get("best")][-1] == best + 1
    told = json.loads((folder / "lineage.json").read_text())["stages"]
    assert told[0]["after"]["pnr"]["student/cover"] == figures[best]
    assert told[1]["before"]["pnr"]["student/cover"] == figures[best], "the next stage starts from the best"
    ended = folder / "checkpoints" / "00000060"
    assert read_position(ended).figures == told[0]["after"]
    # a run that stops there by itself has the same weights
    short = tiny_run(tmp_path / "short", [stage | {"patience": None}], run={"keep": "last", "save_every": 1})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tracker, "append", stop_after(best + 1))
        with pytest.raises(KeyboardInterrupt):
            run(short)
    left, then = (
        read_tensors(ended, "model"),
        read_tensors(tmp_path / "short" / "checkpoints" / f"{best + 1:08d}", "model"),
    )
    assert all(torch.equal(tensor, then[name]) for name, tensor in left.items())


def stop_after(steps):
    """Interrupt a run in the step after so many, as Ctrl-C would."""

    def append(self, kind, stage, total_steps, values):
        del self, kind, stage, values
        if total_steps > steps:
            raise KeyboardInterrupt

    return append


@pytest.fixture(scope="module")
def config(tiny_run, tmp_path_factory):
    """Masked pictures, then covers with an average, best weights and patience."""
    stages = [
        {"steps": 12, "task": MASKED, "batch_size": 8},
        {"steps": 14, "patience": 9, "task": {"type": "contrastive", "spaces": ["cover", "content"]}},
    ]
    runs = {"ema_decay": 0.6, "validate_every": 2, "save_every": 3}
    path = tmp_path_factory.mktemp("config") / "run.yaml"
    path.write_text(yaml.safe_dump(tiny_run("set below", stages, run=runs)))
    return path


def settings(config, folder, **changes):
    tree = yaml.safe_load(config.read_text())
    tree["run"] |= {"dir": str(folder)} | changes
    return tree


@pytest.fixture(scope="module")
def undisturbed(config, tmp_path_factory):
    return run(settings(config, tmp_path_factory.mktemp("undisturbed") / "run"))


def last_step(folder):
    return max((int(path.name) for path in (folder / "checkpoints").glob("0*")), default=0)


def kill_after(config, folder, steps):
    command = [sys.executable, "-m", "training", "fit", str(config), f"run.dir={folder}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command, cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 100
    while process.poll() is None and last_step(folder) < steps and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


@pytest.fixture(scope="module")
def killed(config, tmp_path_factory):
    """A run killed in its mae stage and again in the next."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    kill_after(config, folder, 3)
    assert last_step(folder) < 12
    kill_after(config, folder, 15)
    assert 12 < last_step(folder) < 26
    return folder


@pytest.mark.nightly
def test_killed_in_both_stages_it_ends_with_the_same_bytes(config, undisturbed, killed, lines_of, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(killed, folder)
    run(settings(config, folder, log_every=2, save_every=1, tensorboard=True))  # free to change
    for name in ("model.safetensors", "fingerprints.json", "lineage.json"):
        assert hash_file(folder / name) == hash_file(undisturbed / name), name
    assert lines_of(folder, "validation") == lines_of(undisturbed, "validation")
    assert (folder / "tensorboard").is_dir()
    assert sorted(path.name for path in (folder / "pictures").iterdir()) == [f"{n:08d}.png" for n in range(0, 14, 2)]


@pytest.mark.parametrize("changes", [{"seed": 1}, {"precision": "bf16"}, {"ema_decay": 0.5}, {"validate_every": 3}])
def test_what_decides_the_result_may_not_change(config, killed, changes):
    with pytest.raises(ConfigError, match=r"other settings or data; give another run\.dir"):
        run(settings(config, killed, **changes))


def test_masked_pictures_leave_the_lowest_loss_and_move_nothing_else(undisturbed, lines_of):
    lines = [line for line in lines_of(undisturbed, "validation") if line["stage"] == "stage0"]
    losses = [line["rebuild"]["loss"] for line in lines]
    told = json.loads((undisturbed / "lineage.json").read_text())["stages"]
    assert told[0]["after"] == {"rebuild": {"loss": min(losses)}}
    assert told[0]["before"]["rebuild"]["loss"] > min(losses)
    assert set(told[1]["after"]) == {"pnr"}


def test_a_run_under_way_can_be_exported(killed, tmp_path):
    at = last_step(killed)
    checkpoint = killed / "checkpoints" / f"{at:08d}"
    model, _ = load_model(export(killed, tmp_path / "newest"))
    average, raw = read_tensors(checkpoint, "average"), read_tensors(checkpoint, "model")
    name = "student.heads.cover.weight"
    assert torch.equal(model.state_dict()[name], average[f"model.{name}"])
    assert not torch.equal(model.state_dict()[name], raw[f"model.{name}"])
    best, _ = load_model(export(killed, tmp_path / "best", best=True))
    kept = read_tensors(killed / "checkpoints" / "best", "model")
    assert torch.equal(best.state_dict()[name], kept[f"model.{name}"])
    with pytest.raises(ConfigError, match=rf"no checkpoint of step 1; steps: .*{at}"):
        export(killed, tmp_path / "none", step=1)
    with pytest.raises(DataError, match="is not the folder of a run"):
        export(tmp_path, tmp_path / "none")


def test_a_finished_run_can_be_exported(undisturbed, tmp_path):
    mine, theirs = load_model(export(undisturbed, tmp_path / "out"))[0], load_model(undisturbed)[0]
    assert all(torch.equal(tensor, theirs.state_dict()[name]) for name, tensor in mine.state_dict().items())
