"""Embed on a Ray cluster: Ray Data gives the items to actors, and starts anew what died."""

from __future__ import annotations

import queue
import threading
from collections.abc import Collection, Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from mmsearch.config import Settings
from mmsearch.errors import MmsearchError
from serving.embed import EmbedJob
from serving.executors.ray_actors import EmbeddingActor, Feed
from serving.executors.ray_cluster import check_room, cluster
from serving.executors.ray_results import from_json
from serving.work_item import Done, WorkItem

_END_S = 30.0


class RaySettings(Settings):
    """Embed on a Ray cluster. Corpus, model and index must lie in folders that every node sees under the same path."""

    type: Literal["ray"] = "ray"
    address: str | None = None
    """`auto`, `HOST:6379`, `ray://HOST:10001`; null = a cluster of this machine, for this run alone."""
    num_actors: Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] = 1
    """Actors that embed, each with the model; `[1, 8]` = as many between these as there is work and room for."""
    cpus_per_actor: Annotated[float, Field(gt=0)] = 1.0
    """CPUs of an actor, as Ray counts them. Some must be left over in the cluster."""
    gpus_per_actor: Annotated[float, Field(ge=0)] = 0.0
    """GPUs of an actor; 0.5 = two actors share one."""
    timeout_s: Annotated[float, Field(gt=0)] = 300.0
    """Seconds that one batch may take; a video that hangs is in quarantine after a few times this."""
    max_memory_bytes: Annotated[int, Field(ge=1)] | None = None
    """Private memory of an actor's process; null = nine tenths of its machine's (or container's)."""
    threads: Annotated[int, Field(ge=1)] | None = None
    """Threads of an actor on the CPU; null = `cpus_per_actor`. The last bits of vectors may depend on it."""

    @model_validator(mode="after")
    def _range(self) -> RaySettings:
        least, most = self.bounds
        if least > most:
            raise ValueError(f"num_actors: at least {least} and at most {most} cannot be")
        return self

    @property
    def bounds(self) -> tuple[int, int]:
        """The least and the most actors."""
        return (self.num_actors, self.num_actors) if isinstance(self.num_actors, int) else self.num_actors

    def build(self) -> RayExecutor:
        """Give the executor."""
        return RayExecutor(self)


class RayExecutor:
    """An `Executor` on a Ray cluster. Nothing of Ray is imported or started before the first item."""

    def __init__(self, settings: RaySettings) -> None:
        self._settings = settings

    def run(self, items: Collection[WorkItem], job: EmbedJob) -> Iterator[Done]:
        """Embed and commit items; yield each as it ends. See `Executor.run`.

        Raises:
            MissingExtraError: Ray is not installed.
            ConfigError: there is no such cluster, or no room for the actors in it.
        """
        if not len(items):
            return
        settings = self._settings
        least, most = settings.bounds
        with cluster(settings.address, settings.gpus_per_actor) as ray:
            check_room(ray, actors=least, cpus=settings.cpus_per_actor, gpus=settings.gpus_per_actor)
            feed = ray.remote(num_cpus=0)(Feed).remote()
            try:
                results = _Results(self._dataset(ray, len(items), job, feed))
                yield from _run(ray, feed, items, results, window=4 * most)
                ray.get(feed.close.remote())
                results.end()
            finally:
                ray.kill(feed)

    def _dataset(self, ray: Any, count: int, job: EmbedJob, feed: Any) -> Any:
        """One ticket a block: what a killed actor costs is one item."""
        settings = self._settings
        least, most = settings.bounds
        chosen = {
            "job": job,
            "feed": feed,
            "timeout_s": settings.timeout_s,
            "max_memory_bytes": settings.max_memory_bytes,
            "threads": settings.threads or max(1, round(settings.cpus_per_actor)),
        }
        tickets = ray.data.from_items([{"ticket": number} for number in range(count)], override_num_blocks=count)
        return tickets.map_batches(
            EmbeddingActor,
            fn_constructor_kwargs=chosen,
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(min_size=least, max_size=most, max_tasks_in_flight_per_actor=2),
            num_cpus=settings.cpus_per_actor,
            num_gpus=settings.gpus_per_actor or None,
        )


class _Results:
    """Reads the results of a dataset in a thread, so that items can be drawn by the caller's meanwhile."""

    def __init__(self, dataset: Any) -> None:
        self._read: queue.SimpleQueue[tuple[int, Any] | Exception | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._follow, args=(dataset,), name="ray-results", daemon=True)
        self._thread.start()

    def _follow(self, dataset: Any) -> None:
        try:
            for row in dataset.iter_rows():
                value = from_json(row["result"])
                if value is not None:
                    self._read.put((int(row["ticket"]), value))
        except Exception as error:  # told in the caller's thread
            self._read.put(error)
        else:
            self._read.put(None)

    def next(self) -> tuple[int, Done]:
        """Wait for the next finished ticket.

        Raises:
            MmsearchError: embedding cannot go on.
        """
        found = self._read.get()
        if found is None:
            raise MmsearchError("Ray ended before all items were done; refresh again: what is done stays")
        if isinstance(found, Exception):
            raise MmsearchError(f"Ray failed: {_told(found)}; refresh again: what is done stays") from found
        ticket, value = found
        if isinstance(value, MmsearchError):
            raise value
        return ticket, value

    def end(self) -> None:
        """Wait until the dataset has ended, so that the cluster can; not for ever."""
        self._thread.join(_END_S)


def _told(error: Exception) -> str:
    """Give the first and last line of what Ray says: between them stand tracebacks of its own."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    return f"{type(error).__name__}: " + " … ".join(dict.fromkeys([lines[0], lines[-1]]))


def _run(ray: Any, feed: Any, items: Collection[WorkItem], results: _Results, window: int) -> Iterator[Done]:
    source, under_way = iter(items), 0
    while True:
        while under_way < window and (item := next(source, None)) is not None:
            ray.get(feed.put.remote(item))
            under_way += 1
        if not under_way:
            return
        ticket, done = results.next()
        feed.forget.remote(ticket)
        under_way -= 1
        yield done
