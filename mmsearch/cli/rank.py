"""mmsearch rank: fit the final ranker on rank features, and score candidates with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from mmsearch.metrics.join import Scores
    from mmsearch.ranking import FinalRanker

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")

_FIT = """**Examples**

`mmsearch rank fit --index index --judgments train.jsonl --validation val.jsonl --test test.jsonl --out ranker`

With columns of your own, which are then the baseline:

`mmsearch rank fit --index index --judgments train.jsonl --columns bm25.tsv --out ranker gain=linear num_seeds=5`
"""
_APPLY = """**Examples**

`mmsearch rank apply --ranker ranker --index index --run recalled.run --out ranked.run`

`mmsearch rank apply --ranker ranker --index index --query "red panda" --docs candidates.txt`

With columns of your own; a pair that stands in no row has missing numbers:

`mmsearch rank apply --ranker ranker --index index --run recalled.csv --columns bm25.tsv --out ranked.csv`
"""

_Index = Annotated[Path, typer.Option(help="Folder of the forward index.")]


@app.callback()
def group() -> None:
    """Fit the final ranker on rank features, and score candidates with it."""


@app.command(epilog=_FIT)
def fit(
    index: _Index,
    judgments: Annotated[Path, typer.Option(help="Table of human grades to learn from.")],
    out: Annotated[Path, typer.Option(help="Folder to write: model.txt, ranker.json, report.html.")],
    validation: Annotated[
        Path | None, typer.Option(help="Grades that say when to stop [default: a share of the queries].")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="Grades to measure on [default: those of the validation].")] = None,
    columns: Annotated[
        Path | None, typer.Option(help="Table of query, doc_id and your own numbers: CSV, TSV, JSONL, Parquet.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print ranker.json.")] = False,
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONFIG] [KEY=VALUE]...", help="A YAML file of RankSettings, then overrides."),
    ] = None,
) -> None:
    """Fit LambdaMART (LightGBM) on the rank features of graded videos, and show what each feature adds.

    Prints PNR and NDCG of the ranker, of a baseline (your columns, or else the features of one text alone), of the
    baseline with each other feature, and of the best feature alone, with intervals and paired tests. The same tables,
    settings and seed give the same ranker.
    """
    from mmsearch.cli.evaluate import print_report
    from mmsearch.config import load_arguments
    from mmsearch.ranking import RankSettings, Sources, check_free, render, write_ranker
    from mmsearch.ranking import fit as fit_ranker

    wanted = load_arguments(RankSettings, settings or [])
    check_free(out)
    done = fit_ranker(Sources(index, judgments, validation, test, columns), wanted)
    write_ranker(out, done.told, done.text, render(done, out.resolve().name))
    if as_json:
        typer.echo(json.dumps(done.told.model_dump(mode="json"), ensure_ascii=False))
        return
    told = f"{out}\t{done.told.counts['trees']} trees; measured on the {done.told.figures['measured_on']} queries"
    print_report(done.measured, done.contrasts, "features", told)
    for note in done.notes:
        typer.echo(f"note: {note}")


@app.command(epilog=_APPLY)
def apply(
    ranker: Annotated[Path, typer.Option(help="Folder that `mmsearch rank fit` wrote.")],
    index: _Index,
    run: Annotated[
        Path | None,
        typer.Option(help="Candidates of queries: a run as `mmsearch evaluate --run` reads, scores may lack."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The run to write: .jsonl, .csv, .tsv, .parquet; TREC text: .run, .trec, .txt, no ending."),
    ] = None,
    query: Annotated[str | None, typer.Option(help="What the searcher typed, with --docs.")] = None,
    docs: Annotated[
        Path | None, typer.Option(help="File of candidate ids, one a line; `-` reads them from stdin.")
    ] = None,
    columns: Annotated[Path | None, typer.Option(help="Your own numbers of these pairs, as in `fit`.")] = None,
) -> None:
    """Put candidates in order: all of a run (--run, --out), or those of one query (--query, --docs), printed.

    An index of another model is refused, and so are absent columns. A candidate without any feature or number has no
    score and stands last.
    """
    from mmsearch.errors import ConfigError
    from mmsearch.metrics.run_file import check_run_name, write_run
    from mmsearch.ranking import FinalRanker

    match (run, out, query, docs):
        case (Path() as candidates, Path() as target, None, None):
            check_run_name(target)
            opened = FinalRanker.load(ranker)
            write_run(target, _ranked(opened, index, _read_run(candidates), columns), tag=ranker.resolve().name)
            typer.echo(target)
        case (None, None, str() as text, Path() as ids):
            opened = FinalRanker.load(ranker)
            _print(_ranked(opened, index, _of_one_query(text, ids), columns))
        case _:
            raise ConfigError("give --run and --out, or --query and --docs")


def _read_run(path: Path) -> Scores:
    from mmsearch.metrics.files import read_candidates

    return read_candidates(path)


def _of_one_query(query: str, docs: Path) -> Scores:
    from mmsearch.cli.score import read_ids
    from mmsearch.metrics.join import Scores

    doc_ids = read_ids(docs)
    return Scores([query] * len(doc_ids), doc_ids, [None] * len(doc_ids))


def _ranked(ranker: FinalRanker, index: Path, candidates: Scores, columns: Path | None) -> Scores:
    from mmsearch.errors import ConfigError
    from mmsearch.ranking.apply import rank_candidates
    from mmsearch.scoring import FeatureScorer

    if ranker.told.columns and columns is None:
        names = ", ".join(ranker.told.columns)
        raise ConfigError(f"the ranker was fitted with the columns {names}; give their table with --columns TABLE")
    return rank_candidates(ranker, FeatureScorer.open(index, on_mixed="refuse"), candidates, columns)


def _print(ranked: Scores) -> None:
    from mmsearch.cli.score import escaped

    typer.echo("doc_id\tscore")
    for doc_id, score in zip(ranked.doc_ids, ranked.scores, strict=True):
        typer.echo(f"{escaped(doc_id)}\t{'' if score is None else f'{score:.6f}'}")
