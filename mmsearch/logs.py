"""Logging and progress. Libraries get a logger by name; only the doors (command lines) call `set_up`."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mmsearch.errors import DataError, MmsearchError

_log = logging.getLogger(__name__)

#: Seconds from one line of a job in the log to the next, where no terminal shows its bar.
LINE_EVERY_S = 30.0

_INTERRUPTED = 128 + signal.SIGINT

#: Everything but results goes to stderr, so that results can be piped.
console = Console(stderr=True)


class JsonLines(logging.Formatter):
    """Format a record as one JSON object a line; fields given as `extra={"fields": {...}}` stand beside the message."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created))}
        line |= {"level": record.levelname, "logger": record.name, "message": record.getMessage()}
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def set_up(*, verbose: bool = False) -> None:
    """Send the logs of mmsearch to stderr: coloured on a terminal, JSON lines otherwise. Silent below rank 0."""
    handler: logging.Handler
    if console.is_terminal:
        handler = RichHandler(console=console, show_path=False, show_time=False, markup=False)
    else:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonLines())
    level = logging.DEBUG if verbose else logging.INFO
    for name in ("mmsearch", "training", "serving"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level if rank() == 0 else logging.WARNING)


def rank() -> int:
    """Give the rank of this process among those that a launcher (torchrun, deepspeed) started; 0 when alone."""
    return int(os.environ.get("RANK", "0"))


class RateColumn(ProgressColumn):
    """Show items per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.1f} {task.fields.get('unit', 'it')}/s", style="cyan")


@contextmanager
def progress(description: str, total: int | None, *, unit: str = "it", logged: bool = True) -> Iterator[ProgressBar]:
    """Show a progress bar with rate and time left on a terminal; elsewhere log a line every `LINE_EVERY_S`.

    Use: `with progress("prepare", 500, unit="videos") as bar: bar.advance(); bar.note("loss 0.31")`. On rank > 0 it
    does nothing.

    Args:
        description: what is done.
        total: how many items there are; None = nobody knows.
        unit: what the items are.
        logged: False = no lines, for a job that logs its own.
    """
    shown = console.is_terminal and rank() == 0
    lines = _Lines(description, total, unit) if logged and not console.is_terminal and rank() == 0 else None
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", style="dim"),
        console=console,
        disable=not shown,
    )
    with bar:
        yield ProgressBar(bar, bar.add_task(description, total=total, unit=unit, note=""), lines)


class ProgressBar:
    """The bar that `progress` gives."""

    def __init__(self, bar: Progress, task: Any, lines: _Lines | None = None) -> None:
        self._bar, self._task, self._lines = bar, task, lines

    def advance(self, count: float = 1) -> None:
        """Move on by `count` items."""
        self._bar.advance(self._task, count)
        if self._lines is not None:
            self._lines.advance(count)

    def skip(self, count: float) -> None:
        """Move on by `count` items that were done before: the rate in the log does not count them."""
        self._bar.advance(self._task, count)
        if self._lines is not None:
            self._lines.skip(count)

    def note(self, text: str) -> None:
        """Show a short text at the right end of the bar."""
        self._bar.update(self._task, note=text)


class _Lines:
    """Tells in the log how far a job is, with the rate since the line before."""

    def __init__(self, description: str, total: int | None, unit: str) -> None:
        self._description, self._total, self._unit = description, total, unit
        self._done = self._since = 0.0
        self._told_at = time.monotonic()

    def skip(self, count: float) -> None:
        self._done += count

    def advance(self, count: float) -> None:
        self._done, self._since = self._done + count, self._since + count
        seconds = time.monotonic() - self._told_at
        if seconds >= LINE_EVERY_S:
            self._tell(self._since / max(seconds, 1e-9))
            self._since, self._told_at = 0.0, time.monotonic()

    def _tell(self, rate: float) -> None:
        total, unit = self._total, self._unit
        left = None if total is None or rate <= 0 else max(total - self._done, 0) / rate
        fields = {"job": self._description, "done": self._done, "total": total, "unit": unit}
        fields |= {"per_s": round(rate, 3), "left_s": None if left is None else round(left, 1)}
        whole = "" if total is None else f" of {total:,}"
        minutes, seconds = divmod(round(left or 0), 60)
        time_left = "" if left is None else f", about {minutes} min {seconds:02} s left"
        per_s = f"{rate:,.1f}" if rate >= 1 else f"{rate:.2g}"
        told = f"{self._description}: {self._done:,.0f}{whole} {unit}, {per_s} a second{time_left}"
        _log.info("%s", told, extra={"fields": fields})


class _Interruption:
    """What is said of an interrupt: of a process, for a signal knows nothing else."""

    told = "interrupted"


def resumable() -> None:
    """Say from now on, where this process is interrupted, that the same command goes on where it was."""
    _Interruption.told = "interrupted; what was finished is kept: run the same command again"


def exit_on_error(door: Callable[[], object], *, debug: bool = False) -> None:
    """Run a command line; an `MmsearchError` ends the process with its message and exit code instead of a traceback.

    So does what the operating system refuses (no right to write, no room on the disk), with the code of a `DataError`.
    Ctrl-C ends it with one line and status 130; SIGTERM with that line, and as if nobody had heard the signal. A
    command that hears signals itself goes before.
    """
    _Interruption.told = "interrupted"
    with _told_of_termination():
        try:
            door()
        except KeyboardInterrupt:
            _end_interrupted()
        except SystemExit as error:
            if error.code == _INTERRUPTED:  # typer made it of a Ctrl-C
                _end_interrupted()
            raise
        except (MmsearchError, OSError) as error:
            if debug:
                raise
            console.print("[bold red]error[/]", end=" ")
            console.print(_told(error), markup=False, highlight=False, soft_wrap=True)
            sys.exit(error.exit_code if isinstance(error, MmsearchError) else DataError.exit_code)


def _end_interrupted() -> NoReturn:
    if rank() == 0:
        console.print(_Interruption.told, markup=False, highlight=False, soft_wrap=True)
    sys.exit(_INTERRUPTED)


@contextmanager
def _told_of_termination() -> Iterator[None]:
    """Say one line when SIGTERM ends the process while the block runs, and let it end as it would have.

    Not under a launcher: its ranks may wait for each other in a call that Python does not come back from, and SIGTERM
    must end them there.
    """
    usual = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if not usual or "RANK" in os.environ or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is _terminate:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _terminate(number: int, _: FrameType | None) -> None:
    shown = "\n\x1b[?25h" if console.is_terminal else ""  # below the bar, with the cursor that it hid
    with suppress(OSError):
        os.write(2, f"{shown}{_Interruption.told}\n".encode())  # a console may be half-way through a line
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _forget_termination() -> None:
    """Let SIGTERM end a forked child at once and without a word, also in a call that does not come back to Python."""
    if signal.getsignal(signal.SIGTERM) is _terminate:
        with suppress(ValueError):  # forked by another thread than the main one
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


os.register_at_fork(after_in_child=_forget_termination)


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)
