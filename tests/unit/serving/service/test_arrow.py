"""Rank features as Arrow: the same numbers as JSON, where they are asked for."""

import numpy as np
import pyarrow as pa
import pytest

from mmsearch.scoring import FeatureScorer
from serving.service.arrow import ARROW

DOCS = ["d03", "nobody", "d01", "d00", "d03"]


def read(answer):
    assert (answer.status_code, answer.headers["content-type"]) == (200, ARROW)
    return pa.ipc.open_stream(answer.content).read_all()


@pytest.mark.parametrize("doc_ids", [DOCS, [], ["nobody"]])
def test_columns_are_the_features_of_the_library_bit_by_bit(client, service_index, doc_ids):
    scorer = FeatureScorer.open(service_index)
    expected = scorer.score("red ball", doc_ids)
    asked = {"query": "red ball", "doc_ids": doc_ids}
    table = read(client().post("/v1/score", json=asked, headers={"Accept": ARROW, "X-Request-ID": "r-1"}))
    assert table.column_names == list(scorer.names)
    assert {str(field.type) for field in table.schema} == {"float"}
    assert table.num_rows == len(doc_ids)
    for name in scorer.names:
        values, missing = expected.column(name)
        assert table[name].is_null().to_pylist() == missing.tolist()
        assert np.array_equal(table[name].to_numpy()[~missing], values[~missing])
    told = {"request_id": "r-1", "model": "tiny", "generation": scorer.index.generation, "late": "false"}
    assert table.schema.metadata == {name.encode(): value.encode() for name, value in told.items()}


@pytest.mark.parametrize(
    ("accept", "is_arrow"),
    [
        (f"application/json;q=0.5, {ARROW.upper()} ; q=0.8", True),
        (f"application/json, {ARROW};q=0.1", False),
        (f"application/json;q=0, {ARROW};q=x", True),
        (f"{ARROW};q=0, */*", False),
        (f"{ARROW};q=0.00", False),
        ("*/*", False),
        ("application/*", False),
        ("", False),
        (",;,=", False),
    ],
)
def test_only_who_names_arrow_gets_it(client, accept, is_arrow):
    answer = client().post("/v1/score", json={"query": "red", "doc_ids": DOCS}, headers={"Accept": accept})
    assert (answer.headers["content-type"] == ARROW) is is_arrow


def test_problems_stay_json(client):
    answer = client().post("/v1/score", json={"query": "red"}, headers={"Accept": ARROW})
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
