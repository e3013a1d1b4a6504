"""Training a tiny model for real: it learns, and kill -9 at any moment changes nothing of what comes out."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from mmsearch.config import load_settings
from mmsearch.errors import ConfigError, CorruptIndexError, DataError
from mmsearch.files import hash_file
from mmsearch.text import Tokenizer
from training.config import FitSettings
from training.fit import fit

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def config(tiny_world, tiny_corpus, tiny_model, tmp_path_factory):
    quick = {"lr": 3e-3, "warmup_steps": 2}
    tree = {
        "run": {"dir": "set below", "save_every": 5, "validate_every": 10, "log_every": 5, "num_threads": 1},
        "data": {
            "corpus": str(tiny_corpus),
            "interactions": str(tiny_world / "interactions.jsonl"),
            "judgments": str(tiny_world / "judgments_train.jsonl"),
            "val_judgments": str(tiny_world / "judgments_val.jsonl"),
            "videos": str(tiny_world / "videos.jsonl"),
            "min_watch_s": 1.0,
        },
        "tokenizer": {"vocab_size": 200},
        "model": tiny_model,
        "stages": [
            {
                "name": "titles",
                "task": {"type": "contrastive", "pairs": "titles"},
                "steps": 12,
                "batch_size": 6,
                "optim": quick,
            },
            {"name": "clicks", "task": {"type": "contrastive"}, "steps": 12, "batch_size": 6, "optim": quick},
            {
                "name": "grades",
                "task": {"type": "graded", "videos_per_query": 6},
                "steps": 11,
                "batch_size": 3,
                "optim": quick,
            },
        ],
    }
    path = tmp_path_factory.mktemp("config") / "tiny.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


@pytest.fixture(scope="module")
def undisturbed(config, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "undisturbed"
    return fit(load_settings(FitSettings, config, [f"run.dir={run}"]))


def files_of(run):
    names = ("model.safetensors", "config.json", "fingerprints.json", "tokenizer/tokenizer.json")
    return {name: hash_file(run / name) for name in names}


def lines_of(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    measured = {"samples_per_s", "wait_share", "tflops_per_s", "peak_memory_mib"}
    return [{key: value for key, value in line.items() if key not in measured} for line in lines]


def test_it_learns_and_reports(undisturbed):
    lines = lines_of(undisturbed)
    assert [line["total_steps"] for line in lines if line["kind"] == "validation"] == [10, 12, 22, 24, 34, 35]
    by_stage = {s: [x["loss"] for x in lines if x["stage"] == s and "loss" in x] for s in ("titles", "clicks")}
    assert all(losses[-1] < losses[0] for losses in by_stage.values())
    spaces = set(json.loads((undisturbed / "fingerprints.json").read_text())["spaces"])
    assert spaces == {"cover", "frames", "perception", "content"}


def test_the_tokenizer_knows_words_that_queries_alone_use(config, tiny_world, tmp_path):
    foreign = tmp_path / "interactions.jsonl"
    rows = (tiny_world / "interactions.jsonl").read_text().replace("red ball", "красный мяч")
    foreign.write_text(rows, encoding="utf-8")
    settings = [
        f"run.dir={tmp_path / 'run'}",
        f"data.interactions={foreign}",
        *(f"stages.{n}.steps=1" for n in range(3)),
    ]
    run = fit(load_settings(FitSettings, config, settings))
    tokenizer = Tokenizer.load(run / "tokenizer")
    known, unknown = (tokenizer.encode_batch([text], 16)[0][0, 1:].tolist() for text in ("красный мяч", "ωψ"))
    assert set(unknown) == {1}
    assert 1 not in known


@pytest.mark.slow
def test_killed_again_and_again_it_ends_with_the_same_bytes(config, undisturbed, tmp_path):
    run = tmp_path / "killed"
    command = [sys.executable, "-m", "training", "fit", str(config), f"run.dir={run}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    chance = random.Random(7)
    kills = 0
    for _ in range(5):
        process = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL)
        before = last_step(run)
        deadline = time.monotonic() + 60
        while process.poll() is None and last_step(run) <= before and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.15))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills >= 3
    subprocess.run(command, cwd=CHECKOUT, env=environment, check=True, capture_output=True)
    assert files_of(run) == files_of(undisturbed)
    assert lines_of(run) == lines_of(undisturbed)


def last_step(run):
    folder = run / "checkpoints"
    if not folder.is_dir():
        return -1
    return max((int(path.name) for path in folder.iterdir() if path.name.isdigit()), default=-1)


def test_an_ended_run_is_left_as_it_is(config, undisturbed):
    before = (undisturbed / "model.safetensors").stat().st_mtime_ns
    fit(load_settings(FitSettings, config, [f"run.dir={undisturbed}"]))
    assert (undisturbed / "model.safetensors").stat().st_mtime_ns == before


def test_other_settings_in_the_same_folder_are_refused(config, undisturbed):
    settings = load_settings(FitSettings, config, [f"run.dir={undisturbed}", "stages.0.steps=13"])
    with pytest.raises(ConfigError, match=r"give another run\.dir"):
        fit(settings)


def test_a_corpus_of_other_pictures_is_refused(config, tmp_path):
    settings = load_settings(FitSettings, config, [f"run.dir={tmp_path}", "model.document.image.image_size=24"])
    with pytest.raises(ConfigError, match=r"image_size=16.*image_size=24"):
        fit(settings)


@pytest.mark.parametrize(
    ("override", "error", "message"),
    [
        ("data.judgments=null", ConfigError, r"stage 'grades' learns from grades: give data\.judgments"),
        ("data.interactions=null", ConfigError, r"give data\.interactions"),
        ("data.aspect=beauty", DataError, "no judgments of the aspect 'beauty' can be used"),
        ("data.judgments=absent.jsonl", DataError, r"absent\.jsonl: no such file"),
        ("run.num_threads=0", ConfigError, r"run\.num_threads"),
        ("run.seed=-1", ConfigError, r"run\.seed"),
        ("stages.0.task.spaces=[]", ConfigError, "spaces"),
        ("tokenizer.vocab_size=-1", ConfigError, "vocab_size"),
        ("run.device=gpu", ConfigError, "device 'gpu'"),
    ],
)
def test_what_any_stage_lacks_is_told_before_the_first_step(config, tmp_path, override, error, message):
    with pytest.raises(error, match=message):
        fit(load_settings(FitSettings, config, [f"run.dir={tmp_path}", override]))
    assert not (tmp_path / "metrics.jsonl").exists()


def test_all_videos_held_out_leaves_nothing_to_learn(config, tiny_world, tmp_path):
    held = [str(tiny_world / f"judgments_{split}.jsonl") for split in ("train", "val")]
    settings = load_settings(FitSettings, config, [f"run.dir={tmp_path}", f"data.holdout={held}"])
    with pytest.raises(DataError, match="no titles can be used, all are left out: 21 of held-out videos"):
        fit(settings)


def test_another_tokenizer_in_the_same_folder_is_another_run(config, tmp_path):
    run, folder = tmp_path / "run", tmp_path / "tokenizer"
    Tokenizer.train(["red ball", "red ball"], vocab_size=30).save(folder)
    overrides = [f"run.dir={run}", f"tokenizer.folder={folder}", *(f"stages.{n}.steps=1" for n in range(3))]
    settings = load_settings(FitSettings, config, overrides)
    fit(settings)
    Tokenizer.train(["blue fish", "blue fish"], vocab_size=30).save(folder)
    with pytest.raises(ConfigError, match=r"give another run\.dir"):
        fit(settings)


def test_damaged_checkpoints_are_named(config, undisturbed, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    settings = load_settings(FitSettings, config, [f"run.dir={run}"])
    (run / "fingerprints.json").write_text("[]")
    with pytest.raises(CorruptIndexError, match=r"fingerprints\.json: is not what"):
        fit(settings)
    (run / "fingerprints.json").unlink()
    shutil.rmtree(run / "checkpoints" / "00000035")
    newest = run / "checkpoints" / "00000034"
    (newest / "optimizer.safetensors").write_bytes(b"half")
    with pytest.raises(CorruptIndexError, match=r"optimizer\.safetensors: cannot be read"):
        fit(settings)
    (newest / "state.json").write_text("{}")
    with pytest.raises(CorruptIndexError, match=r"00000034: state\.json is not of a checkpoint"):
        fit(settings)
