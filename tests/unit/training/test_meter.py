"""The meter against a clock that only moves when told, and floating-point operations against sums done by hand."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from training.flops import count_flops
from training.meter import HostMarks, Meter
from training.peaks import peak_tflops

CPU = torch.device("cpu")


class Clock:
    """Stands still until something takes time."""

    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time

    def takes(self, seconds):
        self.time += seconds


def work_of(clock, seconds, left, right):
    def work():
        clock.takes(seconds)
        return left @ right

    return work


def batches_of(clock, seconds):
    for number, wait in enumerate(seconds):
        clock.takes(wait)
        yield number


def run(clock, meter, waits, steps, samples=6):
    left, right = torch.ones(20, 30), torch.ones(30, 50)  # 2 * 20 * 30 * 50 = 60,000 operations
    for batch in meter.waited(batches_of(clock, waits)):
        meter.step(samples, work_of(clock, steps[batch], left, right))
        clock.takes(1000)  # a validation: no part of any figure


def test_figures_are_sums_done_by_hand():
    clock = Clock()
    meter = Meter(CPU, world_size=3, peak_tflops=1e-7, marks=HostMarks(clock))
    run(clock, meter, waits=[9, 1, 0.5], steps=[50, 4, 2])  # the first step counts operations and is left out
    found = meter.flush()
    assert found["samples_per_s"] == pytest.approx(3 * (6 + 6) / 7.5, rel=1e-3)
    assert found["wait_share"] == pytest.approx(1.5 / 7.5)
    assert found["tflops_per_s"] == pytest.approx(2 * 60_000 / 7.5 / 1e12, rel=1e-3)
    assert found["mfu"] == pytest.approx(2 * 60_000 / 7.5 / 1e12 / 1e-7, rel=1e-3)


def test_every_interval_begins_anew():
    clock = Clock()
    meter = Meter(CPU, marks=HostMarks(clock))
    run(clock, meter, waits=[1, 1], steps=[1, 1])
    meter.flush()
    run(clock, meter, waits=[0, 0], steps=[1, 3], samples=10)
    found = meter.flush()
    assert found["samples_per_s"] == pytest.approx(5)
    assert found["wait_share"] == 0
    assert set(meter.flush()) == {"peak_memory_mib"}


def test_nothing_is_told_of_what_was_not_measured():
    clock = Clock()
    meter = Meter(CPU, marks=HostMarks(clock))
    run(clock, meter, waits=[1], steps=[1])
    assert set(meter.flush()) == {"peak_memory_mib"}
    run(clock, meter, waits=[1], steps=[1])
    assert "mfu" not in meter.flush()  # what a CPU can do at most is not known


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the kernel's own figure is read from /proc")
def test_memory_is_what_the_kernel_says():
    block = torch.ones(64 << 18)  # 64 MiB
    found = Meter(CPU).flush()["peak_memory_mib"]
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    assert block.sum() > 0
    assert found == pytest.approx(int(line.split()[1]) / 1024, rel=0.05)


def test_forward_and_backward_of_a_linear_layer():
    layer, inputs = torch.nn.Linear(7, 5, bias=False), torch.ones(3, 7)
    result, count = count_flops(lambda: layer(inputs).sum().backward())
    assert result is None
    assert count == 2 * (2 * 3 * 7 * 5)  # the output, the gradient of the weight; the inputs need none


@pytest.mark.parametrize("backend", [torch.nn.attention.SDPBackend.MATH, torch.nn.attention.SDPBackend.FLASH_ATTENTION])
def test_attention_counts_however_it_is_computed(backend):
    query, key, value = (torch.rand(2, 4, length, 16, requires_grad=True) for length in (8, 12, 12))
    with torch.nn.attention.sdpa_kernel(backend):
        _, forward = count_flops(lambda: F.scaled_dot_product_attention(query, key, value))
        _, both = count_flops(lambda: F.scaled_dot_product_attention(query, key, value).sum().backward())
    product = 2 * 2 * 4 * 8 * 12 * 16
    assert forward == 2 * product
    again = backend is torch.nn.attention.SDPBackend.FLASH_ATTENTION  # the scores are not kept for the backward pass
    assert both == (2 + 4 + again) * product


def test_what_is_computed_again_counts_again():
    layer, inputs = torch.nn.Linear(7, 5, bias=False), torch.ones(3, 7, requires_grad=True)

    def work():
        checkpoint(lambda x: layer(x).sin(), inputs, use_reentrant=False).sum().backward()

    assert count_flops(work)[1] == (1 + 1 + 2) * (2 * 3 * 7 * 5)  # forward, again, and two gradients


def test_counting_changes_no_bit():
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(16, 2, 32, dropout=0.1, batch_first=True)
    inputs = torch.randn(3, 5, 16)

    def gradients():
        layer.zero_grad()
        torch.manual_seed(1)
        layer(inputs).square().sum().backward()
        return [parameter.grad.clone() for parameter in layer.parameters()]

    plain = gradients()
    counted, count = count_flops(gradients)
    assert count > 0
    assert all(torch.equal(one, other) for one, other in zip(plain, counted, strict=True))


@pytest.mark.parametrize(
    ("gpu", "precision", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", "bf16", 989.4),
        ("NVIDIA H100 PCIe", "bf16", 756.5),
        ("NVIDIA A100-SXM4-80GB", "bf16", 312.0),
        ("NVIDIA A100-SXM4-80GB", "tf32", 156.0),
        ("NVIDIA L4", "bf16", 121.0),
        ("NVIDIA L40S", "bf16", 362.0),
        ("Tesla V100-SXM2-16GB", "fp16", 125.0),
        ("Tesla V100-SXM2-16GB", "bf16", None),
        ("NVIDIA GeForce RTX 4090", "fp32", 82.6),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", "fp32", None),
        ("NVIDIA A10G", "bf16", None),
        ("somebody's new chip", "bf16", None),
    ],
)
def test_peaks_by_name(gpu, precision, peak):
    assert peak_tflops(gpu, precision) == peak


@pytest.mark.gpu
def test_a_gpu_that_waits_for_nothing_waits_no_time():
    device = torch.device("cuda")
    meter = Meter(device, precision="fp32", peak_tflops=100.0)
    left = torch.rand(4096, 4096, device=device)

    def work():
        product = left
        for _ in range(20):
            product = left @ product
        return product

    for _ in meter.waited(range(6)):
        meter.step(1, work)
    found = meter.flush()
    assert 0 < found["mfu"] < 10
    assert found["wait_share"] < 0.05
    assert found["peak_memory_mib"] >= 64
