"""A single process, with and without a process group; tests/integration/training/test_gather.py has several."""

import pytest
import torch
import torch.distributed as dist
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from mmsearch.nn import distributed


@pytest.fixture(params=["no group", "a group of one"], autouse=True)
def group(request, tmp_path):
    if request.param == "no group":
        yield
        return
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_there_is_one_process():
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
    distributed.barrier()


def test_gather_gives_the_tensor_itself():
    tensor = torch.randn(2, 3, requires_grad=True)
    assert distributed.gather(tensor) is tensor


def test_a_sum_is_a_copy_without_gradient():
    tensor = torch.ones(2, requires_grad=True)
    total = distributed.sum_over_ranks(tensor)
    assert not total.requires_grad
    total += 1
    assert tensor.tolist() == [1, 1]


def test_gradients_and_weights_stay_as_they_are():
    layer = nn.Linear(2, 2)
    layer.weight.grad = torch.ones(2, 2)
    before = layer.weight.detach().clone()
    distributed.average_gradients(layer.parameters())
    distributed.broadcast_module(layer)
    assert torch.equal(layer.weight.grad, torch.ones(2, 2))
    assert layer.bias.grad is None
    assert torch.equal(layer.weight, before)


DTYPES = (torch.float32, torch.float64)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 20), st.sampled_from(DTYPES))), st.integers(1, 100))
def test_buckets_hold_every_tensor_once_in_order_and_are_no_larger_than_asked(kinds, size):
    tensors = [torch.empty(number, dtype=dtype) for number, dtype in kinds]
    buckets = list(distributed._buckets(tensors, size))
    for dtype in DTYPES:
        held = [id(tensor) for bucket in buckets if bucket[0].dtype == dtype for tensor in bucket]
        assert held == [id(tensor) for tensor in tensors if tensor.dtype == dtype]
    for bucket in buckets:
        assert len({tensor.dtype for tensor in bucket}) == 1
        assert len(bucket) == 1 or sum(tensor.nbytes for tensor in bucket) <= size
