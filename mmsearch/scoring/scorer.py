"""Score the candidates of a query: one feature for each space, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from mmsearch.index import ForwardIndex
from mmsearch.protocols import Float32, QueryEncoder
from mmsearch.scoring.asked import check_doc_id, check_query, rows_of
from mmsearch.scoring.deadline import Deadline
from mmsearch.scoring.derived import derived_from, poly_of
from mmsearch.scoring.explanation import Explainer, Explanation
from mmsearch.scoring.features import RankFeatures
from mmsearch.scoring.matches import Matches
from mmsearch.scoring.query_encoder import OnnxQueryEncoder
from mmsearch.scoring.sheet import Sheet
from mmsearch.scoring.versions import OnMixed, match_versions, refuse_mixed

#: Vectors of queries by the place of their version and their text, then by space, [1, D].
_Encoded = dict[tuple[int, str], dict[str, Float32]]


class FeatureScorer:
    """Rank features of (query, document) pairs, from a forward index and a query encoder of the same model.

    A document of several codes gets one score a space, by the selection that the model was trained with, which
    `query_tower.json` of the generation names. After the spaces come features that are derived from them
    (`derived_from`, `poly_of`), where their parts exist. It stays with the generation that it was opened on. Safe for
    threads and forks when the encoder is.

    While a corpus is being embedded anew, a generation may hold vectors of two models (`index.versions`). Each document
    is then scored by the encoder of its own model, or by the newest one where that was trained to find the older
    documents as well. Two models agree on what is near, not on how near: their scores stand in one list as they are.

    Args:
        index: the forward index.
        encoder: makes the query vectors. Of an index of two models: one for each of its versions, in their order, or
            the newest alone.
        encoder_at: what the encoder is and where it lies, for messages.
        derived: give derived features; False: the spaces alone.

    Raises:
        FingerprintError: encoder and vectors come from different models; both are named.
        CorruptIndexError: the generation's `query_tower.json` cannot be read.

    See also:
        LiveScorer: goes on to what is published later. feature_definitions: what each feature is.
    """

    def __init__(
        self,
        index: ForwardIndex,
        encoder: QueryEncoder | Sequence[QueryEncoder],
        *,
        encoder_at: str = "the query encoder",
        derived: bool = True,
    ) -> None:
        encoders = list(encoder) if isinstance(encoder, Sequence) else [encoder]
        self.versions = match_versions(index, encoders, encoder_at)
        self.index, self.encoder = index, encoders[-1]
        self._encoders: dict[str, QueryEncoder] = {}
        newest_first = (space.name for version in reversed(index.versions) for space in version.spaces)
        self.spaces = tuple(dict.fromkeys(newest_first))
        told = [space for version in self.versions for space in version.spaces.values()]
        self.poly = poly_of(told) if derived else {}
        self.derived = derived_from(self.spaces) if derived else ()
        self.names = (*self.spaces, *self.poly.values(), *(feature.name for feature in self.derived))

    @classmethod
    def open(
        cls,
        index_dir: Path | str,
        *,
        num_threads: int = 1,
        on_mixed: OnMixed = "match",
        previous: FeatureScorer | None = None,
        cache_size: int = 4096,
        warm: bool = False,
        derived: bool = True,
    ) -> FeatureScorer:
        """Open the served generation of an index, and the query tower that was published in it.

        Args:
            index_dir: the index.
            num_threads: threads of one query.
            on_mixed: what to do with a generation of two models. `match`: score each document with the query tower of
                its own model, so that both run for every query. `newest`: score all with the newest one, in the
                spaces in which it was trained to find the older documents (`compatible` of `training fit`); in others
                these have no score. `refuse`: raise an error.
            previous: a scorer that was opened on an earlier generation. Query towers whose bytes have not changed since
                are taken from it, with their threads and what they remember: most of the time of opening is saved.
            cache_size: queries whose vectors each query tower keeps.
            warm: read the whole index once (`ForwardIndex.warm`), so that the first requests do not wait for the disk.
            derived: give derived features as well.

        Raises:
            DataError: nothing was published here.
            IntegrityError: a file is damaged, of a later format, or vectors and tower do not belong together; or the
                generation holds vectors of two models, and `on_mixed` does not allow it.
        """
        index = ForwardIndex.open(index_dir)
        if on_mixed == "refuse":
            refuse_mixed(index)
        versions = index.versions[-1:] if on_mixed == "newest" else index.versions
        loaded = dict(previous._encoders) if previous else {}
        new = [version for version in versions if version.tower_checksum not in loaded]
        if new:
            index.verify_query_tower()
        for version in new:
            loaded[version.tower_checksum] = OnnxQueryEncoder.open(
                version.query_tower, num_threads=num_threads, cache_size=cache_size
            )
        encoders = {version.tower_checksum: loaded[version.tower_checksum] for version in versions}
        towers = " or ".join(str(version.query_tower) for version in versions)
        each = [encoders[version.tower_checksum] for version in versions]
        scorer = cls(index, each, encoder_at=f"the query tower in {towers}", derived=derived)
        scorer._encoders = encoders
        if warm:
            index.warm()
        return scorer

    def score(self, query: str, doc_ids: Sequence[str], *, deadline_s: float | None = None) -> RankFeatures:
        """Give the features of every candidate, in the order asked.

        An unknown id, a document without the modality, a damaged vector and a query that says nothing make missing
        features, and never an exception.

        Args:
            query: what the searcher typed: any string.
            doc_ids: the candidates, any sequence of strings (a list, an array or a pandas column of text); an id may
                come twice. Numbers are no ids: `str` them as they were when the index was made.
            deadline_s: seconds that the call may take, by the monotonic clock. It is looked at before a query is
                encoded and before a space is scored; what is under way is finished. What was not begun by then is
                missing, and the answer is `late`.

        Raises:
            TypeError: `query` is no string, or `doc_ids` is one, or holds something else than strings.
            DeadlineError: the time was over before one space was scored.
        """
        return self.score_batch([(query, doc_ids)], deadline_s=deadline_s)[0]

    def score_batch(
        self, requests: Sequence[tuple[str, Sequence[str]]], *, deadline_s: float | None = None
    ) -> list[RankFeatures]:
        """Give the features of several requests: for each the numbers that `score` gives, bit by bit.

        All ids are looked up at once, and each distinct query is encoded once.

        Args:
            requests: queries and their candidates.
            deadline_s: seconds that all of them may take together. They advance space by space, side by side.

        Raises:
            TypeError: a query is no string, or the candidates of one are a string, or hold something else than strings.
            DeadlineError: the time was over before one space was scored.
        """
        sheets = self._fill(requests, Deadline(deadline_s))
        return [sheet.features(self.index.generation, late=len(sheet.scored) < len(self.spaces)) for sheet in sheets]

    def explain(self, query: str, doc_id: str, *, deadline_s: float | None = None) -> Explanation:
        """Give what `score` gives for one document, with how it comes about, or why it is missing.

        Args:
            query: what the searcher typed.
            doc_id: the document.
            deadline_s: as for `score`; what was not computed by then is explained as late.

        Raises:
            TypeError: `query` or `doc_id` is no string.
            DeadlineError: the time was over before one space was scored.
        """
        check_doc_id(doc_id)
        (sheet,) = self._fill([(query, [doc_id])], Deadline(deadline_s))
        return Explainer(self.index, self.versions[-1], sheet).explain(self.spaces, self.poly, self.derived)

    def query_vectors(self, query: str, space: str) -> list[Float32 | None]:
        """Give the vector of a query for each of the index's versions, [D]: what `ExactSearch` is asked with.

        None where a version cannot be scored in this space; zeros where the query says nothing.

        Raises:
            TypeError: `query` is no string.
        """
        check_query(query)
        return [
            version.encoder.encode([query])[space][0] if space in version.spaces else None for version in self.versions
        ]

    def _fill(self, requests: Sequence[tuple[str, Sequence[str]]], deadline: Deadline) -> list[Sheet]:
        sheets = self._look_up(requests)
        encoded: _Encoded = {}
        for sheet in sheets:
            for version, _ in sheet.parts:
                if deadline.passed:
                    raise deadline.error()
                key = id(version.encoder), sheet.query
                if key not in encoded:
                    encoded[key] = version.encoder.encode([sheet.query])
        cells = ((name, sheet) for name in self.spaces for sheet in sheets)
        for name, sheet in cells:
            if deadline.passed:
                break
            self._score(name, sheet, encoded)
        if sheets and not any(sheet.scored for sheet in sheets):
            raise deadline.error()
        for sheet in sheets:
            sheet.derive(self.derived)
        return sheets

    def _look_up(self, requests: Sequence[tuple[str, Sequence[str]]]) -> list[Sheet]:
        """Give an empty sheet for each request; all ids are looked up at once."""
        rows = rows_of(self.index, requests)
        bounds = pairwise([0, *np.cumsum([len(doc_ids) for _, doc_ids in requests]).tolist()])
        return [
            Sheet(query, doc_ids, rows[start:stop], self.names, self.versions)
            for (query, doc_ids), (start, stop) in zip(requests, bounds, strict=True)
        ]

    def _score(self, name: str, sheet: Sheet, encoded: _Encoded) -> None:
        """Set the features of one space of a request."""
        for version, places in sheet.parts:
            space = version.spaces.get(name)
            if space is None:
                continue
            query = encoded[id(version.encoder), sheet.query][name][0]
            if query.any():
                matches = Matches.of(self.index, space, sheet.rows[places], query)
                sheet.fill(name, places, matches.scores, matches.present)
                if name in self.poly:
                    sheet.fill(self.poly[name], places, matches.poly_scores, matches.present)
        sheet.scored.add(name)
