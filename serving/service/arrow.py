"""Rank features as an Arrow stream: columns of numbers, which nobody has to write as text and parse again."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
from starlette.requests import Request
from starlette.responses import Response

from mmsearch.scoring import RankFeatures

#: Registered for streams of Arrow's IPC format.
ARROW = "application/vnd.apache.arrow.stream"


def wants_arrow(request: Request) -> bool:
    """Tell whether `Accept` names Arrow; `*/*` does not, and neither does a weight of 0."""
    for given in ",".join(request.headers.getlist("accept")).split(","):
        media_type, *parameters = (part.strip().lower() for part in given.split(";"))
        if media_type == ARROW:
            return not any(_is_zero(parameter) for parameter in parameters)
    return False


def arrow_answer(told: Mapping[str, object], features: RankFeatures) -> Response:
    """Give a record batch of one float32 column for each feature, null where it is missing.

    Rows are the candidates in the order asked; their ids are not said again. What the JSON answer says beside the
    candidates stands in the metadata of the schema: text as it is, truth as `true` or `false`.
    """
    columns = [pa.array(features.values[:, at], mask=features.missing[:, at]) for at in range(len(features.names))]
    fields = [pa.field(name, pa.float32()) for name in features.names]
    schema = pa.schema(fields, {name: _text(value) for name, value in told.items()})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as stream:
        stream.write_batch(pa.record_batch(columns, schema=schema))
    return Response(sink.getvalue().to_pybytes(), media_type=ARROW)


def _is_zero(parameter: str) -> bool:
    name, _, value = parameter.partition("=")
    return name.strip() == "q" and value.strip().strip("0.") == ""


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
