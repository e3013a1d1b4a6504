"""The door of `python -m serving`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mmsearch import logs
from serving.follow.command import FOLLOW_EXAMPLES, follow
from serving.publish import GC_EXAMPLES, PUBLISH_EXAMPLES, gc, publish
from serving.service.command import SERVE_EXAMPLES, serve
from serving.tower_command import TOWER_EXAMPLES, tower

app = typer.Typer(
    name="python -m serving",
    help="Serve a trained model: publish a corpus as a forward index, keep it fresh, go back, tidy up, rerank.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)

_EXAMPLES = """**Examples**

`python -m serving refresh --model runs/match --corpus corpus --index index`

`python -m serving refresh --model runs/match --corpus corpus --index index batch_size=256 device=cuda`

`python -m serving refresh --model runs/match --corpus corpus --index index --dry-run`

`python -m serving refresh nightly.yaml keep=[cover,frames] executor.num_workers=4`
"""

_RERANK_EXAMPLES = """**Examples**

`python -m serving rerank --model runs/match --corpus corpus --run found.jsonl --out reranked.jsonl`

`python -m serving rerank --model runs/match --corpus corpus --run found.run --out reranked.run -k 20 device=cuda`
"""


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug messages.")] = False,
) -> None:
    """Set up logging for every verb."""
    logs.set_up(verbose=debug)


@app.command(epilog=_EXAMPLES)
def refresh(
    model: Annotated[Path | None, typer.Option(help="Folder of a trained model.")] = None,
    corpus: Annotated[Path | None, typer.Option(help="Folder of a prepared corpus.")] = None,
    index: Annotated[
        Path | None, typer.Option(help="Folder of the forward index; made when it does not exist.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[CONFIG] [KEY=VALUE]...",
            help="A YAML file of RefreshSettings, then overrides; it may name model, corpus and index as well.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done and what it costs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    follows: Annotated[
        bool, typer.Option("--follow", help="Go on with a stream instead: the verb `follow`, with its settings.")
    ] = False,
    source: Annotated[str | None, typer.Option(help="The stream of --follow.")] = None,
) -> None:
    """Bring an index up to what a corpus and a model are now, and publish that, with the query tower, in one step.

    Videos that are new or changed are embedded; vectors of unchanged ones are copied; another model embeds everything.
    Prints the name of the generation that is served then. A refresh that was killed goes on where it was; one that
    has nothing to do publishes nothing. Ends with status 5 when videos had to go to quarantine: the rest is served.
    """
    if follows and (dry_run or as_json):
        raise typer.BadParameter("--follow goes on until it is told to stop: leave --dry-run and --json out")
    if follows:
        follow(model, index, source, corpus, None, settings)
        return
    from serving.refresh_command import run

    run(model, corpus, index, settings or [], dry_run=dry_run, as_json=as_json)


app.command(epilog=PUBLISH_EXAMPLES)(publish)
app.command(epilog=GC_EXAMPLES)(gc)
app.command(epilog=TOWER_EXAMPLES)(tower)
app.command(epilog=FOLLOW_EXAMPLES)(follow)
app.command(epilog=SERVE_EXAMPLES)(serve)


@app.command(epilog=_RERANK_EXAMPLES)
def rerank(
    model: Annotated[Path, typer.Option(help="Folder of a trained model with a cross-encoder.")],
    corpus: Annotated[Path, typer.Option(help="Folder of the prepared corpus that holds the candidates.")],
    run: Annotated[
        Path, typer.Option(help="Candidates of queries: a run as `mmsearch evaluate --run` reads, scores may lack.")
    ],
    out: Annotated[
        Path,
        typer.Option(help="The run to write: .jsonl, .csv, .tsv, .parquet; TREC text: .run, .trec, .txt, no ending."),
    ],
    top: Annotated[int, typer.Option("--top", "-k", min=1, help="Candidates of a query that are scored anew.")] = 50,
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONFIG] [KEY=VALUE]...", help="A YAML file of RerankSettings, then overrides."),
    ] = None,
) -> None:
    """Put the best candidates of each query into the order of the cross-encoder.

    It reads every (query, video) pair together: far slower than comparing vectors, and for short lists. Candidates
    below the top keep their order, below it.
    """
    from mmsearch.config import load_arguments
    from mmsearch.metrics.files import read_candidates
    from mmsearch.metrics.run_file import check_run_name, write_run
    from mmsearch.models.cross_scorer import CrossScorer
    from serving.rerank import rerank as rerank_run
    from serving.settings import RerankSettings

    chosen = load_arguments(RerankSettings, settings or [])
    check_run_name(out)
    candidates = read_candidates(run)
    scorer = CrossScorer.open(model, corpus, chosen.device, batch_size=chosen.batch_size)
    write_run(out, rerank_run(candidates, scorer, top), tag=model.resolve().name)
    typer.echo(out)


if __name__ == "__main__":
    logs.exit_on_error(app, debug="--debug" in sys.argv)
