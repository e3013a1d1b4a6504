"""What variants cost: parameters, time to embed, bytes to store. Their times are taken in turns, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from mmsearch.models.checkpoint import load_model
from mmsearch.models.inputs import InputMaker
from mmsearch.protocols import PreparedVideo
from training.comparison.measures import Ruler

_VIDEOS, _ROUNDS = 64, 15
_BYTES = 2  # float16


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one space of a model.

    Args:
        fusion_parameters: numbers in its fusion.
        fusion_ms: of the fusion alone, milliseconds of one CPU thread per 1,000 videos (median).
        document_ms: of the whole document tower, the same.
        mean_bytes: bytes of a video's mean vector in float16.
        codes_bytes: bytes of its codes.
    """

    fusion_parameters: int
    fusion_ms: float
    document_ms: float
    mean_bytes: int
    codes_bytes: int


@torch.inference_mode()
def costs(runs: Mapping[str, tuple[Path, Ruler]]) -> dict[str, Cost]:
    """Measure models of finished runs by their names, on the first 64 judged videos.

    Every round times every model once, the next round begins with another one: what else the machine does meanwhile
    falls on all of them alike. What is taken is the time that the thread itself was on a CPU: on a busy machine a clock
    on the wall had one of two equal models eight times as slow as the other.

    Args:
        runs: folders of the models, and what measures them.
    """
    models = {name: _Timed(run, ruler.space, ruler.videos[:_VIDEOS]) for name, (run, ruler) in runs.items()}
    with _one_thread():
        for number in range(_ROUNDS):
            turn = number % max(len(models), 1)
            for model in [*models.values()][turn:] + [*models.values()][:turn]:
                model.round()
    return {name: model.cost() for name, model in models.items()}


class _Timed:
    """A model with the inputs of its document tower and of its fusion."""

    def __init__(self, run: Path, space: str, videos: Sequence[PreparedVideo]) -> None:
        model, tokenizer = load_model(run)
        self._fusion: nn.Module = model.document.fusions[space]
        self._dim, self._num_videos = model.settings.dim, len(videos)
        inputs = InputMaker(model.settings, tokenizer).documents(videos)
        given: list[Any] = []
        hook = self._fusion.register_forward_pre_hook(lambda _, args: given.extend(args))
        self._num_codes = model.document(inputs, (space,))[space].codes.shape[1]
        hook.remove()
        self._whole: Callable[[], Any] = lambda: model.document(inputs, (space,))
        self._fuse: Callable[[], Any] = lambda: self._fusion(*given)
        self._seconds: list[tuple[float, float]] = []

    def round(self) -> None:
        """Take the time of the fusion and of the whole tower once."""
        self._seconds.append((_seconds(self._fuse), _seconds(self._whole)))

    def cost(self) -> Cost:
        """Sum up."""
        scale = 1e6 / self._num_videos
        fusion, whole = (median(those) * scale for those in zip(*self._seconds, strict=True))
        parameters = sum(p.numel() for p in self._fusion.parameters())
        mean = _BYTES * self._dim
        return Cost(parameters, fusion, whole, mean, mean * self._num_codes)


def _seconds(call: Callable[[], Any]) -> float:
    begun = time.thread_time()
    call()
    return time.thread_time() - begun


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
