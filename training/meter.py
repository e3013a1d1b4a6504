"""How fast training runs, and what it waits for: samples a second, waiting, memory, utilisation of the device."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

import torch

from training.flops import count_flops
from training.peaks import peak_tflops as known_peak

T = TypeVar("T")

_MIB = 1 << 20


class Marks(Protocol):
    """Moments, and the time between them."""

    def now(self) -> Any:
        """Mark this moment, without waiting for anything."""

    def seconds(self, begin: Any, end: Any) -> float:
        """Give the time from one mark to a later one; may wait until the later one has come."""


class HostMarks:
    """Moments of the host, for work that is done when the call returns.

    Args:
        clock: gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock

    def now(self) -> float:
        """Give the clock."""
        return self._clock()

    def seconds(self, begin: float, end: float) -> float:
        """Give the difference."""
        return end - begin


class CudaMarks:
    """Moments of a GPU's queue of work (CUDA events).

    The host runs ahead of the GPU: what it waits while the GPU has work to do costs nothing, and does not count here.
    Marking does not synchronise; reading the time waits for the later mark only.

    Args:
        device: the GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def now(self) -> torch.cuda.Event:
        """Put a mark behind the work that is queued so far."""
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    def seconds(self, begin: torch.cuda.Event, end: torch.cuda.Event) -> float:
        """Give the time between the marks, once the GPU has reached the later one."""
        end.synchronize()
        return float(begin.elapsed_time(end)) / 1000


class Meter:
    """Measure a stage of training.

    `for batch in meter.waited(batches): meter.step(len(batch), lambda: learn(batch))`, and `meter.flush()` whenever a
    line of metrics is due. Make a new one for every stage. What happens between a step and the next wait (validation,
    checkpoints) is not counted.

    Args:
        device: what the model runs on.
        world_size: processes that train together, with as many samples each.
        precision: of the matrix products: `bf16`, `fp16` or `fp32`.
        peak_tflops: what the device can do at most, in 10^12 operations a second; None = what is known of a GPU's name.
        marks: of time; None = those of the device.
    """

    def __init__(
        self,
        device: torch.device,
        *,
        world_size: int = 1,
        precision: str = "fp32",
        peak_tflops: float | None = None,
        marks: Marks | None = None,
    ) -> None:
        self._device, self._world_size = device, world_size
        self._marks = marks if marks is not None else CudaMarks(device) if device.type == "cuda" else HostMarks()
        self._peak = peak_tflops if peak_tflops is not None else _peak_of(device, precision)
        self._flops: int | None = None
        self._waits: list[tuple[Any, Any]] = []
        self._steps: list[tuple[Any, Any]] = []
        self._samples = 0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def waited(self, batches: Iterable[T]) -> Iterator[T]:
        """Give the batches, and measure how long each is waited for."""
        coming = iter(batches)
        while True:
            begin = self._marks.now()
            try:
                batch = next(coming)
            except StopIteration:
                return
            self._waits.append((begin, self._marks.now()))
            yield batch

    def step(self, samples: int, work: Callable[[], T]) -> T:
        """Do a step (forward, backward, optimizer) and measure it; `samples` are those of this process.

        The first step counts its floating-point operations. That makes it slower, so neither it nor the wait before it
        is in any rate.
        """
        if self._flops is None:
            result, self._flops = count_flops(work)
            self._waits.clear()
            return result
        begin = self._marks.now()
        result = work()
        self._steps.append((begin, self._marks.now()))
        self._samples += samples
        return result

    def flush(self) -> dict[str, float]:
        """Give the figures since the last call, and begin anew.

        Returns:
            samples_per_s: over all processes, waiting included.
            wait_share: time waiting for batches / (waiting + steps), 0 to 1. On a GPU, what it stood still meanwhile.
            tflops_per_s: 10^12 floating-point operations a second of this process's device.
            mfu: the same as a share of the device's peak; absent where the peak is not known.
            peak_memory_mib: of this process since the stage began (GPU: allocated tensors) or, on a CPU, since the
                process began (resident).

            Without a measured step the rates are absent.
        """
        values: dict[str, float] = {}
        waiting = sum(self._marks.seconds(*pair) for pair in self._waits)
        total = waiting + sum(self._marks.seconds(*pair) for pair in self._steps)
        if self._steps and total > 0:
            values["samples_per_s"] = self._samples * self._world_size / total
            values["wait_share"] = waiting / total
            values["tflops_per_s"] = (self._flops or 0) * len(self._steps) / total / 1e12
            if self._peak is not None:
                values["mfu"] = values["tflops_per_s"] / self._peak
        values["peak_memory_mib"] = _peak_memory(self._device) / _MIB
        self._waits, self._steps, self._samples = [], [], 0
        return {name: float(f"{value:.4g}") for name, value in values.items()}


def _peak_of(device: torch.device, precision: str) -> float | None:
    if device.type != "cuda":
        return None
    if precision == "fp32" and torch.get_float32_matmul_precision() != "highest":
        precision = "tf32"
    return known_peak(torch.cuda.get_device_name(device), precision)


def _peak_memory(device: torch.device) -> int:
    """Give bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
