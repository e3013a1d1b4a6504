"""The door of the `mmsearch` command: verbs, logging, and errors without tracebacks."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import mmsearch
from mmsearch import logs
from mmsearch.cli import demo, evaluate, index, prepare, rank, report, score, search, sentences

app = typer.Typer(
    name="mmsearch",
    help="Multimodal video search ranking: from raw videos to rank features, measured on human grades.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
for module in (demo, prepare, evaluate, report, score, search):
    app.command(epilog=module.EXAMPLES)(module.run)  # named below: the verb is the module's name
    app.registered_commands[-1].name = module.__name__.rpartition(".")[2]

app.add_typer(index.app, name="index")
app.add_typer(rank.app, name="rank")
app.add_typer(sentences.app, name="sentences")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(mmsearch.__version__)
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug messages.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Set up logging for every verb."""
    logs.set_up(verbose=debug)


def main() -> None:
    """Run the command line; an error of ours ends it with one message and its own exit code."""
    logs.exit_on_error(app, debug="--debug" in sys.argv)
