"""The processes of a run: those that `torchrun` or `deepspeed` started, or this one alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from mmsearch.models.checkpoint import pick_device

_TIMEOUT = timedelta(minutes=30)


@contextmanager
def together(device: str) -> Iterator[torch.device]:
    """Join the other processes of a launch for the block, and give this process's device.

    `auto` and `cuda` become the GPU of this process's number on its machine. GPUs talk through nccl, CPUs through gloo.

    Raises:
        ConfigError: there is no such device here.
    """
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
    chosen = pick_device(device)
    if not alone and chosen.type == "cuda" and chosen.index is None:
        chosen = pick_device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}")
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if alone:
        yield chosen
        return
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=_TIMEOUT)
    try:
        yield chosen
    finally:
        dist.destroy_process_group()
