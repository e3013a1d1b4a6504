"""ZeRO in two processes against plain AdamW in one, and checkpoints that go from any engine to any other."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from mmsearch.errors import ConfigError
from training.engines.zero import DeepSpeedEngine
from training.engines.zero_settings import DeepSpeedSettings
from training.optim import OptimSettings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.deepspeed,
    pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="the extra `deepspeed` is absent"),
]

HERE = Path(__file__).parent
CHECKOUT = HERE.parents[2]
WHOLE = {"zero_stage": 3, "persistence_threshold": 100}
JOBS = {
    "stage0": {"zero": {"zero_stage": 0}, "poisoned": True},
    "stage1": {"zero": {"zero_stage": 1}, "poisoned": True},
    "stage2": {"zero": {"zero_stage": 2}, "poisoned": True},
    "stage3": {"zero": {"zero_stage": 3, "persistence_threshold": 0}},
    "stage3_persistent": {"zero": WHOLE, "poisoned": True},
    "stage1_offload": {"zero": {"zero_stage": 1, "offload": "optimizer"}},
    "stage2_offload": {"zero": {"zero_stage": 2, "offload": "optimizer"}},
    "stage3_offload": {"zero": WHOLE | {"offload": "parameters"}},
    "stage0_chunks": {"zero": {"zero_stage": 0}, "chunk_size": 2},
    "stage1_chunks": {"zero": {"zero_stage": 1}, "chunk_size": 2},
    "stage2_chunks": {"zero": {"zero_stage": 2}, "chunk_size": 2},
    "stage3_chunks": {"zero": WHOLE, "chunk_size": 2},
    "stage1_offload_chunks": {"zero": {"zero_stage": 1, "offload": "optimizer"}, "chunk_size": 2},
}
BF16 = {
    "stage2_bf16": {"zero": {"zero_stage": 2}, "precision": "bf16"},
    "stage3_bf16": {"zero": WHOLE, "precision": "bf16"},
}
#: From the checkpoint of one engine to another.
GOING_ON = {
    "plain_to_stage0": ("plain", {"zero": {"zero_stage": 0}}),
    "plain_to_stage1": ("plain", {"zero": {"zero_stage": 1}}),
    "plain_to_stage2": ("plain", {"zero": {"zero_stage": 2}}),
    "plain_to_stage3": ("plain", {"zero": WHOLE}),
    "stage3_to_stage2": ("stage3", {"zero": {"zero_stage": 2}}),
    "stage1_to_stage3": ("stage1", {"zero": WHOLE}),
    "stage2_to_stage3_offload": ("stage2", {"zero": WHOLE | {"offload": "parameters"}}),
    "stage3_to_plain": ("stage3", {}),
}


def start_worker(jobs, folder, count):
    """Run jobs in `count` processes, one job after another."""
    folder.mkdir()
    (folder / "jobs.json").write_text(json.dumps(jobs))
    command = [sys.executable, str(HERE / "zero_worker.py"), str(folder / "jobs.json"), str(folder / "meeting")]
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(CHECKOUT)}
    ranks = [{"WORLD_SIZE": str(count), "RANK": str(r), "LOCAL_RANK": str(r)} for r in range(count)]
    started = [
        subprocess.Popen(command, env=env | number, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for number in (ranks if count > 1 else [{}])  # one process is started as a person starts it, by no launcher
    ]
    told = [process.communicate(timeout=200) for process in started]
    assert [process.returncode for process in started] == [0] * count, told[0][1].decode()[-4000:]
    assert told[0][0] == b"", "results go to stdout, and nothing else"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Results of all jobs, each in a folder of its name."""
    at = tmp_path_factory.mktemp("zero")
    start_worker([{"out": str(at / "plain")}], at / "one", 1)
    whole = [job | {"out": str(at / name)} for name, job in (JOBS | BF16).items()]
    parts = [job | {"out": str(at / name), "start": str(at / f / "middle")} for name, (f, job) in GOING_ON.items()]
    start_worker(whole + parts, at / "two", 2)
    alone = [{"out": str(at / name), "start": str(at / "stage3" / "middle")} for name in ("alone", "alone_stage2")]
    start_worker([alone[0], alone[1] | {"zero": {"zero_stage": 2}}], at / "one_again", 1)
    return at


