"""Training with every fusion: all of its parameters learn, and the loss falls."""

import pytest
import torch

from mmsearch.models import load_model
from training.checkpoints import read_tensors
from training.config import FitSettings
from training.fit import fit

TASK = {
    "type": "contrastive",
    "spaces": ["perception", "content"],
    "satisfied_spaces": [],
    "augment": {"min_crop": 1.0},
}


@pytest.mark.parametrize("method", ["concat", "gated_sum", "tfn", "lmf", "cross_attention"])
def test_every_part_of_a_fusion_learns(tiny_run, tiny_model, lines_of, tmp_path, method):
    model = tiny_model | {"document": tiny_model["document"] | {"fusion": {"type": method, "num_codes": 3}}}
    stages = [{"steps": 2, "task": TASK}, {"steps": 6, "task": TASK}]
    tree = tiny_run(tmp_path / "run", stages, run={"keep": "last"}, model=model)
    folder = fit(FitSettings.model_validate(tree))
    before, after = (read_tensors(folder / "checkpoints" / f"{steps:08d}", "model") for steps in (2, 8))
    fused = [name for name in after if ".fusions." in name]
    assert fused
    assert [name for name in fused if torch.equal(before[name], after[name])] == []
    losses = [line["loss"] for line in lines_of(folder, kind="train")]
    assert losses[-1] < losses[0]
    assert load_model(folder, "cpu")[0].settings.document.fusion.type == method
