"""The processes of a run: those that `torchrun` or `deepspeed` started, or this one alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from mmsearch.errors import ConfigError
from mmsearch.models.checkpoint import pick_device

_TIMEOUT = timedelta(minutes=30)


@contextmanager
def together(device: str) -> Iterator[torch.device]:
    """Join the other processes of a launch for the block, and give this process's device.

    `auto` and `cuda` become the GPU of this process's number on its machine. GPUs talk through nccl, CPUs through gloo.

    Raises:
        ConfigError: there is no such device here, or it is one GPU for several processes.
    """
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    if not alone and device.startswith("cuda:"):
        raise ConfigError(f"run.device: {device} would put all processes on one GPU; give auto or cuda")
    if not alone and device in ("auto", "cuda") and torch.cuda.is_available():
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"  # named before any is touched: GPU 0 is another's
    chosen = pick_device(device)
    if chosen.type == "cuda" and chosen.index is not None:  # without a number it is the current one already
        torch.cuda.set_device(chosen)
    if alone:
        yield chosen
        return
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=_TIMEOUT)
    try:
        yield chosen
    finally:
        dist.destroy_process_group()