def figures(folder, name):
    return torch.tensor(json.loads((folder / name / "figures.json").read_text()))


def assert_ends_alike(folder, name, other, tolerance):
    for file in ("model", "optimizer"):
        found, wanted = (load_file(folder / n / "end" / f"{file}.safetensors") for n in (name, other))
        # plain AdamW has no state of what no batch reaches; ZeRO has zeros
        assert wanted.keys() <= found.keys()
        assert all(".unused." in k or "log_scale.frames" in k for k in found.keys() - wanted.keys())
        for key, value in wanted.items():
            torch.testing.assert_close(
                found[key], value, atol=tolerance, rtol=tolerance, msg=lambda m, k=key: f"{k}: {m}"
            )


@pytest.mark.parametrize("name", JOBS)
def test_two_processes_learn_as_one_does(folder, name):
    torch.testing.assert_close(figures(folder, name), figures(folder, "plain"), atol=1e-4, rtol=1e-4)
    assert_ends_alike(folder, name, "plain", 1e-5)


@pytest.mark.parametrize("name", [name for name, job in JOBS.items() if "poisoned" in job])
def test_nothing_moves_where_a_gradient_is_not_finite(folder, name):
    for file in ("model", "optimizer"):
        ended, poisoned = (load_file(folder / name / at / f"{file}.safetensors") for at in ("end", "poisoned"))
        assert ended.keys() == poisoned.keys()
        assert all(torch.equal(tensor, poisoned[key]) for key, tensor in ended.items())


@pytest.mark.parametrize("name", BF16)
def test_bf16_stays_close(folder, name):
    found, wanted = figures(folder, name), figures(folder, "plain")
    assert not torch.equal(found, wanted)
    torch.testing.assert_close(found[:, 0], wanted[:, 0], atol=0.03, rtol=0)


@pytest.mark.parametrize("name", [*GOING_ON, "alone", "alone_stage2"])
def test_any_checkpoint_goes_on_in_any_engine(folder, name):
    torch.testing.assert_close(figures(folder, name), figures(folder, "plain")[2:], atol=1e-5, rtol=1e-4)
    if "plain" not in name:
        assert_ends_alike(folder, name, "plain", 1e-5)


@pytest.mark.parametrize("stage", [2, 3])
def test_offload_with_chunks_is_refused(stage):
    settings = DeepSpeedSettings(zero_stage=stage, offload="optimizer")
    with pytest.raises(ConfigError, match=f"zero_stage {stage}; choose offload: none"):
        DeepSpeedEngine(torch.nn.Linear(2, 2), OptimSettings(), settings, chunk_size=2)


@pytest.mark.parametrize(("offload", "stage"), [("optimizer", 0), ("parameters", 2)])
def test_offload_needs_what_it_offloads_to_be_split(offload, stage):
    with pytest.raises(ValidationError, match=f"offload: {offload} needs zero_stage"):
        DeepSpeedSettings(zero_stage=stage, offload=offload)


def test_frozen_tied_and_bounded_parameters(folder):
    begun, ended = (load_file(folder / "stage3_bf16" / at / "model.safetensors") for at in ("middle", "end"))
    assert torch.equal(begun["model.frozen.weight"], ended["model.frozen.weight"])
    assert begun["model.frozen.weight"].to(torch.bfloat16).float().ne(begun["model.frozen.weight"]).any()
    assert "model.query.embed.weight" in ended
    assert "model.video.embed.weight" not in ended
    assert float(ended["model.log_scale.cover"]) <= 1.9
