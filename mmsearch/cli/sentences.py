"""mmsearch sentences: key sentences of what is said in videos."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmsearch.cli import sentences_grade

if TYPE_CHECKING:
    from mmsearch.cli.sentences_read import SpokenTable
    from mmsearch.sentences import DocumentFrequencies, KeySentences, SentenceSettings
    from mmsearch.sentences.tally import Tally

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

    The exit code is 5 where a transcript could not be read, or a model did not answer or refused; the log says which.
    """
    from mmsearch.cli.sentences_read import SpokenTable
    from mmsearch.config import load_arguments
    from mmsearch.sentences import KeySentenceExtractor, SentenceSettings

    wanted, table = load_arguments(SentenceSettings, settings or []), SpokenTable(videos)
    with KeySentenceExtractor(wanted, _frequencies(wanted, table)) as extractor:
        for result in extractor.extract(table):
            typer.echo(to_json(result))
    _check_finished(table, extractor.tally, wanted)


def _frequencies(wanted: SentenceSettings, videos: SpokenTable) -> DocumentFrequencies:
    from mmsearch.sentences import DocumentFrequencies, counted_text

    if wanted.frequencies is not None:
        return DocumentFrequencies.load(wanted.frequencies)
    texts = (counted_text(video.title, video.transcript, wanted.max_transcript_chars) for video in videos)
    return DocumentFrequencies.of(texts, wanted.segmenter)


def _check_finished(videos: SpokenTable, tally: Tally, wanted: SentenceSettings) -> None:
    """Tell what was left undone.

    Raises:
        PartialResultError: transcripts could not be read, or a model did not answer or refused.
    """
    from mmsearch.errors import PartialResultError
    from mmsearch.sentences.tally import listed

    problems = [videos.problem] if videos.problem else []
    if tally.unfinished:
        told = f"{tally.unfinished.total()} of {tally.methods.total()} videos got greedy key sentences"
        others = "" if wanted.cache else ", and for all others too: cache=FILE would keep what was answered"
        problems.append(f"{told} ({listed(tally.unfinished)}); the same command asks for these again{others}")
    if problems:
        raise PartialResultError("; ".join(problems))


def to_json(result: KeySentences) -> str:
    """Give one JSON object."""
    shown = {"doc_id": result.doc_id, "method": result.method, "numbers": result.numbers}
    told = {"fallback": result.fallback} if result.fallback else {}
    line = json.dumps(shown | {"sentences": result.sentences} | told, ensure_ascii=False)
    return line.encode("utf-8", "replace").decode()  # a JSON table may hold halves of characters
