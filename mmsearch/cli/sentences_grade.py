"""mmsearch sentences grade: people's grades of key sentences, and what stands in for them."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mmsearch.errors import ConfigError, PartialResultError

if TYPE_CHECKING:
    from mmsearch.cli.sentences_read import SpokenTable
    from mmsearch.sentences import SentenceSettings
    from mmsearch.sentences.grading import GradeFile, GradingServer, Plan, Sheet

EXAMPLES = """
**Examples**

Is the greedy choice better than the beginning of the transcript? Grade on a local page; Ctrl-C prints the summary:

`mmsearch sentences grade videos.jsonl`

A language model against greedy:

`mmsearch sentences grade videos.jsonl --out llm method=select model.base_url=http://127.0.0.1:8000/v1 model.model=qwen`

Two settings files; no server, but a page to send to somebody (the same command prints the summary later):

`mmsearch sentences grade videos.jsonl new.yaml --rival old.yaml --out new-old --no-serve`
"""

#: Where the page is served unless it is taken: an open page finds a server that was started again.
DEFAULT_PORT = 8477
_log = logging.getLogger(__name__)


class Balanced(StrEnum):
    """How many videos of each language."""

    PROPORTIONAL = "proportional"
    EQUAL = "equal"


def grade(
    videos: Annotated[Path, typer.Argument(metavar="VIDEOS", help="The videos table, or the folder of a sheet.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CONFIG] [KEY=VALUE]...", help="The method: a YAML file of SentenceSettings, then overrides."
        ),
    ] = None,
    rival: Annotated[
        str | None,
        typer.Option(help="Other method: greedy, cut, or a YAML file [default: greedy; cut if the method is greedy]."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the sheet and its grades [default: VIDEOS.grading beside the table].")
    ] = None,
    num_videos: Annotated[int, typer.Option(min=1, max=10_000, help="Videos to draw.")] = 50,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws and of the statistics.")] = 0,
    balance: Annotated[
        Balanced, typer.Option(help="Languages: as they occur, or alike (Chinese and other).")
    ] = Balanced.PROPORTIONAL,
    serve: Annotated[bool, typer.Option(help="Serve the page on this machine until it is finished or Ctrl-C.")] = True,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 = a free one.")] = DEFAULT_PORT,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
) -> None:
    """Grade the key sentences of two methods, not knowing which is which, and print a summary.

    Videos with a title, and more transcript than the budget, are drawn by their ids; the folder gets `sheet.json`,
    `page.html` and, grade by grade, `grades.jsonl`. The same command goes on where grading ended. The summary has the
    share of the best grade by method, and an automatic proxy beside it: coverage of words of the title that the method
    was not shown, redundancy, fluency; for `cut`, the beginning of the transcript, too. The exit code is 5 where
    transcripts could not be read when the sheet was made; the log names them.
    """
    from mmsearch.cli.sentences_read import SpokenTable
    from mmsearch.cli.sentences_summary import summarise
    from mmsearch.config import load_arguments
    from mmsearch.files import sole_writer, write_bytes
    from mmsearch.sentences import SentenceSettings
    from mmsearch.sentences.grading import GradeFile, Plan, contenders, load_sheet, render

    table = SpokenTable(videos)
    is_sheet = (videos / "sheet.json").is_file()
    if is_sheet and (settings or rival or out):
        raise ConfigError(f"{videos}: this sheet is made; give the videos table, or no settings, --rival and --out")
    folder = videos if is_sheet else out or videos.with_name(f"{videos.name}.grading")
    plan = None
    if not is_sheet:
        pair = contenders(load_arguments(SentenceSettings, settings or []), _rival(rival))
        plan = Plan(*pair, num_videos, seed, balance.value)
        _check_table(videos)
    with sole_writer(folder):
        sheet = load_sheet(folder / "sheet.json") if plan is None else _sheet(table, plan, folder)
        write_bytes(folder / "page.html", render(sheet).encode())
        grades = GradeFile(folder / "grades.jsonl", sheet)
        if serve:
            _serve(folder, grades, port)
        else:
            _log.info("the page is %s; put the grades that it gives beside it", folder / "page.html")
    _print(summarise(sheet, grades.grades, seed=seed), as_json=as_json)
    if table.problem:
        raise PartialResultError(table.problem)


def _print(summary: dict[str, Any], *, as_json: bool) -> None:
    from mmsearch.cli.sentences_print import print_summary

    if as_json:
        typer.echo(json.dumps(summary, ensure_ascii=False))
    else:
        print_summary(summary)


def _rival(given: str | None) -> SentenceSettings | Literal["greedy", "cut"] | None:
    from mmsearch.config import load_settings
    from mmsearch.sentences import SentenceSettings

    match given:
        case None | "greedy" | "cut":
            return given
        case _:
            return load_settings(SentenceSettings, Path(given))


def _check_table(path: Path) -> None:
    """Let the reader of tables say what is wrong, before a folder is made."""
    from mmsearch.cli.sentences_read import SpokenTable

    if not path.is_file():
        next(iter(SpokenTable(path)), None)


def _sheet(videos: SpokenTable, plan: Plan, folder: Path) -> Sheet:
    """Load the folder's sheet, or make it."""
    from mmsearch.files import hash_file
    from mmsearch.sentences.grading import build_sheet, load_sheet, save_sheet

    path = folder / "sheet.json"
    made_from = json.loads(json.dumps({"videos": hash_file(videos.path)} | plan.record()))
    if path.exists():
        sheet = load_sheet(path)
        _check_same(path, made_from, sheet.made_from)
        _log.info("going on with the sheet in %s", folder)
    else:
        sheet = build_sheet(videos, plan, made_from)
        save_sheet(sheet, path)
    return sheet


def _check_same(path: Path, wanted: dict[str, Any], found: Any) -> None:
    changed = [name for name, value in wanted.items() if found.get(name) != value]
    if changed:
        raise ConfigError(
            f"{path}: this sheet was made with other {', '.join(changed)}; choose another folder by --out, "
            "or remove this one with its grades"
        )


def _serve(folder: Path, grades: GradeFile, port: int) -> None:
    page = (folder / "page.html").read_text(encoding="utf-8")
    with _listening(page, grades, _key(folder / "key"), port) as server:
        _log.info("grade at %s (keys: 0 1 2 and arrows); Ctrl-C ends it, grades are saved one by one", server.url)
        server.serve()


def _listening(page: str, grades: GradeFile, key: str, port: int) -> GradingServer:
    from mmsearch.sentences.grading import GradingServer

    with contextlib.suppress(OSError):
        return GradingServer(page, grades, key, port)
    _log.warning("port %d is taken, another one serves", port)
    return GradingServer(page, grades, key)


def _key(path: Path) -> str:
    """Give the key of the folder's page, which other users of this machine must not read."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        kept = path.read_text(encoding="ascii").strip()
        if len(kept) >= 16 and kept.isalnum():
            return kept
    key = secrets.token_hex(16)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        os.fchmod(descriptor, 0o600)
        file.write(key)
    return key
