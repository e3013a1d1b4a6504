"""What a trained model makes of each modality, and what its student loses: figures for `mmsearch report`.

Letters: N judged rows, V judged videos, Q queries, M codes, D components.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from mmsearch.config import Settings
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.tables import read_judgments
from mmsearch.files import hash_file, read_json, write_json
from mmsearch.matching import mean_code, paired_poly_scores
from mmsearch.metrics import Scored, Statistic, count_pairs
from mmsearch.metrics.pnr import ratio
from mmsearch.metrics.scored import Float64
from mmsearch.metrics.significance import resample
from mmsearch.models.checkpoint import load_model, pick_device
from mmsearch.models.document import SPACES, Codes
from mmsearch.models.inputs import InputMaker
from mmsearch.models.match import MatchModel
from mmsearch.protocols import Bool, PreparedVideo
from mmsearch.report.diagnostics import FORMAT_VERSION, NAME, Change, Diagnostics, Estimate, SpaceDiagnosis, Towers
from mmsearch.types import Modality
from training.fusion_weights import watched
from training.pairs import Judged, judged_rows
from training.what_if import altered, lenders

#: The spaces that read several modalities.
_FUSED = ("perception", "content")

#: Codes of the judged videos as they are served [V, M, D], and which are present [V].
Served = tuple[Tensor, Bool]
#: Judged rows that are scored at once.
_ROWS_AT_A_TIME = 16_384

_log = logging.getLogger(__name__)


class DiagnoseSettings(Settings):
    """How a model is diagnosed."""

    aspect: str = "overall"
    """Which aspect of the judgments counts."""
    served: Literal["mean", "codes"] = "mean"
    """Score as an index of `served=mean` or of `served=codes` does."""
    device: str = "auto"
    """`auto` (a GPU where there is one), `cpu`, `cuda`, `cuda:1` …"""
    batch_size: int = Field(default=64, ge=1)
    """Videos embedded at once."""
    num_shuffles: int = Field(default=3, ge=1)
    """How often each modality is shuffled; the pairs of all are pooled."""
    resamples: int = Field(default=1_000, ge=100)
    """Bootstrap samples of the queries, and of the videos for the weights of the fusion."""
    seed: int = Field(default=0, ge=0)
    """Of the shuffles and the bootstrap."""


def diagnose(run: Path, corpus_dir: Path, judgments: Path, settings: DiagnoseSettings) -> Path:
    """Measure a model with each modality left out and shuffled, and teacher against student; write `diagnostics.json`.

    Videos are scored as they are served: the student's query vector against the mean of the codes, or against all codes
    as the model selects among them. A modality is shuffled among the judged videos that have it; none keeps its own.
    Beside it stands how the fusion divides its gates or its attention among the modalities, where it has such.

    Returns:
        The file, in the folder of the run.

    Raises:
        DataError: `run` is no folder of a finished run, or no judged video is in the corpus.
        IntegrityError: the corpus or the weights are not what was written.
    """
    model, tokenizer = load_model(run, str(pick_device(settings.device)))
    fingerprints = read_json(run / "fingerprints.json")
    corpus = PreparedCorpus.open(corpus_dir)
    judged = judged_rows(corpus, read_judgments(judgments), settings.aspect, set(), judgments)
    bench = _Bench(model, InputMaker(model.settings, tokenizer), corpus, judged, settings)
    found = Diagnostics(
        format_version=FORMAT_VERSION,
        run_hash=str(fingerprints["run_hash"]),
        corpus_hash=corpus.content_hash,
        judgments_hash=hash_file(judgments),
        num_queries=len(judged.queries),
        num_judged=sum(len(rows) for rows in judged.rows),
        num_shuffles=settings.num_shuffles,
        served=settings.served,
        spaces=bench.spaces(),
        towers=bench.towers(),
    )
    write_json(run / NAME, found.model_dump(mode="json"))
    return run / NAME


class _Bench:
    """Judged rows, scored with the model as it is and as it would be without a modality.

    Args:
        model: the model, on its device.
        maker: of tensors.
        corpus: the prepared corpus.
        judged: the judgments.
        settings: how to diagnose.
    """

    def __init__(
        self, model: MatchModel, maker: InputMaker, corpus: PreparedCorpus, judged: Judged, settings: DiagnoseSettings
    ) -> None:
        self._model, self._maker, self._corpus, self._settings = model, maker, corpus, settings
        rows = np.concatenate(judged.rows)
        self._rows, self._place = np.unique(rows, return_inverse=True)
        self._query_of = np.repeat(np.arange(len(judged.queries)), [len(r) for r in judged.rows])
        names = [judged.queries[int(i)] for i in self._query_of]
        doc_ids = [corpus.doc_ids[row] for row in rows]
        self._judged = Scored.from_columns(names, doc_ids, np.concatenate(judged.grades), np.zeros(len(rows)))
        self._towers = self._encode(judged.queries)
        self._fused = [space for space in _FUSED if space in model.spaces]
        with watched(model, self._fused) as self._weighed:
            self._whole = self._embed(model.spaces)
        known = [video.hashes.keys() for places in self._batches() for video in self._read(places)]
        self._has = {m: np.array([m in own for own in known], np.bool_) for m in Modality}

    def spaces(self) -> dict[str, SpaceDiagnosis]:
        """Give what each modality is worth to the spaces that read several."""
        left_out: dict[str, dict[Modality, Float64]] = {space: {} for space in self._fused}
        shuffled: dict[str, dict[Modality, Float64]] = {space: {} for space in self._fused}
        rng = np.random.default_rng(self._settings.seed)
        for modality in Modality:
            reading = [space for space in self._fused if modality in SPACES[space]]
            rings = [lenders(self._has[modality], rng) for _ in range(self._settings.num_shuffles)]
            gone = self._embed(reading, modality)
            lent = [self._embed(reading, modality, ring) for ring in rings]
            for space in reading:
                left_out[space][modality] = self._counts("student", gone[space], space)
                shuffled[space][modality] = np.sum([self._counts("student", one[space], space) for one in lent], axis=0)
            _log.info("%s: left out, and shuffled %d times", modality.value, len(rings))
        return {space: self._diagnosis(space, left_out[space], shuffled[space]) for space in self._fused}

    def towers(self) -> dict[str, Towers]:
        """Give PNR by the teacher's and the student's query vectors in every space."""
        found = {}
        for space, served in self._whole.items():
            teacher, student = (self._counts(tower, served, space) for tower in ("teacher", "student"))
            whole, [(other, change)] = self._estimates(teacher, [student])
            found[space] = Towers(teacher=whole, student=other, change=change)
        return found

    def _diagnosis(
        self, space: str, left_out: dict[Modality, Float64], shuffled: dict[Modality, Float64]
    ) -> SpaceDiagnosis:
        """Estimate all at once: every change is of the same bootstrap samples."""
        whole = self._counts("student", self._whole[space], space)
        estimate, pairs = self._estimates(whole, [*left_out.values(), *shuffled.values()])
        changes = [
            (m, Change(pnr=pnr, change=change, num_videos=int(self._has[m].sum())))
            for m, (pnr, change) in zip([*left_out, *shuffled], pairs, strict=True)
        ]
        parts = dict(changes[: len(left_out)]), dict(changes[len(left_out) :])
        weights = self._weighed[space].shares(SPACES[space], self._settings.resamples, self._settings.seed)
        return SpaceDiagnosis(whole=estimate, left_out=parts[0], shuffled=parts[1], weights=weights)

    def _estimates(self, whole: Float64, others: Sequence[Float64]) -> tuple[Estimate, list[tuple[Estimate, Estimate]]]:
        """Give the PNR of pair counts [Q, 3], and those of others with their differences from it."""
        statistics = [Statistic("pnr", counts, ratio, int(counts.any(axis=1).sum())) for counts in (whole, *others)]
        samples = resample(statistics, resamples=self._settings.resamples, seed=self._settings.seed)
        first, drawn = statistics[0].value, samples[0]
        pairs = [
            (Estimate.of_samples(one.value, values), Estimate.of_samples(one.value - first, values - drawn))
            for one, values in zip(statistics[1:], samples[1:], strict=True)
        ]
        return Estimate.of_samples(first, drawn), pairs

    def _counts(self, tower: str, served: Served, space: str) -> Float64:
        """Count concordant, discordant and tied pairs of every query, [Q, 3]; a video without a vector ranks last."""
        query, (codes, present) = self._towers[tower][space], served
        score = np.concatenate(
            [self._score(query, codes, start) for start in range(0, len(self._place), _ROWS_AT_A_TIME)]
        )
        score[~present[self._place]] = np.nan
        return count_pairs(self._judged.with_scores(score)).per_query().astype(np.float64)

    def _score(self, query: Tensor, codes: Tensor, start: int) -> Float64:
        """Score some judged rows by vectors of the queries [Q, D]; of a single code every selection is its cosine."""
        rows = slice(start, start + _ROWS_AT_A_TIME)
        queries, videos = query[self._query_of[rows]], codes[self._place[rows]]
        return paired_poly_scores(queries, videos, self._model.settings.poly).numpy().astype(np.float64)

    @torch.inference_mode()
    def _encode(self, queries: Sequence[str]) -> dict[str, dict[str, Tensor]]:
        inputs = self._maker.queries(queries).to(self._model.device)
        towers = {"teacher": self._model.teacher, "student": self._model.student}
        return {
            name: {space: vectors.float().cpu() for space, vectors in tower(inputs.ids, inputs.mask).items()}
            for name, tower in towers.items()
        }

    @torch.inference_mode()
    def _embed(
        self, spaces: Sequence[str], modality: Modality | None = None, ring: npt.NDArray[np.int64] | None = None
    ) -> dict[str, Served]:
        """Embed the judged videos: as they are, without a modality, or with that of their lenders."""
        parts: list[dict[str, Served]] = []
        for places in self._batches():
            videos = self._read(places)
            if modality is not None:
                lent = [None] * len(videos) if ring is None else self._read(ring[places])
                videos = [altered(video, modality, lender) for video, lender in zip(videos, lent, strict=True)]
            found = self._model.document(self._maker.documents(videos).to(self._model.device), spaces)
            parts.append({space: self._as_served(codes) for space, codes in found.items()})
        return {
            space: (
                torch.cat([part[space][0] for part in parts]),
                np.concatenate([part[space][1] for part in parts]),
            )
            for space in spaces
        }

    def _as_served(self, found: Codes) -> Served:
        codes = found.codes.float()
        codes = codes if self._settings.served == "codes" else mean_code(codes).unsqueeze(1)
        return codes.cpu(), found.present.cpu().numpy()

    def _batches(self) -> Iterator[npt.NDArray[np.int64]]:
        for start in range(0, len(self._rows), self._settings.batch_size):
            yield np.arange(start, min(start + self._settings.batch_size, len(self._rows)))

    def _read(self, places: npt.NDArray[np.int64]) -> list[PreparedVideo]:
        return self._corpus.read(self._rows[places].tolist())
