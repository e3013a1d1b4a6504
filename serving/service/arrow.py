"""Rank features as an Arrow stream: columns of numbers, which nobody has to write as text and parse again."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pyarrow as pa
from starlette.requests import Request
from starlette.responses import Response

from mmsearch.scoring import RankFeatures

#: Registered for streams of Arrow's IPC format.
ARROW = "application/vnd.apache.arrow.stream"
JSON = "application/json"
_WEIGHT = re.compile(r"q=([01](?:\.[0-9]{0,3})?)")


def wants_arrow(request: Request) -> bool:
    """Tell whether `Accept` names Arrow, with a weight that is not 0 and not below that of JSON; `*/*` does not."""
    weights = {JSON: 0.0, ARROW: 0.0}
    for given in ",".join(request.headers.getlist("accept")).split(","):
        media_type, *parameters = (part.strip().lower() for part in given.split(";"))
        weights[media_type] = _weight(parameters)
    return weights[ARROW] > 0 and weights[ARROW] >= weights[JSON]


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


def _weight(parameters: Sequence[str]) -> float:
    """Give the weight of a media type (RFC 9110, 12.4.2): 1 where there is none, or none that can be read."""
    for parameter in parameters:
        found = _WEIGHT.fullmatch(parameter)
        if found:
            return float(found.group(1))
    return 1.0


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
