"""Every judged pair scored by every feature of an index, as a server would do it, with the time that it takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mmsearch import logs
from mmsearch.data.tables import read_judgments
from mmsearch.errors import DataError
from mmsearch.metrics.inputs import Input, check_held, feature_inputs
from mmsearch.metrics.join import Grades
from mmsearch.metrics.scored import Bools, Float64, Scored
from mmsearch.scoring import FeatureScorer


@dataclass(frozen=True, eq=False)
class Scores:
    """The judgments under the scores of every feature.

    Args:
        inputs: a table for each feature; all hold the same rows in the same order.
        seconds: how long each call of `FeatureScorer.score` took, one call a query, [Q].
        num_candidates: scored videos of each query, [Q].
        others: tables of the main features of another index, named `LABEL:FEATURE`, with the rows of `inputs`.
    """

    inputs: tuple[Input, ...]
    seconds: Float64
    num_candidates: Float64
    others: tuple[Input, ...] = ()

    @property
    def rows(self) -> Scored:
        """The judged rows, under the scores of the first feature."""
        return self.inputs[0].scored

    @property
    def mains(self) -> tuple[Input, ...]:
        """The features that are no single modality; all of them where every one is."""
        return tuple(one for one in self.inputs if "." not in one.name) or self.inputs

    @property
    def singles(self) -> tuple[Input, ...]:
        """The features of one modality alone (`content.title` …)."""
        return tuple(one for one in self.inputs if one not in self.mains)

    @property
    def compared(self) -> tuple[Input, ...]:
        """The main features, then those of the other index."""
        return self.mains + self.others

    @property
    def chief(self) -> Input:
        """The feature that stands for the index: `content`, or else the last main one."""
        return self.of("content") or self.mains[-1]

    @property
    def counterpart(self) -> Input | None:
        """The same feature as `chief` of the other index, or else its last; None without another index."""
        same = (one for one in self.others if one.name.endswith(f":{self.chief.name}"))
        return next(same, self.others[-1] if self.others else None)

    def of(self, name: str) -> Input | None:
        """Give the table of a feature."""
        return next((one for one in (*self.inputs, *self.others) if one.name == name), None)

    def against(self, other: Scores, label: str) -> Scores:
        """Give these scores with the main features of another index, which scored the same judgments, beside them."""
        return replace(self, others=tuple(replace(one, name=f"{label}:{one.name}") for one in other.mains))


def score_judgments(
    scorer: FeatureScorer, grades: Grades, judgments: Path | str = "the judgments", index: Path | str = "the index"
) -> Scores:
    """Score every judged video of every query, and measure each call.

    Args:
        scorer: of the index.
        grades: the judgments.
        judgments: where they stand, for messages.
        index: what the index is called there.

    Raises:
        DataError: none of the judged videos is in the index.
    """

    def holds(doc_ids: Sequence[str]) -> Bools:
        return scorer.index.rows(doc_ids) >= 0

    check_held(grades, holds, judgments, index)
    seconds: list[float] = []
    candidates: list[int] = []
    with logs.progress("score", len(set(grades.queries)), unit="queries") as bar:

        def score(query: str, doc_ids: Sequence[str]) -> dict[str, Float64]:
            begun = time.perf_counter()
            features = scorer.score(query, doc_ids)
            seconds.append(time.perf_counter() - begun)
            candidates.append(len(doc_ids))
            bar.advance()
            values = np.where(features.missing, np.nan, features.values).astype(np.float64)
            return dict(zip(features.names, values.T, strict=True))

        inputs = feature_inputs(grades, score, holds=holds)
    return Scores(tuple(inputs), np.array(seconds), np.array(candidates, np.float64))


def read_grades(judgments: Path, aspect: str) -> Grades:
    """Read the judgments of one aspect.

    Raises:
        TableError: a row cannot be used.
        DataError: there is no judgment of this aspect.
    """
    rows = [row for row in read_judgments(judgments) if row.aspect == aspect]
    if not rows:
        raise DataError(f"{judgments}: there is no judgment of the aspect '{aspect}'")
    return Grades([r.query for r in rows], [r.doc_id for r in rows], [r.grade for r in rows], [])
