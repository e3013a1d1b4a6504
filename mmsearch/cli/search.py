"""mmsearch search: recall by one space, with the features of what was found."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmsearch.cli.mixed import OnMixed, OnMixedOption

if TYPE_CHECKING:
    from rich.table import Table

    from mmsearch.index.recall.search import SpaceSearch
    from mmsearch.scoring import FeatureScorer, RankFeatures

EXAMPLES = """**Examples**

`mmsearch search --index index "red panda"`

`mmsearch search --index index "大熊猫" --space cover -k 20 --videos videos.jsonl`

`mmsearch search --index index "red panda" --ann hnsw`
"""

_MAX_TITLE = 60
#: Letters of an id that stand in one line of a table; longer ones go on in the next.
_MAX_ID = 32
#: A pipe has no width, and no column may be cut to one.
_PIPE_WIDTH = 10_000


class Format(StrEnum):
    """How what was found is printed."""

    TABLE = "table"
    JSON = "json"


class Ann(StrEnum):
    """A faiss index that `mmsearch index ann` built."""

    HNSW = "hnsw"
    IVF_PQ = "ivf_pq"
    FLAT = "flat"


def run(
    query: Annotated[str, typer.Argument(help="What the searcher typed.")],
    index: Annotated[Path, typer.Option(help="Folder of the forward index.")],
    space: Annotated[
        str | None,
        typer.Option(help="Space to search in [default: content, or else the last one].", show_default=False),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, max=10_000, help="How many videos.")] = 10,
    videos: Annotated[Path | None, typer.Option(help="Videos table, to show titles.")] = None,
    every: Annotated[
        bool, typer.Option("--all-features", help="Show the single-modality features (content.title …) as well.")
    ] = False,
    output: Annotated[Format, typer.Option("--format", help="A table to look at, or one JSON object.")] = Format.TABLE,
    ann: Annotated[
        Ann | None, typer.Option(help="Search the faiss index that `mmsearch index ann` built, not all vectors.")
    ] = None,
    on_mixed: OnMixedOption = OnMixed.MATCH,
) -> None:
    """Find the videos nearest to a query in one space, and show their features in all spaces.

    The search is exact unless `--ann` is given (needs the extra `faiss`). A feature is empty where the video lacks the
    modality; a blank query finds nothing.
    """
    from mmsearch.cli.score import to_json
    from mmsearch.index.recall.approximate import ApproximateSearch
    from mmsearch.index.recall.search import ExactSearch
    from mmsearch.scoring import FeatureScorer

    scorer = FeatureScorer.open(index, on_mixed=on_mixed.value)
    if ann is None:
        search: SpaceSearch = ExactSearch(scorer.index)
    else:
        search = ApproximateSearch(scorer.index, index, ann.value)
    features = recall(scorer, search, query, space, k)
    if output is Format.JSON:
        typer.echo(to_json(query, scorer.index.generation, features))
        return
    from rich.console import Console

    titles = None if videos is None else read_titles(videos, set(features.doc_ids))
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PIPE_WIDTH)
    table = to_table(features, titles, every=every)
    if console.measure(table, options=console.options.update(max_width=_PIPE_WIDTH)).minimum > console.width:
        table = to_long_table(features, titles, every=every)
    console.print(table)


def recall(scorer: FeatureScorer, search: SpaceSearch, query: str, space: str | None, k: int) -> RankFeatures:
    """Give the features of the k videos nearest to a query, nearest first.

    Raises:
        DataError: there is no such space.
    """
    from mmsearch.errors import DataError

    chosen = space or ("content" if "content" in scorer.spaces else scorer.spaces[-1])
    if chosen not in scorer.spaces:
        raise DataError(f"there is no space '{chosen}' in the index; there are: {', '.join(scorer.spaces)}")
    found, _ = search.search(chosen, scorer.query_vectors(query, chosen), k)
    return scorer.score(query, found)


def read_titles(path: Path, wanted: set[str]) -> dict[str, str]:
    """Give the titles of some videos of a table, by id."""
    from mmsearch.data.tables import read_videos

    return {video.doc_id: video.title or "" for video in read_videos(path) if video.doc_id in wanted}


def to_table(features: RankFeatures, titles: dict[str, str] | None, *, every: bool = False) -> Table:
    """Lay out features as a table for the terminal; a feature that all of them lack gets no column.

    Ids and titles are shown as they are, never as markup. The single-modality features (`SPACE.MODALITY`) are shown
    when `every` is asked for.
    """
    from rich.cells import cell_len
    from rich.table import Table
    from rich.text import Text

    shown = _shown(features, every)
    table = Table(box=None, header_style="bold")
    table.add_column("#", justify="right", no_wrap=True)
    longest = max((cell_len(_printable(doc_id)) for doc_id in features.doc_ids), default=0)
    table.add_column("doc_id", overflow="fold", min_width=max(8, min(longest, _MAX_ID)))
    if titles is not None:
        table.add_column("title", min_width=20)
    for name in shown:
        table.add_column(Text(name.replace(".", "\n.")), justify="right", no_wrap=True)
    for number, (doc_id, row) in enumerate(features.to_rows(), 1):
        cells: list[Text | str] = [str(number), Text(_printable(doc_id))]
        if titles is not None:
            cells.append(Text(_printable(titles.get(doc_id, ""))[:_MAX_TITLE]))
        cells += ["" if (value := row[name]) is None else f"{value:.3f}" for name in shown]
        table.add_row(*cells)
    return table


def to_long_table(features: RankFeatures, titles: dict[str, str] | None, *, every: bool = False) -> Table:
    """Lay out the same as `to_table` for a narrow window: a line for each feature of each video, nothing cut."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold")
    table.add_column("#", justify="right", no_wrap=True)
    heads = ("doc_id", "feature") if titles is None else ("doc_id, title", "feature")
    for head in heads:
        table.add_column(head, overflow="fold")
    table.add_column("score", justify="right", no_wrap=True)
    shown = _shown(features, every)
    for number, (doc_id, row) in enumerate(features.to_rows(), 1):
        texts = [_printable(doc_id), *([] if titles is None else [_printable(titles.get(doc_id, ""))[:_MAX_TITLE]])]
        rows = [(name, value) for name in shown if (value := row[name]) is not None]
        for at in range(max(len(texts), len(rows))):
            name, value = rows[at] if at < len(rows) else ("", None)
            score = "" if value is None else f"{value:.3f}"
            told = Text(texts[at] if at < len(texts) else "")
            table.add_row(str(number) if at == 0 else "", told, Text(name), score)
    return table


def _shown(features: RankFeatures, every: bool) -> list[str]:
    """Give the features that any of the videos has; of single modalities only when `every` one is asked for."""
    offered = [name for name in features.names if every or "." not in name]
    return [name for name in offered if not features.column(name)[1].all()]


def _printable(text: str) -> str:
    """Keep control characters of untrusted texts from the terminal."""
    return "".join(character if character.isprintable() else " " for character in text)
