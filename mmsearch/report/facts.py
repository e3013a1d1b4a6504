"""All that a report says, as numbers: gathered once, then drawn as a page or written as JSON."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mmsearch.metrics import Contrast, contrast
from mmsearch.metrics.report import Measured, default_relevant, measure, oddity_lines
from mmsearch.report.catalogue import Catalogue
from mmsearch.report.cost import Latency, Storage, latency, manifest_of, storage
from mmsearch.report.curves import Curves, read_curves
from mmsearch.report.diagnostics import Diagnostics
from mmsearch.report.lineage import Lineage, lineage
from mmsearch.report.run_folder import RunFolder
from mmsearch.report.scores import Scores, read_grades, score_judgments
from mmsearch.report.settings import ReportSettings
from mmsearch.report.slices import Bootstrap, Sliced, by_group, by_presence, query_groups
from mmsearch.report.spread import Spread, spreads
from mmsearch.report.wins import WinsAndLosses, wins_and_losses
from mmsearch.scoring import FeatureScorer
from mmsearch.types import Modality

_MEASURES = ("pnr", "ndcg_exp@10", "map", "recall@10")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sources:
    """What a report is made of. Without `index` and `judgments` it shows the run alone.

    Args:
        run: folder of a run.
        index: forward index of its model.
        judgments: table of human grades.
        corpus: prepared corpus; None = the one that the run's settings name, if it is there.
        videos: videos table, read where there is no corpus; None = as for the corpus.
        against: forward index of another model that is compared with it; videos that it lacks have no score there.
    """

    run: Path
    index: Path | None = None
    judgments: Path | None = None
    corpus: Path | None = None
    videos: Path | None = None
    against: Path | None = None


@dataclass(frozen=True, slots=True)
class Graded:
    """What the judgments say about an index.

    Args:
        measured: measures of every feature; those that are no single modality first, as `mains` says.
        mains: names of the features that are no single modality, then of those of the other index.
        relevant: least grade that counts as relevant.
        contrasts: PNR of every pair of main features, the later one first; with another index, of every one
            against that index's main feature, see `Scores.counterpart`.
        groups: PNR of main features by group of queries.
        presence: PNR of main features by presence of a modality.
        share_present: share of the judged videos that have a modality, an unknown one has none; empty when nothing is
            known of any video.
        num_unknown: judged videos that are not in the corpus (or table).
        spreads: of main features of the index itself.
        wins: wins and losses of one feature against another.
        latency: of scoring.
        storage: of the index.
        notes: what was unusual in the judgments and scores.
    """

    measured: tuple[Measured, ...]
    mains: tuple[str, ...]
    relevant: int
    contrasts: tuple[Contrast, ...]
    groups: Sliced
    presence: Sliced
    share_present: Mapping[str, float]
    num_unknown: int
    spreads: Mapping[str, Spread]
    wins: WinsAndLosses | None
    latency: Latency
    storage: Storage
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a report says. `graded` is None without an index and judgments; see also `RunFolder` and `Curves`."""

    name: str
    graded: Graded | None
    curves: Curves
    diagnostics: Diagnostics | None
    lineage: Lineage


def gather(sources: Sources, settings: ReportSettings) -> Facts:
    """Read the run, score the judgments and measure everything.

    Raises:
        ConfigError: a feature that the settings name is not in the index.
        DataError: the run, index, judgments, corpus or videos table cannot be used.
        IntegrityError: the index or the corpus is not what was written.
    """
    run = RunFolder.open(sources.run)
    curves = read_curves(run.metrics())
    name = "/".join(sources.run.resolve().parts[-2:])
    if sources.index is None or sources.judgments is None:
        return Facts(name, None, curves, run.diagnostics, lineage(run, None, None, sources.judgments, None))
    scorer = FeatureScorer.open(sources.index, derived=False)
    other = None if sources.against is None else FeatureScorer.open(sources.against, derived=False)
    grades = read_grades(sources.judgments, settings.aspect)
    catalogue = _catalogue(sources, run, set(grades.doc_ids), settings)
    scores = score_judgments(scorer, grades, sources.judgments, f"the index {sources.index}")
    told = ""
    if sources.against is not None and other is not None:
        label = settings.against_label or sources.against.resolve().name
        theirs = score_judgments(other, grades, sources.judgments, f"the index {sources.against}")
        scores = scores.against(theirs, label)
        told = f"{label}: {sources.against}, generation {other.index.generation}"
    graded = _graded(scores, catalogue, storage(sources.index, scorer.index), settings)
    manifest = manifest_of(sources.index, scorer.index)
    came_from = lineage(run, manifest, scorer.index.generation, sources.judgments, catalogue.content_hash, told)
    return Facts(name, graded, curves, run.diagnostics, came_from)


def _graded(scores: Scores, catalogue: Catalogue, disk: Storage, settings: ReportSettings) -> Graded:
    bootstrap = Bootstrap(settings.resamples, settings.seed)
    relevant = settings.relevant or default_relevant(scores.inputs)
    measured = _measure(scores, relevant, bootstrap)
    evaluations = [one.evaluation for one in reversed(measured[: len(scores.compared)])]
    which = scores.counterpart.name if scores.counterpart else "all"
    doc_ids = set(scores.rows.doc_ids)
    modalities = catalogue.modalities(doc_ids)
    return Graded(
        measured=tuple(measured),
        mains=tuple(one.name for one in scores.compared),
        relevant=relevant,
        contrasts=tuple(contrast(evaluations, which, measures=1, seed=settings.seed)),
        groups=by_group(scores.compared, query_groups(scores.rows.queries), bootstrap),
        presence=by_presence(scores.compared, modalities, bootstrap) if modalities else {},
        share_present=_shares(modalities, len(doc_ids)),
        num_unknown=len(doc_ids - modalities.keys()),
        spreads=spreads(scores.mains, bootstrap),
        wins=wins_and_losses(scores, catalogue, settings),
        latency=latency(scores),
        storage=disk,
        notes=tuple(oddity_lines(measured)),
    )


def _measure(scores: Scores, relevant: int, bootstrap: Bootstrap) -> list[Measured]:
    found = []
    for part, pairs in ((scores.compared, True), (scores.singles, False)):
        times, seed = bootstrap.resamples, bootstrap.seed
        found += measure(part, _MEASURES, relevant=relevant, grade_pairs=pairs, resamples=times, seed=seed)
    return found


def _shares(modalities: Mapping[str, frozenset[Modality]], num_videos: int) -> dict[str, float]:
    if not modalities:
        return {}
    return {m.value: sum(m in own for own in modalities.values()) / num_videos for m in Modality}


def _catalogue(sources: Sources, run: RunFolder, wanted: set[str], settings: ReportSettings) -> Catalogue:
    corpus = sources.corpus or _there(run.data_path("corpus"), "corpus", "--corpus")
    videos = sources.videos or (None if corpus else _there(run.data_path("videos"), "videos table", "--videos"))
    return Catalogue.open(corpus, videos, wanted, settings.thumbnail_px)


def _there(path: Path | None, what: str, option: str) -> Path | None:
    """Give a path that the run's settings name, if something is there; they are relative to where `fit` was typed."""
    if path is None or path.exists():
        return path
    _log.warning("%s: the %s of this run is not there; give %s to show what it holds", path, what, option)
    return None
