"""Logging and progress bars. Libraries get a logger by name; only the doors (command lines) call `set_up`."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

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
def progress(description: str, total: int | None, *, unit: str = "it") -> Iterator[ProgressBar]:
    """Show a progress bar with rate and time left on a terminal; do nothing elsewhere or on rank > 0.

    Use: `with progress("prepare", 500, unit="videos") as bar: bar.advance(); bar.note("loss 0.31")`.
    """
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
        disable=not console.is_terminal or rank() > 0,
    )
    with bar:
        yield ProgressBar(bar, bar.add_task(description, total=total, unit=unit, note=""))


class ProgressBar:
    """The bar that `progress` gives."""

    def __init__(self, bar: Progress, task: Any) -> None:
        self._bar, self._task = bar, task

    def advance(self, count: float = 1) -> None:
        """Move on by `count` items."""
        self._bar.advance(self._task, count)

    def note(self, text: str) -> None:
        """Show a short text at the right end of the bar."""
        self._bar.update(self._task, note=text)


def exit_on_error(door: Callable[[], object], *, debug: bool = False) -> None:
    """Run a command line; an `MmsearchError` ends the process with its message and exit code instead of a traceback.

    So does what the operating system refuses (no right to write, no room on the disk), with the code of a `DataError`.
    """
    try:
        door()
    except (MmsearchError, OSError) as error:
        if debug:
            raise
        console.print("[bold red]error[/]", end=" ")
        console.print(_told(error), markup=False, highlight=False, soft_wrap=True)
        sys.exit(error.exit_code if isinstance(error, MmsearchError) else DataError.exit_code)


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)
