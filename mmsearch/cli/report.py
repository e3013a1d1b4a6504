"""mmsearch report: one page about a model, to read, send and print."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated

import typer

_log = logging.getLogger(__name__)

EXAMPLES = """
**Examples**

`mmsearch report runs/match --index index --judgments judgments_test.jsonl --out report.html`

The run alone, without judgments: training curves, teacher and student, lineage:

`mmsearch report runs/match --out report.html`

Wins and losses of other features, and all numbers as JSON:

`mmsearch report runs/match --index index --judgments test.jsonl --out a.html --json baseline=cover challenger=frames`

This model against another one on the same videos, whose features are called `old:content` …:

`mmsearch report runs/new --index new --judgments test.jsonl --against runs/old/index against_label=old --out a.html`
"""


def run(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Folder that `python -m training fit` wrote.")],
    out: Annotated[Path, typer.Option(help="The page: one HTML file.")],
    index: Annotated[Path | None, typer.Option(help="Forward index of the run's model.")] = None,
    judgments: Annotated[Path | None, typer.Option(help="Table of human grades.")] = None,
    corpus: Annotated[
        Path | None, typer.Option(help="Prepared corpus, for pictures and modalities [default: the run's].")
    ] = None,
    videos: Annotated[
        Path | None, typer.Option(help="Videos table, read where there is no corpus [default: the run's].")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all numbers as one JSON object.")] = False,
    against: Annotated[Path | None, typer.Option(help="Forward index of another model, to compare with.")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONFIG] [KEY=VALUE]...", help="A YAML file of ReportSettings, then overrides."),
    ] = None,
) -> None:
    """Write one page on how well a model ranks, why, and where the numbers come from.

    The page is one file without scripts that loads nothing: send it, print it, read it on a phone. What each modality
    does for the model is shown when `python -m training diagnose` was run before.
    """
    from mmsearch.config import load_arguments
    from mmsearch.errors import ConfigError
    from mmsearch.files import write_bytes
    from mmsearch.report import ReportSettings, Sources, gather, render
    from mmsearch.report import as_json as numbers

    if (index is None) != (judgments is None):
        raise ConfigError("give both --index and --judgments, or neither")
    if against is not None and index is None:
        raise ConfigError("--against compares with --index: give --index and --judgments too")
    sources = Sources(run_dir, index, judgments, corpus, videos, against)
    facts = gather(sources, load_arguments(ReportSettings, settings or []))
    for check in facts.lineage.checks:
        if check.holds is False:
            _log.warning("not so: %s; check the folders, or the page tells of two models", check.what)
    page = render(facts).encode("utf-8")
    write_bytes(out, page)
    if as_json:
        typer.echo(json.dumps(numbers(facts), ensure_ascii=False))
    else:
        typer.echo(f"{out}\t{len(page):,} bytes")
