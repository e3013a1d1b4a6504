"""The verbs `publish` and `gc`: go back to a generation, and remove those that nobody needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

PUBLISH_EXAMPLES = """**Examples**

`python -m serving publish --index index --generation g000041-0123456789abcdef`

`python -m serving publish --index index --generation 41`
"""

GC_EXAMPLES = """**Examples**

`python -m serving gc --index index --keep 3`
"""


def publish(
    index: Annotated[Path, typer.Option(help="Folder of the forward index.")],
    generation: Annotated[str, typer.Option(help="Name of a generation, or its number.")],
) -> None:
    """Serve a generation that was published before: a rollback, or the way back from one.

    It is read whole and compared with its checksums first (about a second a gigabyte). Readers see it when they open
    the index anew. Prints the name of the generation that is served then.
    """
    from mmsearch.errors import DataError
    from mmsearch.index.generations import list_generations, serve
    from serving.patience import patiently

    names = {info.name: info for info in list_generations(index)}
    found = [name for name, info in names.items() if generation in (name, str(info.number))]
    if not found:
        known = ", ".join(names) or "none"
        raise DataError(f"{index}: there is no generation {generation}; there are: {known}")
    patiently(lambda: serve(index, found[0]))
    typer.echo(found[0])


def gc(
    index: Annotated[Path, typer.Option(help="Folder of the forward index.")],
    keep: Annotated[int, typer.Option(min=1, help="How many of the newest generations stay.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Remove old generations and what killed writers left; print the names of those removed.

    What is served, its parent, the newest, and whatever a reader has open stays. A refresh does the same by itself
    (`keep_generations`): this is for a disk that is full.
    """
    from mmsearch.index.generations import collect, list_generations
    from serving.patience import patiently

    before = {info.name: info.bytes for info in list_generations(index)}
    removed = patiently(lambda: collect(index, keep))
    if as_json:
        freed = sum(before.get(name, 0) for name in removed)
        typer.echo(json.dumps({"removed": removed, "bytes": freed, "kept": [n for n in before if n not in removed]}))
        return
    for name in removed:
        typer.echo(name)
