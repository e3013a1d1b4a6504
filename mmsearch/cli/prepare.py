"""mmsearch prepare: decode the pictures and videos of a table once, for training and refresh."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = """
**Examples**

`mmsearch prepare videos.jsonl --out runs/corpus`

`mmsearch prepare videos.csv --out runs/corpus configs/prepare/default.yaml num_frames=12 on_bad_media=drop_modality`

`mmsearch prepare videos.jsonl --out runs/corpus ocr.reader=rapidocr speech.model=DIR sentences.max_chars=200`

`mmsearch prepare runs/demo/world/videos.jsonl --out runs/demo/corpus configs/prepare/demo.yaml`
"""


def run(
    videos: Annotated[Path, typer.Argument(metavar="VIDEOS", help="The videos table: CSV, JSONL or Parquet.")],
    out: Annotated[Path, typer.Option(help="Folder of the prepared corpus; an interrupted run goes on in it.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONFIG] [KEY=VALUE]...", help="A YAML file of PrepareSettings, then overrides."),
    ] = None,
) -> None:
    """Decode covers and evenly spaced frames once, resize them, and store them with the texts as a prepared corpus.

    What cannot be used is listed with a reason in rejected.jsonl, and the exit code is then 5, as where a language
    model did not answer for the key sentences of a video. The same command finishes a killed run, and redoes only the
    rows that changed in the table, the files or the settings. Where files of most videos are gone that were there
    before (a folder that is not mounted), the corpus stays as it was.
    """
    from mmsearch.config import load_arguments
    from mmsearch.data.prepare import REJECTED, REJECTED_ROWS, prepare
    from mmsearch.data.prepare_settings import PrepareSettings
    from mmsearch.errors import PartialResultError
    from mmsearch.logs import resumable

    resumable()
    summary = prepare(videos, out, load_arguments(PrepareSettings, settings or []))
    typer.echo(f"videos\t{summary.num_videos}")
    typer.echo(f"reused rows\t{summary.num_reused}")
    for modality, count in summary.modalities.items():
        typer.echo(f"{modality}\t{count}")
    for method, count in summary.key_sentences.items():
        typer.echo(f"key sentences: {method}\t{count}")
    num_chosen = sum(summary.key_sentences.values())
    for reason, count in summary.fallbacks.items():
        typer.echo(f"fell back to greedy: {reason}\t{count} of {num_chosen}")
    for reason, count in summary.rejected.items():
        typer.echo(f"rejected: {reason}\t{count}")
    problems = []
    if summary.rejected:
        reasons = ", ".join(f"{reason} {count}" for reason, count in summary.rejected.items())
        problems.append(f"{sum(summary.rejected.values())} rejections ({reasons}) are listed in {out / REJECTED}")
    if summary.num_failed:
        problems.append(
            f"retry_failed=true tries {summary.num_failed} of them again, which a worker did not get through"
        )
    if summary.num_bad_rows:
        problems.append(f"{summary.num_bad_rows} bad rows of the table are listed in {out / REJECTED_ROWS}")
    if summary.num_unanswered:
        problems.append(
            f"{summary.num_unanswered} of {num_chosen} videos got greedy key sentences: the model did not answer or "
            "refused; the same command asks for these again"
        )
    if problems:
        raise PartialResultError(f"{summary.num_videos} videos are prepared; {'; '.join(problems)}")
