"""What runs on a Ray cluster: actors that embed, and the one that hands items to them. No Ray is imported here."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from mmsearch.errors import MmsearchError
from serving.embed import EmbedJob
from serving.executors.machine import memory_share
from serving.executors.ray_results import to_json
from serving.executors.supervised import Supervised
from serving.work_item import Done, WorkItem


class Feed:
    """Hands out items as tickets ask for them, so that the driver draws them only as fast as they are worked on.

    A ticket gets the same item again when its actor died.
    """

    def __init__(self) -> None:
        self._waiting: deque[WorkItem] = deque()
        self._given: dict[int, WorkItem] = {}
        self._closed = False
        self._changed = asyncio.Condition()

    async def put(self, item: WorkItem) -> None:
        """Take an item from the driver."""
        async with self._changed:
            self._waiting.append(item)
            self._changed.notify()

    async def close(self) -> None:
        """Hear that there are no more items."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def take(self, ticket: int) -> WorkItem | None:
        """Give the item of a ticket; wait until there is one, or none will be."""
        async with self._changed:
            if ticket not in self._given:
                await self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return None
                self._given[ticket] = self._waiting.popleft()
            return self._given[ticket]

    async def forget(self, ticket: int) -> None:
        """Hear that a ticket is done."""
        self._given.pop(ticket, None)


class EmbeddingActor:
    """Embeds the items of tickets in a supervised process of its own: a video that breaks it does not break the actor.

    Args:
        job: what to embed for.
        feed: a handle of the `Feed`.
        timeout_s: of the process, as `Supervised`.
        max_memory_bytes: of the process; None = nine tenths of the machine's.
        threads: of the process.
    """

    def __init__(self, job: EmbedJob, feed: Any, timeout_s: float, max_memory_bytes: int | None, threads: int) -> None:
        self._feed = feed
        max_bytes = max_memory_bytes or memory_share(1)
        self._supervised = Supervised(
            job, num_workers=1, timeout_s=timeout_s, max_memory_bytes=max_bytes, threads=threads
        )
        # A worker process dies with the thread that started it; Ray's threads come and go.
        self._thread = ThreadPoolExecutor(1)

    def __call__(self, batch: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Embed the items of a batch of tickets; results are as `to_json` writes them."""
        import ray

        results = np.empty(len(batch["ticket"]), object)
        for at, ticket in enumerate(batch["ticket"].tolist()):
            item = ray.get(self._feed.take.remote(ticket))
            result = None if item is None else self._thread.submit(self._embed, item).result()
            results[at] = to_json(result)
        return {"ticket": batch["ticket"], "result": results}

    def _embed(self, item: WorkItem) -> Done | MmsearchError:
        try:
            (done,) = self._supervised.run([item])
        except MmsearchError as error:
            return error
        return done
