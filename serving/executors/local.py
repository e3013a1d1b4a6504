"""Embed on this machine: in supervised processes, or in this one."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Annotated, Literal

from pydantic import Field

from mmsearch.config import Settings
from serving.embed import EmbedJob
from serving.executors.machine import memory_share, num_cpus
from serving.executors.supervised import Supervised
from serving.work_item import Done, WorkItem


class LocalSettings(Settings):
    """Embed on this machine."""

    type: Literal["local"] = "local"
    num_workers: Annotated[int, Field(ge=0)] = 1
    """Processes that embed, each with the model; 0 = in the process of the refresh, where nothing is isolated: what
    breaks the tower breaks the refresh."""
    timeout_s: Annotated[float, Field(gt=0)] = 300.0
    """Seconds that one batch may take; a video that hangs is in quarantine after a few times this."""
    max_memory_bytes: Annotated[int, Field(ge=1)] | None = None
    """Private memory of one process; null = an equal share of nine tenths of the machine's (or the container's)."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """Threads of one process on the CPU; null = an equal share of the processors. The last bits of vectors may depend
    on it."""

    def build(self) -> LocalExecutor:
        """Give the executor."""
        return LocalExecutor(self)


class LocalExecutor:
    """An `Executor` on this machine."""

    def __init__(self, settings: LocalSettings) -> None:
        self._settings = settings

    def run(self, items: Collection[WorkItem], job: EmbedJob) -> Iterator[Done]:
        """Embed and commit items; yield each as it ends. See `Executor.run`."""
        settings = self._settings
        if settings.num_workers == 0:
            yield from map(job.embed, items)
            return
        with Supervised(
            job,
            num_workers=settings.num_workers,
            timeout_s=settings.timeout_s,
            max_memory_bytes=settings.max_memory_bytes or memory_share(settings.num_workers),
            threads=settings.threads or max(1, num_cpus() // settings.num_workers),
        ) as supervised:
            yield from supervised.run(items)
