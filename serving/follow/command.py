"""The verb `follow`: keep an index as fresh as a stream of changed videos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

FOLLOW_EXAMPLES = """**Examples**

`python -m serving follow --model runs/match --index index --source changes/`

`python -m serving follow --model runs/match --index index --source 'redis://HOST:6379/0?stream=videos'`

`python -m serving follow follow.yaml compact_above=0.05 num_workers=4`
"""


def follow(
    model: Annotated[Path | None, typer.Option(help="Folder of the model that the index was refreshed with.")] = None,
    index: Annotated[Path | None, typer.Option(help="Folder of the forward index.")] = None,
    source: Annotated[
        str | None,
        typer.Option(help="What is followed: a folder of .jsonl files, or redis://HOST:PORT/DB?stream=NAME."),
    ] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="Prepared corpus of the index, where the index does not tell how to prepare.")
    ] = None,
    table_settings: Annotated[
        Path | None, typer.Option("--table-settings", help="A YAML file of PrepareSettings to prepare rows with.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CONFIG] [KEY=VALUE]...",
            help="A YAML file of FollowSettings, then overrides; it may name model, index and source as well.",
        ),
    ] = None,
) -> None:
    """Bring changed videos into a served index within seconds, and deletes at once, until SIGTERM.

    Each line of the stream is a row of the videos table, or {"op": "delete", "doc_id": …}. What changed is published as
    a small overlay on the served base; readers see it when they open the index anew. A kill loses nothing. Prints the
    name of the generation that is served at the end.
    """
    from mmsearch.config import load_arguments
    from serving.follow.run import follow as run
    from serving.follow.settings import FollowSettings

    chosen = load_arguments(FollowSettings, settings or [])
    options = {"model": model, "index": index, "source": source, "corpus": corpus, "table_settings": table_settings}
    given = {name: value for name, value in options.items() if value is not None}
    typer.echo(run(chosen.model_copy(update=given)))
