"""Checkpoints that a disk has changed, and the best weights of a stage that are gone."""

import json
import logging

import pytest
import torch

from mmsearch.errors import CorruptIndexError
from training.checkpoints import (
    Position,
    best_is_whole,
    latest_checkpoint,
    read_best,
    read_position,
    read_tensors,
    save_best,
    save_checkpoint,
)
from training.lineage import Lineage

FILES = {"model": {"w": torch.arange(400.0), "steps": torch.tensor(3), "on": torch.tensor([True, False])}}


def flip(path, at=-300):
    """Change one bit of a number: the header is as it was, and every number is still one."""
    found = bytearray(path.read_bytes())
    found[at] ^= 1
    path.write_bytes(found)


@pytest.fixture
def checkpoint(tmp_path):
    for step in (5, 10):
        save_checkpoint(tmp_path, FILES, Position(0, step, step, "run", best=1.5))
    save_best(tmp_path, FILES["model"])
    return tmp_path / "00000010"


def test_what_was_written_is_read(checkpoint):
    for found in (read_tensors(checkpoint, "model"), read_best(checkpoint.parent)):
        assert all(torch.equal(found[name], tensor) for name, tensor in FILES["model"].items())
    assert best_is_whole(checkpoint.parent)


def test_others_may_read_it_as_any_file(checkpoint):
    modes = {path.stat().st_mode for path in (*checkpoint.iterdir(), *(checkpoint.parent / "best").iterdir())}
    assert len(modes) == 1


def test_a_flipped_bit_is_found_and_the_checkpoint_before_it_is_named_as_the_way_out(checkpoint):
    flip(checkpoint / "model.safetensors")
    with pytest.raises(CorruptIndexError, match=f"does not hold what was written.*; remove {checkpoint} to go on"):
        read_tensors(checkpoint, "model")
    assert len(read_tensors(checkpoint.with_name("00000005"), "model")) == 3


def test_a_file_of_an_earlier_version_is_read_unchecked(checkpoint):
    from safetensors.torch import save_file

    save_file(FILES["model"], str(checkpoint / "model.safetensors"))
    assert torch.equal(read_tensors(checkpoint, "model")["w"], FILES["model"]["w"])


def test_a_broken_position_says_what_to_remove(checkpoint):
    (checkpoint / "state.json").write_text("{")
    with pytest.raises(CorruptIndexError, match=rf"cannot be read as JSON.*; remove {checkpoint} to go on before it"):
        latest_checkpoint(checkpoint.parent, "run")
    (checkpoint / "state.json").write_text(json.dumps({"stage": 1}))
    with pytest.raises(CorruptIndexError, match=rf"state.json is not of a checkpoint; remove {checkpoint}"):
        read_position(checkpoint)


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), flip])
def test_best_weights_that_are_gone_or_broken_are_told(checkpoint, caplog, harm):
    harm(checkpoint.parent / "best" / "model.safetensors")
    with caplog.at_level(logging.WARNING, "training"):
        assert not best_is_whole(checkpoint.parent)
    assert "keeps the best weights of the validations to come" in caplog.text


def test_a_broken_lineage_says_what_to_remove(tmp_path):
    path = tmp_path / "lineage.json"
    lineage = Lineage(path)
    lineage.begin(0, {"name": "a", "before": {"pnr": {"student/cover": 1.25}}})
    assert lineage.before(0) == Lineage(path).before(0) == {"pnr": {"student/cover": 1.25}}
    assert lineage.before(1) == {}
    path.write_text("")
    with pytest.raises(CorruptIndexError, match=r"lineage.json: cannot be read as JSON.*; remove it, and the same"):
        Lineage(path)
