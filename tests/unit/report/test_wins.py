"""Wins and losses of one feature against another."""

import numpy as np
import pytest

from mmsearch.errors import ConfigError
from mmsearch.metrics import Scored
from mmsearch.metrics.inputs import Input
from mmsearch.report.catalogue import Catalogue
from mmsearch.report.scores import Scores
from mmsearch.report.settings import ReportSettings
from mmsearch.report.wins import wins_and_losses

GRADES = [2, 1, 0] * 3
#: Of query 0, content orders all pairs and perception none; of query 1 it is the other way round; query 2 is tied.
CONTENT = [0.9, 0.5, 0.1, 0.1, 0.5, 0.9, 0.3, 0.3, float("nan")]
PERCEPTION = [0.1, 0.5, 0.9, 0.9, 0.5, 0.1, 0.3, 0.3, float("nan")]


def scores(**features):
    queries = [f"q{i // 3}" for i in range(9)]
    inputs = [
        Input(name, None, Scored.from_columns(queries, [f"d{i}" for i in range(9)], GRADES, values), {})
        for name, values in features.items()
    ]
    return Scores(tuple(inputs), np.ones(3), np.full(3, 3.0))


def test_the_biggest_come_first_with_both_rankings():
    settings = ReportSettings(num_examples=5, videos_per_example=2)
    found = wins_and_losses(scores(perception=PERCEPTION, content=CONTENT), Catalogue(None, {}, 32), settings)
    assert (found.baseline, found.challenger) == ("perception", "content")
    assert (found.num_better, found.num_worse, found.num_equal) == (1, 1, 1)
    (win,), (loss,) = found.wins, found.losses
    assert (win.query, win.num_pairs, win.right) == ("q0", 3, (0.0, 3.0))
    assert (loss.query, loss.right) == ("q1", (3.0, 0.0))
    assert [(video.place, video.doc_id, video.grade) for video in win.challenger] == [(1, "d0", 2), (2, "d1", 1)]
    assert [video.doc_id for video in win.baseline] == ["d2", "d1"]


def test_missing_scores_rank_last_and_are_none():
    settings = ReportSettings(baseline="content", challenger="other")
    other = [*CONTENT[:6], 0.1, 0.2, float("nan")]
    found = wins_and_losses(scores(content=CONTENT, other=other), Catalogue(None, {}, 32), settings)
    assert found.losses[0].query == "q2"
    assert [video.score for video in found.losses[0].challenger] == [0.2, 0.1, None]


def test_one_feature_alone_cannot_be_compared():
    assert wins_and_losses(scores(content=CONTENT), Catalogue(None, {}, 32), ReportSettings()) is None


def test_unknown_features_are_named():
    settings = ReportSettings(challenger="smell")
    with pytest.raises(ConfigError, match="challenger: there is no feature 'smell' in the index; there are: content"):
        wins_and_losses(scores(content=CONTENT), Catalogue(None, {}, 32), settings)
