"""Rates, parameter groups, and an optimizer that survives a file."""

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from mmsearch.errors import CorruptIndexError
from training.optim import OptimSettings, make_optimizer, optimizer_tensors, restore_optimizer


def test_the_rate_rises_then_falls_to_its_share():
    settings = OptimSettings(lr=1.0, warmup_steps=4, final_lr_share=0.1)
    rates = [settings.rate(step, 20) for step in range(20)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert settings.rate(20, 20) == pytest.approx(0.1)


def trained(steps, optimizer, model):
    for step in range(steps):
        torch.manual_seed(step)
        optimizer.zero_grad()
        model(torch.randn(4, 3)).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("wrong", [{"betas": (1.5, 0.9)}, {"betas": (0.9, -0.1)}, {"rates": {"student": -1.0}}])
def test_what_would_climb_or_never_end_is_refused(wrong):
    with pytest.raises(ValidationError):
        OptimSettings(**wrong)


def test_restored_it_goes_on_bit_for_bit():
    torch.manual_seed(9)
    model = nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.Linear(5, 2))
    optimizer = make_optimizer(model, OptimSettings())
    trained(3, optimizer, model)
    twin = nn.Sequential(nn.Linear(3, 5), nn.LayerNorm(5), nn.Linear(5, 2))
    twin.load_state_dict(model.state_dict())
    resumed = make_optimizer(twin, OptimSettings())
    restore_optimizer(twin, resumed, optimizer_tensors(model, optimizer))
    trained(3, optimizer, model)
    trained(3, resumed, twin)
    for mine, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_vectors_and_embeddings_are_not_decayed():
    patches = nn.ModuleDict({"proj": nn.Conv2d(3, 5, 2)})
    model = nn.ModuleDict({"embed": nn.Embedding(4, 3), "linear": nn.Linear(3, 2), "patch_embed": patches})
    groups = make_optimizer(model, OptimSettings(weight_decay=0.3)).param_groups
    by_decay = {group["weight_decay"]: [tuple(p.shape) for p in group["params"]] for group in groups}
    assert by_decay == {0.0: [(4, 3), (2,), (5,)], 0.3: [(2, 3), (5, 3, 2, 2)]}


def test_a_foreign_state_is_refused():
    model = nn.Linear(2, 2)
    with pytest.raises(CorruptIndexError, match="'other'"):
        restore_optimizer(model, make_optimizer(model, OptimSettings()), {"other:exp_avg": torch.zeros(1)})
