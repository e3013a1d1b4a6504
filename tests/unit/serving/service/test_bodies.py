"""The fast way to write candidates says what the plain one says."""

import json

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.scoring import RankFeatures
from serving.service.bodies import json_answer, rows_of, scored_docs

TEXTS = st.text(st.characters(exclude_categories=["Cs"])) | st.text(alphabet='",\\[]{}:a')


@given(st.lists(TEXTS, max_size=8), st.integers(1, 3), st.randoms(use_true_random=False))
def test_candidates_are_written_as_json_writes_them(doc_ids, num_names, chance):
    rng = np.random.default_rng(chance.randrange(1 << 32))
    values = rng.standard_normal((len(doc_ids), num_names)).astype(np.float32) * np.float32(10.0 ** rng.integers(-9, 2))
    missing = rng.random(values.shape) < 0.3
    features = RankFeatures(tuple(doc_ids), tuple("abc"[:num_names]), np.where(missing, np.float32(0), values), missing)
    written = json.loads(json_answer({"docs": scored_docs(features)}).body)["docs"]
    plain = [{"doc_id": i, "values": row} for i, row in zip(doc_ids, rows_of(features), strict=True)]
    assert written == json.loads(json_answer({"docs": plain}).body)["docs"]
    assert [doc["doc_id"] for doc in written] == doc_ids
    for doc, row, gone in zip(written, values, missing, strict=True):
        assert [v is None for v in doc["values"]] == gone.tolist()
        assert [np.float32(v) for v in doc["values"] if v is not None] == row[~gone].tolist()
