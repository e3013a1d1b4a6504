"""mmsearch demo: make a small world of videos, searchers and judges to try everything on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = """
**Examples**

`mmsearch demo --out runs/demo/world`

`mmsearch demo --out runs/demo/harder videos=960 clickbait=0.4 vague_title=0.5 seed=7`
"""


def run(
    out: Annotated[Path, typer.Option(help="Folder of the world: new, empty, or left by a killed run of the same.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONFIG] [KEY=VALUE]...", help="A YAML file of WorldSettings, then overrides."),
    ] = None,
) -> None:
    """Make the demo world: short films, covers, titles and speech, a click log and graded judgments.

    All of it is simulated, and follows from the settings to the byte. A killed run is finished by the same command.
    """
    from mmsearch.config import load_arguments
    from mmsearch.demo.settings import WorldSettings
    from mmsearch.demo.world import write_world

    card = write_world(load_arguments(WorldSettings, settings or []), out)
    for name, count in card["counts"].items():
        typer.echo(f"{name}\t{count}")
