"""mmsearch score: rank features of a query and its candidates."""

from __future__ import annotations

import logging
import sys
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmsearch.cli.mixed import OnMixed, OnMixedOption

if TYPE_CHECKING:
    from mmsearch.scoring import RankFeatures

EXAMPLES = """**Examples**

`mmsearch score --index index --query "red panda" --docs candidates.txt`

`cut -f1 recalled.tsv | mmsearch score --index index --query "大熊猫" --docs - --format json`

`echo v00017 | mmsearch score --index index --query "red panda" --docs - --explain`
"""

_MAX_LINE_BYTES = 1 << 16
_ESCAPES = str.maketrans({"\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\"})
log = logging.getLogger(__name__)


class Format(StrEnum):
    """How features are printed."""

    TSV = "tsv"
    JSON = "json"


def run(
    index: Annotated[Path, typer.Option(help="Folder of the forward index.")],
    query: Annotated[str, typer.Option(help="What the searcher typed.")],
    docs: Annotated[Path, typer.Option(help="File of candidate ids, one a line; `-` reads them from stdin.")],
    output: Annotated[
        Format, typer.Option("--format", help="Tab-separated with a header, or one JSON object.")
    ] = Format.TSV,
    as_json: Annotated[bool, typer.Option("--json", help="Short for `--format json`.")] = False,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="One JSON object a candidate instead: scores of its codes, or why a score is missing."
        ),
    ] = False,
    on_mixed: OnMixedOption = OnMixed.MATCH,
) -> None:
    """Print the rank features of every candidate of a query: a score for each space, and what is derived from them.

    Candidates keep their order. A feature is empty (JSON: null) where it is missing: the video is not in the index or
    lacks the modality, or the query is blank. Derived are, where their parts exist: `SPACE.poly` (softmax-weighted over
    several codes), `max_modality` (the best single modality) and `spread` (perception minus content: clickbait).
    """
    from mmsearch.scoring import FeatureScorer

    doc_ids = read_ids(docs)
    scorer = FeatureScorer.open(index, on_mixed=on_mixed.value)
    if explain:
        for doc_id in doc_ids:
            typer.echo(_dumped(scorer.explain(query, doc_id).to_dict()))
        return
    features = scorer.score(query, doc_ids)
    unknown = int(features.missing.all(axis=1).sum())
    if unknown:
        absent = int((scorer.index.rows(doc_ids) < 0).sum())
        why = f"{absent} are not in the index" if query.strip() else "the query is blank"
        log.warning("%d of %d candidates have no feature at all: %s", unknown, len(doc_ids), why)
    if as_json or output is Format.JSON:
        typer.echo(to_json(query, scorer.index.generation, features))
    else:
        typer.echo("\n".join(to_tsv(features)))


def read_ids(path: Path) -> list[str]:
    """Read ids, one a line; blank lines are left out.

    Raises:
        DataError: the file cannot be read, is not UTF-8, or has a line of more than 64 KiB.
    """
    from mmsearch.errors import DataError

    ids = []
    try:
        with nullcontext(sys.stdin.buffer) if str(path) == "-" else path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE_BYTES + 1), b""), 1):
                if len(line) > _MAX_LINE_BYTES:
                    raise DataError(f"{path}:{number}: longer than {_MAX_LINE_BYTES} bytes; give one id a line")
                ids.append(line.rstrip(b"\r\n").decode("utf-8-sig" if number == 1 else "utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}:{number}: not UTF-8; save the file as UTF-8") from error
    return [doc_id for doc_id in ids if doc_id]


def to_tsv(features: RankFeatures) -> list[str]:
    """Give lines of tab-separated values; tabs, line ends and backslashes within an id are escaped as `\\t` …"""
    lines = ["\t".join(("doc_id", *features.names))]
    for doc_id, row in features.to_rows():
        cells = ("" if value is None else f"{value:.6f}" for value in row.values())
        lines.append("\t".join((escaped(doc_id), *cells)))
    return lines


def escaped(doc_id: str) -> str:
    """Give an id as it can stand in a line of tab-separated values."""
    return doc_id.translate(_ESCAPES)


def to_json(query: str, generation: str, features: RankFeatures) -> str:
    """Give one JSON object: the query, the generation that answered, and each candidate with its features."""
    docs = [{"doc_id": doc_id, "features": row} for doc_id, row in features.to_rows()]
    return _dumped({"query": query, "generation": generation, "docs": docs})


def _dumped(tree: dict[str, Any]) -> str:
    import json

    # a shell may pass bytes that are no text
    return json.dumps(tree, ensure_ascii=False).encode("utf-8", "replace").decode()
