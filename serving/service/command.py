"""The verb `serve`: rank features over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

SERVE_EXAMPLES = """**Examples**

`python -m serving serve configs/serve/demo.yaml`

`python -m serving serve configs/serve/demo.yaml port=9000 num_workers=4`

`python -m serving serve serve.yaml host=0.0.0.0 api_keys_file=/run/secrets/mmsearch_keys`
"""


def serve(
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[CONFIG] [KEY=VALUE]...", help="A YAML file of ServeSettings, then overrides."),
    ] = None,
) -> None:
    """Answer `/v1/score` and `/v1/search`, and show a page at `/`, until SIGTERM.

    A new generation of an index is served within a second, without a failed request. Listens at loopback unless `host`
    says otherwise. Needs the extra `serve`, and `faiss` where models are searched.
    """
    from mmsearch.config import load_arguments
    from mmsearch.extras import require

    for library in ("fastapi", "uvicorn", "orjson", "prometheus_client"):
        require(library, extra="serve")
    from serving.service.run import run
    from serving.service.settings import ServeSettings

    run(load_arguments(ServeSettings, settings or []))
