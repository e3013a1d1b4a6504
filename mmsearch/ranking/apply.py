"""Candidates put in order by a final ranker."""

from __future__ import annotations

import logging
import math
from pathlib import Path

from mmsearch import logs
from mmsearch.errors import DataError
from mmsearch.metrics.join import Scores
from mmsearch.metrics.scored import Float64
from mmsearch.ranking.columns import UserColumns, read_columns
from mmsearch.ranking.ranker import FinalRanker
from mmsearch.scoring import FeatureScorer

_log = logging.getLogger(__name__)


def rank_candidates(ranker: FinalRanker, scorer: FeatureScorer, candidates: Scores, columns: Path | None) -> Scores:
    """Score the candidates of every query.

    A candidate that stands twice counts once. In the result, rows of a query come together, best first, in the order of
    the candidates where scores are equal; those without any feature or number are last, with None.

    Args:
        ranker: the ranker.
        scorer: gives the features.
        candidates: queries and documents; their scores mean nothing.
        columns: table of the user's numbers; needed where the ranker was fitted with some.

    Raises:
        FingerprintError: the index is of another model than the one that the ranker was fitted on.
        DataError: the index lacks a feature or makes it otherwise, or a column or its table is absent. Candidates that
            stand in no row of the table are no error, even all of them: their numbers are missing, and a warning says
            how many they are.
    """
    ranker.check(scorer)
    found: dict[str, dict[str, None]] = {}
    for query, doc_id in zip(candidates.queries, candidates.doc_ids, strict=True):
        found.setdefault(query, {})[doc_id] = None
    own = _read_columns(ranker, found, columns)
    result = Scores([], [], [])
    with logs.progress("rank", len(found), unit="queries") as bar:
        for query, ids in found.items():
            doc_ids = list(ids)
            numbers = None if own is None else own.look_up([(query, doc_id) for doc_id in doc_ids])
            given = None if own is None or numbers is None else dict(zip(own.names, numbers.T, strict=True))
            _add(result, query, doc_ids, ranker.score(scorer.score(query, doc_ids), given))
            bar.advance()
    without = sum(score is None for score in result.scores)
    if without:
        _log.warning("%d of %d candidates have no score: no feature and no number", without, len(result.scores))
    return result


def _read_columns(ranker: FinalRanker, found: dict[str, dict[str, None]], path: Path | None) -> UserColumns | None:
    names = ranker.told.columns
    if not names:
        if path is not None:
            _log.warning("%s is not read: the ranker was fitted without columns", path)
        return None
    if path is None:
        raise DataError(f"the ranker was fitted with the columns {', '.join(names)}; give their table")
    pairs = {(query, doc_id) for query, ids in found.items() for doc_id in ids}
    columns = read_columns(path, pairs, names)
    absent = len(pairs) - len(columns.row_of)
    if absent:
        hint = "" if columns.is_related else ", which names none of their queries or ids: is it the right table?"
        _log.warning("%d of %d candidates stand in no row of %s%s", absent, len(pairs), path, hint)
    if columns.num_repeated:
        _log.warning("%d rows of %s repeat the pair of an earlier one, which counts", columns.num_repeated, path)
    return columns


def _add(result: Scores, query: str, doc_ids: list[str], scores: Float64) -> None:
    """Add the rows of a query, best first."""
    rows = zip(doc_ids, scores.tolist(), strict=True)
    for doc_id, score in sorted(rows, key=lambda row: (math.isnan(row[1]), -row[1])):
        result.queries.append(query)
        result.doc_ids.append(doc_id)
        result.scores.append(None if math.isnan(score) else score)
