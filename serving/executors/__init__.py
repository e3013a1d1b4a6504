"""Where work items are embedded: on this machine, or on a Ray cluster. The results are the same bytes."""

from typing import Annotated

from pydantic import Tag

from mmsearch.config import by_type
from serving.executors.local import LocalExecutor, LocalSettings
from serving.executors.ray import RayExecutor, RaySettings

ExecutorSettings = Annotated[
    Annotated[LocalSettings, Tag("local")] | Annotated[RaySettings, Tag("ray")],
    by_type("local"),
]

__all__ = ["ExecutorSettings", "LocalExecutor", "LocalSettings", "RayExecutor", "RaySettings"]
