"""What of a model's settings its fingerprints depend on."""

from __future__ import annotations

import pytest

from mmsearch.config import Settings
from mmsearch.models.fingerprints import chosen_settings
from mmsearch.models.settings import ModelSettings


class Tower(Settings):
    """A part."""

    type: str = "vit"
    width: int = 4


class LaterTower(Tower):
    """The same part of a later version."""

    dropout: float = 0.0


class Model(Settings):
    """Settings."""

    dim: int
    tower: Tower = Tower()
    names: tuple[str, ...] = ("a",)


class LaterModel(Model):
    """The settings of a later version."""

    tower: LaterTower = LaterTower()
    depth: int = 2


@pytest.mark.parametrize("given", [{"dim": 3}, {"dim": 3, "tower": {"width": 8}}, {"dim": 4, "names": ("b",)}])
def test_settings_that_came_later_change_nothing_and_others_count(given):
    told = chosen_settings(Model.model_validate(given))
    assert told == chosen_settings(LaterModel.model_validate(given))
    assert chosen_settings(LaterModel.model_validate(given | {"depth": 3})) == told | {"depth": 3}
    assert told["dim"] == given["dim"]
    if "tower" in given:
        assert told["tower"] == {"type": "vit", "width": 8}
    else:
        assert "tower" not in told


def test_every_choice_of_a_model_counts(tiny_model):
    told = [chosen_settings(ModelSettings.model_validate(tiny_model))]
    for fusion in ("transformer", "gated_sum", "concat", "cross_attention"):
        changed = {**tiny_model, "document": {**tiny_model["document"], "fusion": {"type": fusion}}}
        told.append(chosen_settings(ModelSettings.model_validate(changed)))
    told.append(chosen_settings(ModelSettings.model_validate({**tiny_model, "dim": 24})))
    assert all(one != other for n, one in enumerate(told) for other in told[:n])
    assert "dim" not in chosen_settings(ModelSettings.model_validate(tiny_model), leave_out=("dim",))
