"""A module's weights as a flat dict: tied ones once, buffers that are saved, and what does not fit."""

import pytest
import torch
from torch import nn

from mmsearch.errors import CorruptIndexError
from mmsearch.models import MatchModel, ModelSettings
from training.weights import put_weights, unique_tensors


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3)
        self.second.weight = self.first.weight
        self.norm = nn.BatchNorm1d(3)
        self.register_buffer("passing", torch.zeros(2), persistent=False)
        self.inner = nn.Module()
        self.inner.register_buffer("passing", torch.zeros(2), persistent=False)


def test_each_tensor_stands_there_once():
    assert list(unique_tensors(Net())) == [
        "first.weight",
        "first.bias",
        "second.bias",
        "norm.weight",
        "norm.bias",
        "norm.running_mean",
        "norm.running_var",
        "norm.num_batches_tracked",
    ]


def test_they_are_whole_floats_or_whole_numbers():
    found = unique_tensors(Net().bfloat16())
    kinds = {name: tensor.dtype for name, tensor in found.items()}
    assert kinds.pop("norm.num_batches_tracked") == torch.int64
    assert set(kinds.values()) == {torch.float32}


def test_what_is_put_comes_back_bit_for_bit(tiny_model):
    settings = ModelSettings.model_validate(tiny_model)
    torch.manual_seed(1)
    given = {name: tensor.clone() for name, tensor in unique_tensors(MatchModel(settings, 50)).items()}
    torch.manual_seed(2)
    other = MatchModel(settings, 50)
    put_weights(other, given)
    assert all(torch.equal(tensor, given[name]) for name, tensor in unique_tensors(other).items())
    assert other.document.text.embed.weight is other.teacher.text.embed.weight


def test_weights_of_another_model_are_refused_and_change_nothing():
    net = Net()
    before = {name: tensor.clone() for name, tensor in unique_tensors(net).items()}
    wrong = before | {"first.weight": torch.ones(4, 3), "stray": torch.ones(1)}
    del wrong["norm.bias"]
    with pytest.raises(CorruptIndexError, match=r"norm\.bias, stray, first\.weight \(3 differ\)"):
        put_weights(net, wrong)
    assert all(torch.equal(tensor, before[name]) for name, tensor in unique_tensors(net).items())
