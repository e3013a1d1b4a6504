"""The models that a process serves, by name."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Self

from mmsearch.errors import ConfigError, MmsearchError
from mmsearch.scoring import FeatureScorer, LiveScorer
from serving.service.batcher import Batcher
from serving.service.lane import Lane
from serving.service.metrics import Metrics
from serving.service.problems import ProblemError
from serving.service.recall import Searcher, default_space
from serving.service.settings import ServedModel, ServeSettings
from serving.service.shelf import Shelf

_log = logging.getLogger(__name__)


class Model:
    """A served index: what scores it, searches it and shows its videos.

    Args:
        name: what requests call it.
        settings: its settings.
        bounds: those of the service.
        metrics: told of batches.

    Raises:
        DataError: nothing was published in the index, or the corpus is not there.
        IntegrityError: a file is damaged.
    """

    def __init__(self, name: str, settings: ServedModel, bounds: ServeSettings, metrics: Metrics) -> None:
        self.name, self.settings = name, settings
        self.live = LiveScorer(
            settings.index,
            check_every_s=bounds.check_every_s,
            on_mixed=settings.on_mixed,
            num_threads=bounds.num_threads,
            cache_size=bounds.cache_size,
        )
        try:
            self.shelf = None if settings.corpus is None else Shelf(settings.corpus)
            self.searcher = None if settings.recall is None else Searcher(settings.index, settings.recall)
            if self.searcher is not None:  # warns of a faiss index that is not there
                self.searcher.find(self.scorer, "a", default_space(self.scorer), 1)
        except BaseException:
            self.live.close()
            raise
        self._kept_up = self.scorer
        self.batcher = Batcher(
            lambda: self.live.current,
            queue_size=bounds.queue_size,
            max_batch=bounds.max_batch,
            wait_s=bounds.batch_wait_ms / 1e3,
            seen=metrics.batch_size.labels(name).observe,
        )

    @property
    def scorer(self) -> FeatureScorer:
        """The scorer of the newest generation; take it once a request and stay with it."""
        return self.live.current

    def keep_up(self, lane: Lane) -> None:
        """After a swap: load what is searched of the new generation, and the corpus where it was prepared anew."""
        scorer = self.scorer
        if self._kept_up is not scorer:
            self._kept_up = scorer
            lane.begin(lambda: self._catch_up(scorer))
        elif self.searcher is not None and self.searcher.is_stopgap:
            lane.begin(partial(self.searcher.renew, scorer))

    def _catch_up(self, scorer: FeatureScorer) -> None:
        if self.searcher is not None:
            self.searcher.keep_up(scorer)
        if self.settings.corpus is not None and self.shelf is not None and self.shelf.is_outdated():
            self.shelf = Shelf(self.settings.corpus)

    def close(self) -> None:
        """Answer what waits, and let the index go."""
        self.batcher.close()
        self.live.close()


class Models:
    """All models of a process, and the threads that they share.

    Raises:
        ConfigError: one of them cannot be opened; the message names it.
    """

    def __init__(self, settings: ServeSettings, metrics: Metrics) -> None:
        self.settings = settings
        self._models: dict[str, Model] = {}
        self.searching = Lane("searches", num_threads=1, queue_size=settings.queue_size)
        self.reading = Lane("covers", num_threads=1, queue_size=4 * settings.queue_size)
        try:
            for name, told in settings.models.items():
                self._models[name] = _open(name, told, settings, metrics)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def by_name(self) -> Mapping[str, Model]:
        """The models, the default one first."""
        return self._models

    def named(self, name: str | None) -> Model:
        """Give the model of that name; None = the default one.

        Raises:
            ProblemError: there is none.
        """
        model = self._models.get(name or self.settings.default_model)
        if model is None:
            raise ProblemError("not-found", f"there is no such model; there are: {', '.join(self._models)}")
        return model

    def keep_up(self) -> None:
        """Load what is searched of new generations; to be called every second."""
        for model in self._models.values():
            model.keep_up(self.searching)

    def close(self) -> None:
        """Answer what waits, and let the indexes go."""
        self.searching.close()
        self.reading.close()
        for model in self._models.values():
            model.close()


def _open(name: str, told: ServedModel, settings: ServeSettings, metrics: Metrics) -> Model:
    try:
        model = Model(name, told, settings, metrics)
    except MmsearchError as error:
        _log.error("the model '%s' cannot be served", name)
        if isinstance(error, ConfigError):
            raise ConfigError(f"models.{name}: {error}") from error
        raise
    fields = {"model": name, "generation": model.live.generation, "documents": model.scorer.index.num_docs}
    _log.info("serving %s from %s", name, told.index, extra={"fields": fields})
    return model
