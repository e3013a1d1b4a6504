"""Checkpoints when the disk is full."""

import resource
from collections import deque

import pytest
import torch

from mmsearch.errors import DataError
from mmsearch.models import MatchModel, ModelSettings, save_model
from mmsearch.text import Tokenizer
from training.checkpoints import Position, latest_checkpoint, save_checkpoint
from training.lineage import Lineage
from training.tracking import MetricsLog
from training.weights import unique_tensors


def consume(calls):
    deque(calls, maxlen=0)


@pytest.fixture
def model(tiny_model):
    torch.manual_seed(0)
    return MatchModel(ModelSettings.model_validate(tiny_model), 50)


@pytest.fixture
def no_large_files():
    """Refuse files of more than 4 KiB, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def refuse():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))

    yield refuse
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_is_told_and_the_last_checkpoint_stays(model, tmp_path, no_large_files):
    files = {"model": unique_tensors(model)}
    save_checkpoint(tmp_path, files, Position(0, 5, 5, "run"))
    no_large_files()
    with pytest.raises(DataError, match=r"cannot be written: .*the same command goes on"):
        save_checkpoint(tmp_path, files, Position(0, 10, 10, "run"))
    assert [path.name for path in tmp_path.iterdir()] == ["00000005"]
    found = latest_checkpoint(tmp_path, "run")
    assert found is not None
    assert found[1].step == 5


def test_a_full_disk_leaves_no_half_model(model, tmp_path, no_large_files):
    tokenizer = Tokenizer.train(["red ball"] * 2, vocab_size=16)
    no_large_files()
    with pytest.raises(DataError, match="cannot be written"):
        save_model(tmp_path, model, tokenizer)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "tokenizer"]


def test_a_full_disk_is_told_by_metrics_and_lineage_too(tmp_path, no_large_files):
    log, lineage = MetricsLog(tmp_path / "metrics.jsonl", 0), Lineage(tmp_path / "lineage.json")
    lineage.begin(0, {"name": "a"})
    no_large_files()
    with pytest.raises(DataError, match=r"metrics.jsonl: cannot be written: .*make room, and the same command goes on"):
        consume(log.append("train", "a", step, {"loss": 1.25}) for step in range(200))
    with pytest.raises(DataError, match=r"lineage.json: cannot be written: .*the same command goes on"):
        lineage.begin(1, {"name": "b" * 5_000})
    assert [stage["name"] for stage in Lineage(tmp_path / "lineage.json")._stages] == ["a"]
