"""What the service counts, for Prometheus."""

from __future__ import annotations

import os
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64)
_CANDIDATES = (1, 10, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)

#: Where the counts of several workers lie; prometheus_client reads it when it is imported.
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


class Metrics:
    """Counters of one process; where several workers serve, `render` gives the sums over all of them.

    No label holds anything that a client chose: routes are their templates, models those of the settings.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        given: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter(
            "mmsearch_requests", "Requests answered, by route and status.", ("route", "method", "status"), **given
        )
        self.seconds = Histogram(
            "mmsearch_request_seconds", "From the head of a request to the end of its answer.", ("route",),
            buckets=_SECONDS, **given,
        )  # fmt: skip
        self.candidates = Histogram(
            "mmsearch_candidates", "Candidates of a scored request.", ("model",), buckets=_CANDIDATES, **given
        )
        self.batch_size = Histogram(
            "mmsearch_batch_requests", "Requests that were scored together.", ("model",), buckets=_SIZES, **given
        )
        self.late = Counter("mmsearch_late", "Answers in part, for a deadline passed.", ("model",), **given)
        self.unscored = Counter("mmsearch_unscored_candidates", "Candidates without any feature.", ("model",), **given)
        self.generation = Gauge(
            "mmsearch_index_generation", "Number of the served generation; of several workers the oldest.", ("model",),
            multiprocess_mode="livemin", **given,
        )  # fmt: skip
        self.documents = Gauge(
            "mmsearch_index_documents", "Documents of the served generation.", ("model",),
            multiprocess_mode="livemin", **given,
        )  # fmt: skip
        self.reload_failed = Gauge(
            "mmsearch_index_reload_failed", "1 while a newer generation cannot be opened.", ("model",),
            multiprocess_mode="livemax", **given,
        )  # fmt: skip
        self.exact_instead = Gauge(
            "mmsearch_search_exact_instead", "1 while a faiss index is wanting, and the search exact.", ("model",),
            multiprocess_mode="livemax", **given,
        )  # fmt: skip
        self.waiting = Gauge(
            "mmsearch_waiting_requests", "Requests that wait or are worked on, by queue.", ("queue",),
            multiprocess_mode="livesum", **given,
        )  # fmt: skip

    def render(self) -> bytes:
        """Give the text format."""
        if SHARED_FOLDER not in os.environ:
            return generate_latest(self.registry)
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
