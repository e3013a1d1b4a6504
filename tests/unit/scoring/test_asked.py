"""What is no query or no list of ids is refused with words; whatever holds strings is a list of ids."""

from __future__ import annotations

import numpy as np
import pytest

from mmsearch.scoring import FeatureScorer

DOC_IDS = [f"v{i}" for i in range(30)]


class Column:
    """Ids as a column of pandas is: neither a list nor a `Sequence`."""

    def __init__(self, values):
        self._values = values

    def __len__(self):
        return len(self._values)

    def __iter__(self):
        return iter(self._values)


@pytest.fixture
def scorer(publish_wide) -> FeatureScorer:
    return FeatureScorer.open(publish_wide())


@pytest.mark.parametrize("make", [tuple, np.array, lambda ids: np.array(ids, object), Column, dict.fromkeys])
def test_whatever_holds_strings_will_do(scorer, make):
    expected, found = scorer.score("red panda", DOC_IDS), scorer.score("red panda", make(DOC_IDS))
    assert found.doc_ids == expected.doc_ids
    np.testing.assert_array_equal(found.values, expected.values)
    assert scorer.score("red panda", ["v1", "\ud800"]).missing.all(axis=1).tolist() == [False, True]


@pytest.mark.parametrize(
    ("doc_ids", "told"),
    [
        ("Hang_Clean", r"got 'Hang_Clean' \(str\)"),
        ("", r"got '' \(str\)"),
        (b"v1", r"got b'v1' \(bytes\)"),
        ([3], r"got 3 \(int\) at place 0"),
        (Column(["v1", float("nan")]), r"got nan \(float\) at place 1"),
        (np.array([7, 8]), r"got np\.int64\(7\) \(int64\) at place 0"),
        (np.array("v1"), r"got array.* \(ndarray\)"),
        (["v1", None], r"got None \(NoneType\) at place 1"),
        ([b"v1"], r"got b'v1' \(bytes\) at place 0"),
        (None, r"got None \(NoneType\)"),
        ((one for one in DOC_IDS), r"got <generator .* \(generator\)"),
        (["x" * 500, 3], r"got 3 \(int\) at place 1"),
    ],
)
def test_what_is_no_list_of_strings_is_refused(scorer, doc_ids, told):
    with pytest.raises(TypeError, match=f"doc_ids must be a sequence of str; {told}"):
        scorer.score("red panda", doc_ids)
    with pytest.raises(TypeError, match="doc_ids must be a sequence of str; got "):
        scorer.score_batch([("red panda", DOC_IDS), ("red panda", doc_ids)])


@pytest.mark.parametrize("query", [None, 3, b"red panda", ["red panda"]])
def test_what_is_no_query_is_refused(scorer, query):
    for ask in (
        lambda: scorer.score(query, DOC_IDS),
        lambda: scorer.score(query, []),
        lambda: scorer.explain(query, "v1"),
        lambda: scorer.query_vectors(query, "content"),
    ):
        with pytest.raises(TypeError, match="query must be a str; got "):
            ask()
    with pytest.raises(TypeError, match=r"doc_id must be a str; got 3 \(int\)"):
        scorer.explain("red panda", 3)


def test_other_type_errors_are_told_as_they_are(scorer, monkeypatch):
    def broken(doc_ids):
        raise TypeError("of another kind")

    monkeypatch.setattr(scorer.index, "rows", broken)
    with pytest.raises(TypeError, match="of another kind"):
        scorer.score("red panda", DOC_IDS)
