"""mmsearch index: look into a forward index, check it, compare generations, export one, build faiss indexes from it."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mmsearch.index import ForwardIndex
    from mmsearch.index.recall.settings import AnnSettings
    from mmsearch.protocols import Float32

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")

IndexDir = Annotated[Path, typer.Argument(metavar="INDEX", help="Folder of the forward index.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Generation = Annotated[
    str | None,
    typer.Option(help="A generation, by name or number [default: the one that is served].", show_default=False),
]

_INSPECT = """**Examples**

`mmsearch index inspect index`

`mmsearch index inspect index --generation 7 --json`
"""
_VERIFY = """**Examples**

`mmsearch index verify index`

`mmsearch index verify index --all`
"""
_DIFF = """**Examples**

`mmsearch index diff index`

`mmsearch index diff index 6 7 --json`
"""
_EXPORT = """**Examples**

`mmsearch index export index --out vectors.parquet`

`mmsearch index export index --out vectors --format npy --spaces content,cover --dtype float16`
"""
_ANN = """**Examples**

`mmsearch index ann index`

`mmsearch index ann index structure.type=ivf_pq structure.num_probes=64 spaces=[content] queries=queries.txt`
"""


class Format(StrEnum):
    """What is written."""

    PARQUET = "parquet"
    NPY = "npy"


class Number(StrEnum):
    """How numbers are written."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"


@app.callback()
def group() -> None:
    """Look into a forward index, check it, compare generations, export vectors, build faiss indexes."""


@app.command(epilog=_INSPECT)
def inspect(index: IndexDir, generation: Generation = None, as_json: Json = False) -> None:
    """Show the generations of an index, and what one of them holds: layers, spaces, sizes, source.

    A reader *holds* a generation while it has it open; what is held is not removed.
    """
    from mmsearch.cli.index_print import inspection_tables, show, to_plain
    from mmsearch.index.generations import list_generations
    from mmsearch.index.tools.inspection import inspect as describe

    generations = list_generations(index)
    found = describe(index, _named(index, generation))
    if as_json:
        typer.echo(json.dumps({"generations": to_plain(generations)} | to_plain(found), ensure_ascii=False))
        return
    show(inspection_tables(generations, found))


@app.command(epilog=_VERIFY)
def verify(
    index: IndexDir,
    generation: Generation = None,
    every: Annotated[bool, typer.Option("--all", help="Every generation, not only the one that is served.")] = False,
    as_json: Json = False,
) -> None:
    """Read every file of a generation (and of its base) and compare its checksum; ends with 4 when one is damaged.

    Shows each damaged file, and how many vectors cannot be used for it. Serving goes on meanwhile; a damaged vector
    counts as missing there, a damaged query tower is refused.
    """
    from mmsearch.cli.index_print import show, to_plain, verification_tables
    from mmsearch.errors import CorruptIndexError
    from mmsearch.index.layout import read_current
    from mmsearch.index.sweep import names_of
    from mmsearch.index.tools.verification import verify_generation

    current = read_current(index)
    names = names_of(index) if every else [_named(index, generation) or current]
    found = {done.generation: done for name in names for done in verify_generation(index, name)}
    if as_json:
        typer.echo(json.dumps(to_plain(list(found.values())), ensure_ascii=False))
    else:
        show(verification_tables(list(found.values())))
    damaged = [damage.file for done in found.values() for damage in done.damaged]
    if damaged:
        raise CorruptIndexError(
            f"{index}: {len(damaged)} damaged files; publish again, or serve another generation: "
            "python -m serving publish --index INDEX --generation NUMBER"
        )


