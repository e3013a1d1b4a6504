"""The verb `tower`: what is served goes on with its query tower in another precision."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

TOWER_EXAMPLES = """**Examples**

`python -m serving tower --index index --precision int8`

`python -m serving tower --index index --precision fp32 --model runs/match`
"""


def tower(
    index: Annotated[Path, typer.Option(help="Folder of the forward index.")],
    precision: Annotated[Literal["fp32", "int8"], typer.Option(help="Precision of the query tower's weights.")],
    model: Annotated[
        Path | None, typer.Option(help="Folder of the trained model; without it the served tower is quantised.")
    ] = None,
    keep: Annotated[int, typer.Option(min=1, help="How many of the newest generations stay.")] = 2,
) -> None:
    """Export the query tower of a published model again, in another precision; vectors stay as they are, bit by bit.

    `int8` takes a third of the time of `fp32`. Prints the name of the generation that is served then; `serving publish`
    goes back. Structures for approximate search are of a generation: build them again with `mmsearch index ann`.
    """
    from serving.query_tower import publish_tower

    typer.echo(publish_tower(index, precision, model, keep=keep))
