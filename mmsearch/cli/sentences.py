"""mmsearch sentences: key sentences of what is said in videos."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmsearch.cli import sentences_grade

if TYPE_CHECKING:
    from mmsearch.sentences import KeySentences, SpokenVideo

EXAMPLES = """
**Examples**

`mmsearch sentences extract videos.jsonl > key_sentences.jsonl`

`mmsearch sentences extract videos.jsonl method=likelihood model.type=gguf model.path=model.gguf cache=sentences.sqlite`

`mmsearch sentences extract videos.csv method=select model.base_url=http://127.0.0.1:8000/v1 model.model=qwen`
"""

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")


@app.callback()
def group() -> None:
    """Key sentences of what is said in videos."""


app.command(epilog=sentences_grade.EXAMPLES)(sentences_grade.grade)


@app.command(epilog=EXAMPLES)
def extract(
    videos: Annotated[Path, typer.Argument(metavar="VIDEOS", help="The videos table: CSV, JSONL or Parquet.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONFIG] [KEY=VALUE]...", help="A YAML file of SentenceSettings, then overrides."),
    ] = None,
) -> None:
    """Print the key sentences of every video that has a transcript, one JSON object a line.

    Each holds `doc_id`, `method` (what chose; `whole` = everything fits), `numbers` (from 0) and `sentences`, verbatim;
    and `fallback`, why it was not the method that was asked for. Terms are weighed over this table, which is read
    twice, unless `frequencies` names counts of a larger one. With a `cache` an interrupted run goes on where it ended.
    """
    from mmsearch.config import load_arguments
    from mmsearch.sentences import DocumentFrequencies, KeySentenceExtractor, SentenceSettings

    wanted = load_arguments(SentenceSettings, settings or [])
    if wanted.frequencies is not None:
        frequencies = DocumentFrequencies.load(wanted.frequencies)
    else:
        texts = (video.transcript[: wanted.max_transcript_chars] for video in spoken(videos))
        frequencies = DocumentFrequencies.of(texts, wanted.segmenter)
    with KeySentenceExtractor(wanted, frequencies) as extractor:
        for result in extractor.extract(spoken(videos)):
            typer.echo(to_json(result))


def spoken(path: Path) -> Iterator[SpokenVideo]:
    """Give the videos of a table that have a transcript.

    Raises:
        TableError: a row of the table is wrong.
        DataError: a transcript's file cannot be read.
    """
    from mmsearch.data.media import MediaLimits
    from mmsearch.data.tables import read_videos
    from mmsearch.data.transcripts import transcript_text
    from mmsearch.sentences import SpokenVideo

    for video in read_videos(path):
        if video.asr is not None:
            yield SpokenVideo(video.doc_id, video.title, transcript_text(video.asr, MediaLimits()))


def to_json(result: KeySentences) -> str:
    """Give one JSON object."""
    shown = {"doc_id": result.doc_id, "method": result.method, "numbers": result.numbers}
    told = {"fallback": result.fallback} if result.fallback else {}
    line = json.dumps(shown | {"sentences": result.sentences} | told, ensure_ascii=False)
    return line.encode("utf-8", "replace").decode()  # a JSON table may hold halves of characters
