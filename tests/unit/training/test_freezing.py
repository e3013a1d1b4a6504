"""What a stage trains and leaves alone: parameters, modes, tied parameters, names."""

import pytest
import torch
from torch import nn

from mmsearch.errors import ConfigError
from mmsearch.models import MatchModel, ModelSettings
from mmsearch.models.parts import in_part
from training.freezing import Freezing
from training.learner import Learner


def tiny(tiny_model, **image):
    torch.manual_seed(0)
    tree = tiny_model | {"document": tiny_model["document"] | ({"image": image} if image else {})}
    return MatchModel(ModelSettings.model_validate(tree), 50)


def trained(model):
    return {name for name, p in model.named_parameters(remove_duplicate=False) if p.requires_grad}


def names(model):
    return [name for name, _ in model.named_parameters(remove_duplicate=False)]


@pytest.mark.parametrize(
    ("train", "freeze"),
    [
        ([], []),
        (["student"], []),
        ([], ["document.image", "log_scale"]),
        (["document"], ["document.fusions", "document.heads.cover.weight"]),
        (["student.text.transformer.blocks.1", "document.from_image"], ["document.from_image.0"]),
    ],
)
def test_what_is_trained_is_what_the_names_say(tiny_model, train, freeze):
    model = tiny(tiny_model)
    Freezing(Learner(model), train, freeze)

    def named(name, parts):
        return any(name == part or name.startswith(part + ".") for part in parts)

    tied = {"document.text.embed.weight", "teacher.text.embed.weight"}
    expected = set()
    for name in names(model):
        every = tied if name in tied else {name}
        if (not train or any(named(n, train) for n in every)) and not any(named(n, freeze) for n in every):
            expected.add(name)
    assert trained(model) == expected


def test_a_tied_parameter_is_trained_or_frozen_by_either_name(tiny_model):
    model = tiny(tiny_model)
    for name in ("document.text", "teacher"):
        Freezing(Learner(model), [name], [])
        assert "teacher.text.embed.weight" in trained(model)
        Freezing(Learner(model), [], [name])
        assert "document.text.embed.weight" not in trained(model)


def test_what_no_task_reaches_is_not_trained_unless_another_name_is(tiny_model):
    model = tiny(tiny_model)
    Freezing(Learner(model), [], [], ["student", "document.text."])
    assert not any(name.startswith("student") for name in trained(model))
    assert "document.text.position" not in trained(model)
    assert "document.text.embed.weight" in trained(model)  # the teacher reads it


def test_each_stage_begins_anew(tiny_model):
    model = tiny(tiny_model)
    Freezing(Learner(model), ["student"], [])
    Freezing(Learner(model), [], [])
    assert trained(model) == set(names(model))


def test_frozen_parts_stay_in_eval_mode(tiny_model):
    model = tiny(tiny_model, name="resnet10t", image_size=16, args={"channels": [4, 4, 8, 8], "stem_width": 4})
    learner = Learner(model)
    freezing = Freezing(learner, [], ["document.image.vit", "teacher.text"])
    freezing.train_mode()
    norms = [module for module in model.document.image.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert not any(module.training for module in (*model.document.image.vit.modules(), *model.teacher.text.modules()))
    assert model.training
    assert model.document.fusions["content"].training
    assert all(module.training for module in model.student.modules())
    Freezing(learner, [], []).train_mode()
    assert all(module.training for module in learner.modules())


@pytest.mark.parametrize(
    ("prefix", "hint"),
    [
        ("document.imgae", "did you mean 'document.image'"),
        ("student.text.transfromer", "did you mean 'student.text.transformer'"),
        ("studen", "did you mean 'student'"),
        ("qqq", "there are document, log_scale, student, teacher"),
    ],
)
def test_an_unknown_name_is_refused(tiny_model, prefix, hint):
    for lists in ([prefix], []), ([], [prefix]):
        with pytest.raises(ConfigError, match=f"begins with '{prefix}'; {hint}"):
            Freezing(Learner(tiny(tiny_model)), *lists)


def test_names_end_at_dots():
    assert in_part("a.blocks.1.weight", ["b", "a.blocks.1"])
    assert in_part("a.blocks.1.weight", ["a."])
    assert in_part("a", ["a"])
    assert not in_part("a.blocks.10.weight", ["a.blocks.1", "a.b"])
    assert not in_part("a", [])
