"""`python -m training VERB …`"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mmsearch import logs

app = typer.Typer(name="python -m training", no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug messages.")] = False,
) -> None:
    """Train match models: document towers, and teacher and student query towers together."""
    logs.set_up(verbose=debug)


@app.command(
    epilog="Example: python -m training fit configs/train/demo.yaml data.corpus=runs/demo/corpus stages.0.steps=200"
)
def fit(
    config: Annotated[Path, typer.Argument(help="Settings of the run, a YAML file.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="Settings as dotted.key=value.")] = None,
) -> None:
    """Train a model through its stages; a killed run goes on where its last checkpoint stands."""
    from mmsearch.config import load_settings
    from training.config import FitSettings
    from training.fit import fit as run_fit

    print(run_fit(load_settings(FitSettings, config, overrides or [])))


@app.command(
    epilog="Example: python -m training diagnose runs/demo/model --corpus runs/demo/corpus "
    "--judgments runs/demo/world/judgments_test.jsonl"
)
def diagnose(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    corpus: Annotated[Path, typer.Option(help="Folder of a prepared corpus.")],
    judgments: Annotated[Path, typer.Option(help="Table of human grades.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONFIG] [KEY=VALUE]...", help="A YAML file of DiagnoseSettings, then overrides."),
    ] = None,
) -> None:
    """Measure a model without each modality and with each shuffled, and teacher against student, for its report."""
    from mmsearch.config import load_arguments
    from training.diagnose import DiagnoseSettings
    from training.diagnose import diagnose as run_diagnose

    print(run_diagnose(run, corpus, judgments, load_arguments(DiagnoseSettings, settings or [])))


if __name__ == "__main__":
    logs.exit_on_error(app, debug="--debug" in sys.argv)
