"""Bytes on the disk that are no unit vector any more, where no checksum is asked: missing, and never first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmsearch.index import ForwardIndex
from mmsearch.index.layout import scales_file, vectors_file
from mmsearch.index.recall.search import ExactSearch
from mmsearch.scoring import FeatureScorer, LiveScorer, OnnxQueryEncoder

DIM, NUM_DOCS = 8, 30
DOC_IDS = [f"v{i}" for i in range(NUM_DOCS)]
SICK = 6
FLOATS = [np.nan, np.inf, -np.inf, 6e4]


def open_unchecked(folder: Path) -> FeatureScorer:
    index = ForwardIndex.open(folder, verify="none")
    return FeatureScorer(index, OnnxQueryEncoder.open(index.query_tower))


def poison(folder: Path, name: str, width: int, value: float, dtype: str) -> None:
    """Overwrite what a file has of one document: its first row of `width` numbers."""
    path = folder / "generations" / ForwardIndex.open(folder).generation / name
    data = bytearray(path.read_bytes())
    row = np.full(width, value, dtype).tobytes()
    at = len(data) - (NUM_DOCS - SICK) * len(row)
    data[at : at + len(row)] = row
    path.write_bytes(data)


@pytest.mark.parametrize("selection", ["max", "mean", "weighted"])
@pytest.mark.parametrize(
    ("dtype", "value"), [(d, v) for d in ("float32", "float16", "int8") for v in FLOATS] + [("float32", 3e38)]
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_only_the_sick_document_is_missing_and_it_is_never_first(publish_wide, dtype, value, selection):
    folder = publish_wide(dtype=dtype, selection=selection)
    before = open_unchecked(folder).score("red panda", DOC_IDS)
    name, width, kind = vectors_file("content"), 3 * DIM, f"<{np.dtype(dtype).str[1:]}"
    if dtype == "int8":
        name, width, kind = scales_file("content"), 3, "<f4"
    poison(folder, name, width, value, kind)
    scorer = open_unchecked(folder)
    after = scorer.score("red panda", DOC_IDS)
    hurt = {"content", "content.poly", "spread"} & set(after.names)
    for name in after.names:
        values, missing = after.column(name)
        expected, was_missing = before.column(name)
        others = np.arange(NUM_DOCS) != SICK
        np.testing.assert_array_equal(values[others], expected[others])
        np.testing.assert_array_equal(missing[others], was_missing[others])
        assert missing[SICK] == (name in hurt or was_missing[SICK])
        assert np.isfinite(values).all()
        assert values[SICK] == (0 if name in hurt else expected[SICK])
    found, scores = ExactSearch(scorer.index).search("content", scorer.query_vectors("red panda", "content"), 99)
    assert DOC_IDS[SICK] not in found
    assert np.isfinite(scores).all()


def test_zeros_and_the_smallest_numbers_score_nothing_and_stay_behind_no_one_by_luck(publish_wide):
    folder = publish_wide(dtype="float32", selection="mean")
    for value in (0.0, 1e-45):
        poison(folder, vectors_file("content"), 3 * DIM, value, "<f4")
        values, missing = open_unchecked(folder).score("red panda", DOC_IDS).column("content")
        assert abs(values[SICK]) < 1e-6
        assert not missing[SICK], "a length of 0 is no damage that shows by a dot"


def test_with_checksums_the_block_is_missing_and_a_live_scorer_goes_on(publish_wide):
    folder = publish_wide()
    poison(folder, vectors_file("content"), 3 * DIM, 0.1, "<f4")  # nothing about it looks wrong
    with LiveScorer(folder, check_every_s=1e6) as live:
        features = live.current.score("red panda", DOC_IDS)
    assert features.column("content")[1].all()
    assert not features.column("frames")[1].all()
