"""The moving average of weights against a loop in double precision."""

import copy

import pytest
import torch
from torch import nn

from training.averaging import Average


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.linear = nn.Linear(3, 4)
        self.norm = nn.BatchNorm1d(4)


def move(net, step):
    generator = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator))


def own(net):
    return {name: p.detach().clone() for name, p in net.named_parameters()}


@pytest.mark.parametrize("decay", [0.5, 0.999])
def test_it_is_the_average_of_a_loop(decay):
    net = Net()
    average = Average(net, decay)
    expected = {name: value.double() for name, value in own(net).items()}
    for t in range(1, 30):
        move(net, t)
        average.update()
        d = min(decay, (1 + t) / (10 + t))
        expected = {name: d * expected[name] + (1 - d) * value.double() for name, value in own(net).items()}
    found = average.tensors()
    assert found.pop(":steps").item() == 29
    for name, value in expected.items():
        torch.testing.assert_close(found[name].double(), value, rtol=1e-4, atol=1e-5)


def test_frozen_parameters_stay_as_they_are_to_the_bit():
    net = Net()
    before = own(net)
    average = Average(net, 0.9)
    for _ in range(5):
        average.update()
    assert all(torch.equal(average.tensors()[name], value) for name, value in before.items())


def test_going_on_from_a_file_gives_the_same_bits():
    net = Net()
    average = Average(net, 0.99)
    for t in range(12):
        if t == 5:
            saved, twin = {k: v.clone() for k, v in average.tensors().items()}, copy.deepcopy(net)
        move(net, t)
        average.update()
    resumed = Average(twin, 0.99)
    resumed.load(saved)
    for t in range(5, 12):
        move(twin, t)
        resumed.update()
    assert resumed.tensors().keys() == average.tensors().keys()
    assert all(torch.equal(value, average.tensors()[name]) for name, value in resumed.tensors().items())


def test_in_place_it_stands_in_and_goes_again():
    net = Net()
    average = Average(net, 0.5)
    move(net, 1)
    average.update()
    net.norm.running_mean.fill_(7.0)
    mine = own(net)

    def broken():
        with average.in_place():
            assert all(torch.equal(p, average.tensors()[name]) for name, p in net.named_parameters())
            assert net.norm.running_mean.eq(7).all()  # buffers are taken as they are
            raise RuntimeError("in the midst of validation")

    with pytest.raises(RuntimeError, match="midst"):
        broken()
    assert all(torch.equal(p, mine[name]) for name, p in net.named_parameters())
    average.apply()
    assert all(torch.equal(p, average.tensors()[name]) for name, p in net.named_parameters())
    assert not torch.equal(net.linear.weight, mine["linear.weight"])
