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


if __name__ == "__main__":
    logs.exit_on_error(app, debug="--debug" in sys.argv)
