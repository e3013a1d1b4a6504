"""PNR of a finished run on grades that it has not seen: as mean and as codes, with modalities missing.

Letters: N judged rows, V judged videos, M codes, D components.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import xxhash
from torch import Tensor

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.tables import read_judgments
from mmsearch.files import hash_bytes, hash_file, read_json, write_json
from mmsearch.matching import PolySettings, paired_poly_scores
from mmsearch.metrics import Scored, count_pairs
from mmsearch.metrics.pnr import pnr
from mmsearch.models.checkpoint import load_model
from mmsearch.models.document import Codes
from mmsearch.models.inputs import InputMaker
from mmsearch.models.match import MatchModel
from mmsearch.protocols import PreparedVideo
from mmsearch.types import Modality
from training.pairs import judged_rows
from training.what_if import altered

NAME = "measures.json"
#: Raise it when the same run would be measured differently.
_VERSION = 1
_CHUNK = 64
_MEAN = PolySettings(selection="mean")


class Ruler:
    """Measures runs on the same judged videos, with the same modalities missing.

    Args:
        corpus: the prepared corpus.
        judgments: table of human grades.
        aspect: which aspect of them counts.
        space: that is measured, with the student's query vectors.
        missing: probabilities with which each modality of each video is gone.

    Raises:
        DataError: no judged video is in the corpus.
    """

    def __init__(
        self, corpus: PreparedCorpus, judgments: Path, aspect: str, space: str, missing: Sequence[float]
    ) -> None:
        judged = judged_rows(corpus, read_judgments(judgments), aspect, set(), judgments)
        rows = np.concatenate(judged.rows)
        distinct, self._place = np.unique(rows, return_inverse=True)
        self.videos = corpus.read(distinct.tolist())
        self.space, self._missing, self._queries = space, [float(share) for share in missing], judged.queries
        self._query_of = np.repeat(np.arange(len(judged.queries)), [len(r) for r in judged.rows])
        names = [judged.queries[int(i)] for i in self._query_of]
        doc_ids = [corpus.doc_ids[row] for row in rows]
        self._judged = Scored.from_columns(names, doc_ids, np.concatenate(judged.grades), np.zeros(len(rows)))
        told = f"{_VERSION} {aspect} {space} {self._missing}"
        self._key = hash_bytes(corpus.content_hash.encode(), hash_file(judgments).encode(), told.encode())

    def measure(self, run: Path) -> dict[str, float]:
        """Give PNR by the names of `figure`; what was measured before is read from the run's `measures.json`.

        Raises:
            DataError: it is no folder of a finished run.
        """
        key = hash_bytes(self._key.encode(), str(read_json(run / "fingerprints.json")["run_hash"]).encode())
        path = run / NAME
        if path.is_file():
            found = read_json(path)
            if isinstance(found, dict) and found.get("key") == key:
                return {str(name): float(value) for name, value in found["pnr"].items()}
        model, tokenizer = load_model(run)
        measured = self._measure(model, InputMaker(model.settings, tokenizer))
        write_json(path, {"key": key, "pnr": measured})
        return measured

    @torch.inference_mode()
    def _measure(self, model: MatchModel, maker: InputMaker) -> dict[str, float]:
        inputs = maker.queries(self._queries)
        query = model.student(inputs.ids, inputs.mask, [self.space])[self.space][self._query_of]
        found = {}
        for share in self._missing:
            codes = self._embed(model, maker, [thinned(video, share) for video in self.videos])
            for served, poly in (("mean", _MEAN), ("codes", model.settings.poly)):
                found[figure(share, served)] = self._pnr(query, codes, poly)
        return found

    def _embed(self, model: MatchModel, maker: InputMaker, videos: Sequence[PreparedVideo]) -> Codes:
        """Give [V, M, D] and present [V]."""
        parts = [
            model.document(maker.documents(videos[start : start + _CHUNK]), (self.space,))[self.space]
            for start in range(0, len(videos), _CHUNK)
        ]
        return Codes(torch.cat([part.codes for part in parts]), torch.cat([part.present for part in parts]))

    def _pnr(self, query: Tensor, codes: Codes, poly: PolySettings) -> float:
        """Count pairs of scores [N]; a video without a vector ranks last."""
        scores = paired_poly_scores(query, codes.codes[self._place], poly)
        scores = torch.where(codes.present[self._place], scores, float("nan"))
        return pnr(count_pairs(self._judged.with_scores(scores.double().numpy())))


def figure(share: float, served: str) -> str:
    """Name a figure: PNR with a share of modalities missing, served as `mean` or as `codes`."""
    return f"{share:.0%} missing, {served}"


def thinned(video: PreparedVideo, share: float) -> PreparedVideo:
    """Take each modality of a video away with a probability, never all of them.

    The draw depends on the document's id alone: it is the same for every model, and what is missing at one share is
    missing at every larger one. Where all would go, the one that was drawn to go last stays.
    """
    rng = np.random.default_rng(xxhash.xxh3_64_intdigest(video.doc_id.encode()))
    drawn = {modality: rng.random() for modality in Modality}
    own = [modality for modality in Modality if modality in video.hashes]
    last = max(own, key=lambda modality: drawn[modality], default=None)
    for modality in own:
        if drawn[modality] < share and modality is not last:
            video = altered(video, modality, None)
    return video