@app.command(epilog=_DIFF)
def diff(
    index: IndexDir,
    before: Annotated[str | None, typer.Argument(help="Name or number [default: the one before].")] = None,
    after: Annotated[str | None, typer.Argument(help="Name or number [default: the one that is served].")] = None,
    ids: Annotated[int, typer.Option(min=0, help="Ids of added and removed videos to show, at most.")] = 10,
    as_json: Json = False,
) -> None:
    """Show what changed from one generation to another: videos, their content by modality, and their vectors."""
    from mmsearch.cli.index_print import diff_tables, show, to_plain
    from mmsearch.index import ForwardIndex
    from mmsearch.index.tools.diff import compare

    later = ForwardIndex.open(index, _named(index, after))
    earlier = ForwardIndex.open(index, _named(index, before) or _before(index, later.generation))
    found = compare(earlier, later, num_ids=ids)
    if as_json:
        typer.echo(json.dumps(to_plain(found), ensure_ascii=False))
    else:
        show(diff_tables(found))


@app.command(epilog=_EXPORT)
def export(
    index: IndexDir,
    out: Annotated[Path, typer.Option(help="The Parquet file, or the folder of npy files, to write.")],
    generation: Generation = None,
    output: Annotated[
        Format, typer.Option("--format", help="One Parquet file, or a pair of .npy and .ids.txt for each space.")
    ] = Format.PARQUET,
    spaces: Annotated[str | None, typer.Option(help="Names of spaces, separated by commas [default: all].")] = None,
    dtype: Annotated[Number, typer.Option(help="How the numbers are written.")] = Number.FLOAT32,
) -> None:
    """Write ids and vectors for other programs: Milvus, Qdrant, pgvector, Vespa, faiss, numpy.

    A video without a vector in a space is null there (Parquet), or not in the files of that space (npy).
    """
    from mmsearch.index import ForwardIndex
    from mmsearch.index.tools.export import export_npy, export_parquet

    write = export_parquet if output is Format.PARQUET else export_npy
    chosen = None if spaces is None else [name for name in spaces.split(",") if name]
    opened = ForwardIndex.open(index, _named(index, generation))
    done = write(opened, out, spaces=chosen, dtype=dtype.value)
    for space, num in done.num_vectors.items():
        damaged = f", {done.num_damaged[space]:,} damaged ones left out" if done.num_damaged[space] else ""
        typer.echo(f"{out}\t{space}\t{num:,} of {done.num_docs:,} videos{damaged}")


@app.command(epilog=_ANN)
def ann(
    index: IndexDir,
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONFIG] [KEY=VALUE]...", help="A YAML file of AnnSettings, then overrides."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Build faiss indexes of the served generation for `mmsearch search --ann`, and measure their recall.

    They lie in INDEX/ann beside the generation. Under an overlay, its base is built: the overlay is always searched
    exactly.
    """
    from mmsearch.cli.index_print import ann_table, show, to_plain
    from mmsearch.config import load_arguments
    from mmsearch.index import ForwardIndex
    from mmsearch.index.recall.build import build_ann
    from mmsearch.index.recall.settings import AnnSettings

    wanted = load_arguments(AnnSettings, settings or [])
    opened = ForwardIndex.open(index)
    built = build_ann(index, wanted, _query_vectors(opened, wanted), opened.generation)
    if as_json:
        typer.echo(json.dumps(to_plain(built), ensure_ascii=False))
    else:
        show([ann_table(built)])


def _named(index: Path, told: str | None) -> str | None:
    from mmsearch.index.tools.inspection import find_generation

    return None if told is None else find_generation(index, told)


def _before(index: Path, name: str) -> str:
    """Give the generation before one."""
    from mmsearch.errors import DataError
    from mmsearch.index.sweep import names_of

    names = names_of(index)
    at = names.index(name)
    if not at:
        raise DataError(f"{index}: {name} is the first generation that is there; name two to compare")
    return names[at - 1]


def _query_vectors(index: ForwardIndex, settings: AnnSettings) -> Mapping[str, Float32] | None:
    """Encode the queries that recall is measured with, by the query tower of what is built."""
    from mmsearch.cli.score import read_ids
    from mmsearch.scoring.query_encoder import OnnxQueryEncoder

    if settings.queries is None:
        return None
    queries = read_ids(settings.queries)[: settings.num_queries]
    return OnnxQueryEncoder.open(index.versions[0].query_tower).encode(queries)
