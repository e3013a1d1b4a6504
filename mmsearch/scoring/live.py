"""A scorer that goes on to what is published while requests are answered."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from pathlib import Path
from typing import Self

from mmsearch.forks import ForkSafeLock, renew_in_child
from mmsearch.index.layout import read_current
from mmsearch.scoring.scorer import FeatureScorer
from mmsearch.scoring.versions import OnMixed

_log = logging.getLogger(__name__)

#: A generation that cannot be opened is tried again, after ever longer waits up to this.
_MAX_WAIT_S = 60.0
_MAX_DOUBLINGS = 16


class LiveScorer:
    """Follows the served generation of an index: no request fails or waits because another one is published.

    A thread looks at the index; when another generation is served, it opens that one, reads it once (`warm`), and only
    then lets `current` give it. A request takes `current` once and stays with it, so that all of its numbers are of one
    generation; the files of the former one stay while a request holds it. Query towers whose bytes did not change are
    not loaded again. A generation that cannot be opened is told in `error` and the log, the former one goes on, and it
    is tried again until it opens or another one is served.

    Safe for threads; in a forked child it follows on by a thread of its own.

    Args:
        index_dir: the index.
        check_every_s: seconds between two looks: a small file is read.
        warm: read a new generation once before it is used; the first one too.
        on_mixed: as for `FeatureScorer.open`, and so are the others.

    Raises:
        DataError: nothing was published here.
        IntegrityError: what is served now cannot be opened.
    """

    def __init__(
        self,
        index_dir: Path | str,
        *,
        check_every_s: float = 1.0,
        warm: bool = True,
        on_mixed: OnMixed = "match",
        num_threads: int = 1,
        cache_size: int = 4096,
        derived: bool = True,
    ) -> None:
        self._index_dir, self._check_every_s, self._warm = Path(index_dir), check_every_s, warm
        self._on_mixed, self._num_threads, self._cache_size, self._derived = on_mixed, num_threads, cache_size, derived
        self._reloading = ForkSafeLock()
        self._failed, self._num_failures, self._retry_at = "", 0, 0.0
        #: Why the served generation could not be opened; None while `current` is what is served.
        self.error: str | None = None
        self._current = self._open(None)
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self._follow()
        renew_in_child(self)

    def renew(self) -> None:
        """Follow on by a thread of this process, unless it was closed."""
        if not self._closed.is_set():
            self._closed, self._thread = threading.Event(), None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @property
    def current(self) -> FeatureScorer:
        """The scorer of what is served; a request takes it once."""
        if self._thread is None:
            self._follow()
        return self._current

    @property
    def generation(self) -> str:
        """The generation that `current` scores."""
        return self._current.index.generation

    def close(self) -> None:
        """Follow no more; waits for a look that is under way. `current` still works."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def check(self) -> bool:
        """Look at the index now; tell whether `current` has changed. What cannot be opened is told in `error`."""
        with self._reloading:
            served = ""
            try:
                served = read_current(self._index_dir)
                if served == self.generation:
                    self.error, self._num_failures = None, 0
                    return False
                if served == self._failed and time.monotonic() < self._retry_at:
                    return False
                self._current = self._open(self._current)
            except Exception as error:  # whatever it is, requests go on with what is there
                self._note(served, error)
                return False
            self.error, self._num_failures, self._failed = None, 0, ""
            _log.info("%s: generation %s is served now", self._index_dir, self.generation)
            return True

    def _open(self, previous: FeatureScorer | None) -> FeatureScorer:
        return FeatureScorer.open(
            self._index_dir,
            num_threads=self._num_threads,
            on_mixed=self._on_mixed,
            previous=previous,
            cache_size=self._cache_size,
            warm=self._warm,
            derived=self._derived,
        )

    def _note(self, served: str, error: Exception) -> None:
        message = str(error) or type(error).__name__
        if message != self.error:
            _log.error("%s: going on with generation %s: %s", self._index_dir, self.generation, message)
        self._num_failures = self._num_failures + 1 if served == self._failed else 1
        wait = min(self._check_every_s * 2 ** min(self._num_failures, _MAX_DOUBLINGS), _MAX_WAIT_S)
        self.error, self._failed, self._retry_at = message, served, time.monotonic() + wait

    def _follow(self) -> None:
        with self._reloading:
            if self._thread is None:
                arguments = weakref.ref(self), self._closed, self._check_every_s
                self._thread = threading.Thread(target=_look, args=arguments, daemon=True)
                self._thread.start()


def _look(followed: weakref.ref[LiveScorer], closed: threading.Event, every_s: float) -> None:
    """Look again and again, until it is closed or gone."""
    while not closed.wait(every_s):
        live = followed()
        if live is None:
            return
        live.check()
        del live
