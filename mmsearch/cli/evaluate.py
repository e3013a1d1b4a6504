"""mmsearch evaluate: PNR, NDCG and other measures on human grades."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmsearch.cli.mixed import OnMixed, OnMixedOption
from mmsearch.errors import ConfigError, DataError

if TYPE_CHECKING:
    from mmsearch.metrics.contrasts import Contrast
    from mmsearch.metrics.inputs import Input
    from mmsearch.metrics.join import Duplicates, Grades
    from mmsearch.metrics.report import Measured

EXAMPLES = """
The rank features of an index, on the grades of a table:

`mmsearch evaluate --index index --judgments judgments_test.jsonl`

The same, ranking all videos of the index and not the judged ones alone:

`mmsearch evaluate --index index --judgments judgments_test.jsonl --depth 1000`

A file with grades and scores (JSON Lines, TSV, Parquet, or as the public CBVS files), PNR by pair of grades:

`mmsearch evaluate --scored inference_result.txt --by grade`

Runs of two models on the same judgments, compared, as JSON:

`mmsearch evaluate --qrels test.qrels --run a.run --run b.run --metrics pnr,ndcg_exp@10,mrr --json`

Each run compared with the one in base.run; PNR by two rules for ties:

`mmsearch evaluate --qrels q --run base.run --run b.run --run c.run --compare base --metrics 'pnr,pnr(ties=ignore)'`
"""

MAX_PIPE_WIDTH = 400


class By(StrEnum):
    """What to break results down by."""

    GRADE = "grade"
    GROUP = "group"


class Repeats(StrEnum):
    """What to do with repeated judgments."""

    ALL = "all"
    FIRST = "first"


_Index = Annotated[Path | None, typer.Option(help="Forward index whose rank features are measured.")]
_Judgments = Annotated[Path | None, typer.Option(help="Table of human grades, for --index.")]
_Scored = Annotated[Path | None, typer.Option(help="File with query, doc_id, grade and score.")]
_Qrels = Annotated[Path | None, typer.Option(help="File with query, doc_id and grade, for --run.")]
_Runs = Annotated[list[Path] | None, typer.Option("--run", help="File with query, doc_id and score; may be repeated.")]
_Aspect = Annotated[str, typer.Option(help="Aspect of the judgments; those that name none are of this one by default.")]
_Depth = Annotated[
    int | None,
    typer.Option(min=1, help="Rank the whole index to this depth, for --index; unjudged videos are irrelevant."),
]
_Metrics = Annotated[
    str, typer.Option(help="Measures, commas between: pnr, 'pnr(ties=ignore)', ndcg_exp@10, 'recall(relevant=1)@5', …")
]
_Relevant = Annotated[
    int | None, typer.Option(min=1, help="Least grade that counts as relevant; 2, or 1 on a 0/1 scale.")
]
_By = Annotated[By | None, typer.Option(help="Break down by pair of grades, or by the column 'group'.")]
_Repeats = Annotated[
    Repeats, typer.Option(help="Repeated judgments: all count (as in the public CBVS script), or the first.")
]
_Compare = Annotated[
    str | None,
    typer.Option(
        help="Compare all pairs (so for runs), each with the best (--index, by the first measure), "
        "each with a named one, or none."
    ),
]
_Resamples = Annotated[
    int, typer.Option(min=1, max=1_000_000, help="Bootstrap samples of the queries; ten times as many random swaps.")
]
_Seed = Annotated[int, typer.Option(min=0, help="Seed of the bootstrap and of the swaps.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def run(
    index: _Index = None,
    judgments: _Judgments = None,
    scored: _Scored = None,
    qrels: _Qrels = None,
    runs: _Runs = None,
    aspect: _Aspect = "overall",
    depth: _Depth = None,
    metrics: _Metrics = "pnr,ndcg_exp@10,map,recall@10",
    relevant: _Relevant = None,
    by: _By = None,
    duplicates: _Repeats = Repeats.ALL,
    compare: _Compare = None,
    resamples: _Resamples = 1_000,
    seed: _Seed = 0,
    as_json: _Json = False,
    on_mixed: OnMixedOption = OnMixed.MATCH,
) -> None:
    """Measure rank features, or the scores of any model, on human grades.

    Prints a row for every feature or run: PNR with its 95 % interval (bootstrap over queries), NDCG and other measures;
    then the differences between them, with p-values corrected for their number, and the least difference that so many
    queries can show. Scores that are missing, NaN or infinite rank last, tied among themselves. They are counted, and
    so is all else that is unusual in the input: judged videos that are not in the index, for one.
    """
    from mmsearch.metrics import report
    from mmsearch.metrics.inputs import run_inputs, scored_inputs
    from mmsearch.metrics.measures import check_measures
    from mmsearch.metrics.names import split_names

    measures = split_names(metrics)
    check_measures(measures)
    grouped = by is By.GROUP
    repeats: Duplicates = "first" if duplicates is Repeats.FIRST else "all"
    match (index, judgments, scored, qrels, runs or None):
        case (Path() as folder, Path() as table, None, None, None) if not grouped:
            kind, inputs = "feature", _index_inputs(folder, table, aspect, repeats, depth, on_mixed)
        case (None, None, Path() as file, None, None):
            kind, inputs = "run", scored_inputs(file, duplicates=repeats, grouped=grouped, aspect=aspect)
        case (None, None, None, Path() as file, list() as files):
            kind, inputs = "run", run_inputs(file, files, duplicates=repeats, grouped=grouped, aspect=aspect)
        case _:
            raise ConfigError(
                "give --index and --judgments, or --scored, or --qrels and --run; --by group works with the last two"
            )
    settings = {"relevant": relevant or report.default_relevant(inputs), "resamples": resamples, "seed": seed}
    computed = list(dict.fromkeys([*measures, "pnr"])) if as_json else measures  # readers of the JSON can count on it
    measured = report.measure(inputs, computed, grade_pairs=by is By.GRADE, **settings)
    contrasts = report.compare(measured, kind, compare, measures=len(measures), permutations=10 * resamples, seed=seed)
    if as_json:
        results = report.report_json(measured, kind, contrasts)
        typer.echo(json.dumps(results | settings | {"duplicates": repeats}, ensure_ascii=False))
    else:
        print_report(measured, contrasts, kind, f"relevant: grade {settings['relevant']} or more")


def _index_inputs(
    index: Path, judgments: Path, aspect: str, duplicates: Duplicates, depth: int | None, on_mixed: OnMixed
) -> list[Input]:
    """Score every judged pair with every feature of the index; with a depth, rank the whole index as well."""
    import numpy as np

    from mmsearch import logs
    from mmsearch.index.recall.search import ExactSearch
    from mmsearch.metrics.inputs import check_held, feature_inputs, retrieval_inputs
    from mmsearch.scoring import FeatureScorer

    grades = _grades(judgments, aspect)
    scorer = FeatureScorer.open(index, on_mixed=on_mixed.value, derived=False)

    def holds(doc_ids: Sequence[str]) -> np.ndarray:
        return scorer.index.rows(doc_ids) >= 0

    check_held(grades, holds, judgments, f"the index {index}")
    with logs.progress("score", len(set(grades.queries)), unit="queries") as bar:

        def score(query: str, doc_ids: Sequence[str]) -> dict[str, np.ndarray]:
            bar.advance()
            features = scorer.score(query, doc_ids)
            values = np.where(features.missing, np.nan, features.values)
            return dict(zip(features.names, values.T, strict=True))

        if depth is None:
            return feature_inputs(grades, score, duplicates=duplicates, holds=holds)
        search = partial(ExactSearch(scorer.index).search, k=depth)

        def retrieve(query: str, doc_ids: Sequence[str]) -> dict[str, dict[str, float]]:
            found = {}
            for name, values in score(query, doc_ids).items():
                best = zip(*search(name, scorer.query_vectors(query, name)), strict=True)
                scored = zip(doc_ids, values.tolist(), strict=True)
                found[name] = dict(best) | {doc_id: value for doc_id, value in scored if not math.isnan(value)}
            return found

        return retrieval_inputs(grades, retrieve, duplicates=duplicates, holds=holds)


def _grades(judgments: Path, aspect: str) -> Grades:
    from mmsearch.data.tables import read_judgments
    from mmsearch.metrics.join import Grades

    rows = list(read_judgments(judgments))
    chosen = [row for row in rows if row.aspect == aspect]
    if not chosen:
        found = ", ".join(sorted({row.aspect for row in rows})) or "nothing"
        raise DataError(f"{judgments}: there is no judgment of the aspect '{aspect}'; there is: {found}")
    return Grades([r.query for r in chosen], [r.doc_id for r in chosen], [r.grade for r in chosen], [])


def print_report(measured: Sequence[Measured], contrasts: Sequence[Contrast], kind: str, note: str) -> None:
    """Print tables of measures and comparisons, a note, and what was odd; as wide as the window."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from mmsearch.metrics.report import note_lines, report_tables

    console = Console()
    if not console.is_terminal:  # cut to the width of a pipe, a table would lose its numbers
        console = Console(width=MAX_PIPE_WIDTH)
    for head, rows in report_tables(measured, kind, contrasts, width=console.width):
        table = Table()
        for column, name in enumerate(head):
            # numbers that find no room go on in the next line; nothing is cut
            table.add_column(name, justify="left" if column == 0 else "right", overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        console.print(table)
    typer.echo(note)
    for line in note_lines(measured, contrasts):
        typer.echo(f"note: {line}")
