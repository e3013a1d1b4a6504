"""Endpoints for those who run the service: is it alive, is it ready, what does it count."""

from __future__ import annotations

import re

from fastapi import Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from serving.service.bodies import json_answer
from serving.service.metrics import Metrics
from serving.service.models import Models
from serving.service.problems import ProblemError


class Ops:
    """Tells how the process is.

    Args:
        models: what is served.
        metrics: what is counted.
    """

    def __init__(self, models: Models, metrics: Metrics) -> None:
        self._models, self._metrics = models, metrics
        self.draining = False

    async def healthz(self, _: Request) -> Response:
        """Tell that the process answers; restart it where this fails."""
        return json_answer({"status": "ok"})

    async def readyz(self, _: Request) -> Response:
        """Tell whether requests should be sent here: 503 from SIGTERM on."""
        if self.draining:
            raise ProblemError("not-ready", "the service is shutting down")
        generations = {name: model.live.generation for name, model in self._models.by_name.items()}
        return json_answer({"status": "ready", "models": generations})

    async def metrics(self, _: Request) -> Response:
        """Give the counts of all workers in the text format of Prometheus."""
        self.observe()
        return Response(self._metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    def observe(self) -> None:
        """Set what is a state and no count, and load what new generations need; to be called every second."""
        self._models.keep_up()
        counted = self._metrics
        for name, model in self._models.by_name.items():
            counted.generation.labels(name).set(_number(model.live.generation))
            counted.documents.labels(name).set(model.scorer.index.num_docs)
            counted.reload_failed.labels(name).set(model.live.error is not None)
            counted.exact_instead.labels(name).set(model.searcher is not None and model.searcher.is_stopgap)
            counted.waiting.labels(f"score.{name}").set(model.batcher.waiting)
        counted.waiting.labels("search").set(self._models.searching.waiting)
        counted.waiting.labels("cover").set(self._models.reading.waiting)


def _number(generation: str) -> int:
    """Give the number in a generation's name, `g000017-…`."""
    found = re.match(r"g(\d+)", generation)
    return int(found.group(1)) if found else 0
