"""Run `python -m training fit` for every variant and seed, each in a process and a folder of its own."""

from __future__ import annotations

import json
import logging
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from mmsearch.errors import DataError, PartialResultError
from mmsearch.files import read_json, write_json
from mmsearch.logs import progress
from training.comparison.plan import Variant

#: What is shown of a failed run's log.
_TAIL_LINES, _TAIL_BYTES = 15, 8_000
_CHECKOUT = Path(__file__).parents[2]
_LOOK_UP_S = 1.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Run:
    """One run: a variant with a seed.

    Args:
        variant: which.
        seed: of the run.
        folder: where `fit` writes.
    """

    variant: Variant
    seed: int
    folder: Path

    @property
    def log(self) -> Path:
        """Give the file of what the process says; it grows when the run goes on."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def record(self) -> Path:
        """Give the file of how the process ended, and how long all of them took."""
        return self.folder.with_name(f"{self.folder.name}.json")

    def seconds(self) -> float | None:
        """Give how long the run took, beginnings and validations included; None where that is not recorded."""
        try:
            found = read_json(self.record).get("seconds")
        except (DataError, AttributeError):
            return None
        return float(found) if isinstance(found, int | float) else None


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that ended with an error: its exit code (negative: the signal that killed it) and the end of its log."""

    run: Run
    exit_code: int
    tail: str


def run_all(runs: Sequence[Run], config: Path, overrides: Sequence[str], *, jobs: int = 1) -> list[Failure]:
    """Run all; one that has ended is left as it is by `fit`, one that was killed goes on.

    With several jobs they share the CPU's threads evenly (unless OMP_NUM_THREADS says otherwise), and each takes one
    of the GPUs in CUDA_VISIBLE_DEVICES where several are listed there.

    Args:
        runs: what to run, in this order.
        config: settings file of all.
        overrides: of all, `dotted.key=value`.
        jobs: how many at a time.

    Returns:
        Those that failed; the others are not held up by them.
    """
    processes = _Processes(config, overrides, jobs)
    failures = []
    with ThreadPoolExecutor(jobs) as pool, progress("compare", len(runs), unit="runs") as bar:
        try:
            submitted = [pool.submit(processes.fit, run) for run in runs]
            for number, future in enumerate(_ended(submitted), start=1):
                failure = future.result()
                bar.advance()
                if failure is not None:
                    failures.append(failure)
                    _report(failure)
                _log.info("%d of %d runs are over", number, len(runs))
        except BaseException:  # an interrupt: no process is left behind
            pool.shutdown(wait=False, cancel_futures=True)
            processes.stop()
            raise
    return sorted(failures, key=lambda failure: runs.index(failure.run))


def _ended(submitted: Iterable[Future[Failure | None]]) -> Iterator[Future[Failure | None]]:
    """Give each when it has ended; wake now and then: a signal that comes just before a wait would not end it."""
    pending = set(submitted)
    while pending:
        ended, pending = wait(pending, timeout=_LOOK_UP_S, return_when=FIRST_COMPLETED)
        yield from ended


def check_complete(failures: Sequence[Failure], num_runs: int, folder: Path) -> None:
    """Raise PartialResultError if runs failed: the tables hold what the others gave."""
    if failures:
        named = ", ".join(f"{one.run.variant.label} (seed {one.run.seed})" for one in failures)
        raise PartialResultError(
            f"{len(failures)} of {num_runs} runs failed: {named}; their logs stand in {folder}, "
            "and the same command again runs them again"
        )


class _Processes:
    """The processes of a comparison, at most `jobs` at a time."""

    def __init__(self, config: Path, overrides: Sequence[str], jobs: int) -> None:
        self._config, self._overrides = config, list(overrides)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock, self._stopped = threading.Lock(), False
        self._slots: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
        for environment in environments(jobs):
            self._slots.put(environment)

    def fit(self, run: Run) -> Failure | None:
        """Run one to its end, and record that."""
        run.folder.parent.mkdir(parents=True, exist_ok=True)
        before = _recorded(run)
        begun, environment = time.monotonic(), self._slots.get()
        try:
            exit_code = self._wait(run, environment)
        finally:
            self._slots.put(environment)
        seconds = time.monotonic() - begun
        if before.get("exit_code") != 0:  # else it had ended already, and this was a look
            spent = before.get("seconds", 0.0) + seconds
            write_json(run.record, {"exit_code": exit_code, "seconds": round(spent, 3)})
        return None if exit_code == 0 else Failure(run, exit_code, _tail(run.log))

    def stop(self) -> None:
        """End all that run; start no other."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()

    def _wait(self, run: Run, environment: dict[str, str]) -> int:
        with run.log.open("ab") as log:
            with self._lock:
                if self._stopped:
                    return -1
                process = subprocess.Popen(  # noqa: S603 (our own command, no shell)
                    self._command(run), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment
                )
                self._running.add(process)
            try:
                return process.wait()
            finally:
                with self._lock:
                    self._running.discard(process)

    def _command(self, run: Run) -> list[str]:
        own = [f"run.seed={run.seed}", f"run.dir={json.dumps(str(run.folder), ensure_ascii=False)}"]
        fit = [sys.executable, "-m", "training", "fit", str(self._config)]
        return [*fit, *self._overrides, *run.variant.overrides, *own]


def environments(jobs: int) -> list[dict[str, str]]:
    """Give what each of the jobs finds in its environment: this package, a share of the threads, one of the GPUs."""
    paths = [str(_CHECKOUT), *filter(None, [os.environ.get("PYTHONPATH")])]
    common = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    if jobs > 1:
        common.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // jobs)))
    gpus = [gpu for gpu in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
    if jobs == 1 or len(gpus) < 2:
        return [common] * jobs
    return [common | {"CUDA_VISIBLE_DEVICES": gpus[job % len(gpus)]} for job in range(jobs)]


def _recorded(run: Run) -> dict[str, float]:
    """Give how the run ended before; nothing if it never ran, or has gone since."""
    try:
        found = read_json(run.record)
    except DataError:
        return {}
    values = {name: value for name, value in found.items() if isinstance(value, int | float)}
    return {} if values.get("exit_code") == 0 and not (run.folder / "fingerprints.json").is_file() else values


def _report(failure: Failure) -> None:
    run = failure.run
    where = f"{run.variant.label}, seed {run.seed}"
    _log.error("%s: failed (exit code %d); the end of %s:\n%s", where, failure.exit_code, run.log, failure.tail)


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        text = file.read().decode("utf-8", errors="replace")
    return "\n".join(text.splitlines()[-_TAIL_LINES:])
