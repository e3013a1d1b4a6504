"""Rates by layer and by name, against tables written down for the layouts that towers have."""

import pytest
import torch
from torch import nn

from mmsearch.errors import ConfigError
from mmsearch.models import MatchModel, ModelSettings
from mmsearch.torchvision_guard import guard_torchvision
from training.learner import Learner
from training.optim import OptimSettings, layer_depths, make_optimizer, rate_scales


def table(depths, names):
    """Give what a table by beginnings of names says of every name; each must be said once."""
    found = {}
    for name in names:
        said = [depth for prefix, depth in depths.items() if name.startswith(prefix)]
        assert len(said) == 1, (name, said)
        found[name] = said[0]
    return found


def inside(depths):
    return {f"document.image.vit.{prefix}": depth for prefix, depth in depths.items()}


def timm_names(model, **args):
    guard_torchvision()
    import timm

    return [
        f"document.image.vit.{name}" for name, _ in timm.create_model(model, num_classes=0, **args).named_parameters()
    ]


def test_our_transformer(tiny_model):
    names = [name for name, _ in MatchModel(ModelSettings.model_validate(tiny_model), 50).named_parameters()]
    depths = layer_depths(names)
    teacher = {name: depth for name, depth in depths.items() if name.startswith("teacher.")}
    assert teacher == table(
        {
            "teacher.text.position": 4,
            "teacher.text.transformer.blocks.0.": 3,
            "teacher.text.transformer.blocks.1.": 2,
            "teacher.text.transformer.blocks.2.": 1,
            "teacher.text.transformer.blocks.3.": 0,
            "teacher.text.transformer.norm.": 0,
            "teacher.heads.": 0,
        },
        teacher,
    )
    assert depths["student.text.embed.weight"] == 2
    assert depths["student.text.transformer.blocks.0.qkv.weight"] == 1
    assert depths["document.image.vit.patch_embed.proj.weight"] == 1  # one block in this one
    assert all(depth == 0 for name, depth in depths.items() if name.startswith(("log_scale", "document.heads")))


def test_a_timm_vit():
    names = timm_names("vit_tiny_patch16_224", depth=3, img_size=32)
    expected = {"cls_token": 3, "pos_embed": 3, "patch_embed.": 3, "norm.": 0}
    expected |= {f"blocks.{n}.": 2 - n for n in range(3)}
    assert layer_depths(names) == table(inside(expected), names)


def test_a_timm_resnet():
    names = timm_names("resnet10t", channels=[4, 4, 8, 8], stem_width=4)
    expected = {"conv1.": 4, "bn1.": 4} | {f"layer{n}.": 4 - n for n in range(1, 5)}
    assert layer_depths(names) == table(inside(expected), names)


def test_a_bert():
    embeddings = [f"bert.embeddings.{n}_embeddings.weight" for n in ("word", "position", "token_type")]
    layers = [f"bert.encoder.layer.{n}.attention.self.query.weight" for n in range(12)]
    names = [f"teacher.text.{n}" for n in (*embeddings, "bert.embeddings.LayerNorm.weight", *layers, "projection")]
    expected = {"teacher.text.bert.embeddings.": 12, "teacher.text.projection": 0}
    expected |= {f"teacher.text.bert.encoder.layer.{n}.": 11 - n for n in range(12)}
    assert layer_depths(names) == table(expected, names)


def test_rates_by_the_longest_name_times_those_by_layer():
    names = ["model.a.blocks.0.w", "model.a.blocks.1.w", "model.a.norm", "model.ab.w", "model.b.w", "model.b.deep.w"]
    scales = rate_scales(names, OptimSettings(rates={"a": 0.5, "b": 0.1, "b.deep": 3.0}, layer_decay=0.5))
    assert scales == pytest.approx(dict(zip(names, [0.25, 0.5, 0.5, 1.0, 0.1, 3.0], strict=True)))


def scales_of(learner, **settings):
    """Give the scale of every trainable parameter by all its names."""
    groups = make_optimizer(learner, OptimSettings(**settings)).param_groups
    by_parameter = {parameter: group["scale"] for group in groups for parameter in group["params"]}
    named = learner.model.named_parameters(remove_duplicate=False)
    return {name: by_parameter[parameter] for name, parameter in named if parameter in by_parameter}


def test_the_optimizer_moves_each_parameter_at_its_rate(tiny_model):
    learner = Learner(MatchModel(ModelSettings.model_validate(tiny_model), 50))
    learner.model.student.requires_grad_(False)
    scales = scales_of(learner, rates={"document.image": 0.1, "teacher": 0.2}, layer_decay=0.5)
    assert not any(name.startswith("student.") for name in scales)
    assert scales["document.image.vit.blocks.0.attn.qkv.weight"] == pytest.approx(0.1)
    assert scales["document.image.vit.patch_embed.proj.weight"] == pytest.approx(0.05)
    assert scales["teacher.text.transformer.blocks.1.qkv.weight"] == pytest.approx(0.2 * 0.5**2)
    assert scales["document.heads.cover.weight"] == 1
    # tied: the rate that somebody gave to one of its names
    assert scales["document.text.embed.weight"] == pytest.approx(0.2 * 0.5**4)


def test_a_tied_parameter_learns_at_the_lowest_rate_of_its_names(tiny_model):
    learner = Learner(MatchModel(ModelSettings.model_validate(tiny_model), 50))
    tied = "teacher.text.embed.weight"
    assert scales_of(learner, rates={"document.text": 3.0})[tied] == 3
    assert scales_of(learner, rates={"document.text": 3.0, "teacher": 0.5})[tied] == 0.5
    assert scales_of(learner)[tied] == 1


def test_rates_of_nothing_are_refused(tiny_model):
    learner = Learner(MatchModel(ModelSettings.model_validate(tiny_model), 50))
    with pytest.raises(ConfigError, match=r"optim\.rates: no parameter's name begins with 'document.imag'"):
        make_optimizer(learner, OptimSettings(rates={"document.imag": 0.1}))
    learner.requires_grad_(False)
    with pytest.raises(ConfigError, match="no parameter is left to train"):
        make_optimizer(learner, OptimSettings())


def test_tables_of_vectors_are_not_decayed():
    names = ("pos_embed", "cls_token", "relative_position_bias_table", "weight")
    model = nn.ParameterDict({name: nn.Parameter(torch.zeros(2, 2)) for name in names})
    groups = make_optimizer(model, OptimSettings(weight_decay=0.3)).param_groups
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    assert [name for name in names if id(model[name]) in decayed] == ["weight"]
