"""Fit a final ranker, and find out what each feature is worth to it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np

from mmsearch import logs
from mmsearch.extras import require
from mmsearch.files import hash_bytes
from mmsearch.metrics import Contrast, Interval, Table, compute, contrast, evaluate_mean
from mmsearch.metrics.inputs import Input
from mmsearch.metrics.measures import check_measures
from mmsearch.metrics.report import Measured, default_relevant, report_json
from mmsearch.metrics.scored import Float64
from mmsearch.metrics.tables import number
from mmsearch.ranking.feature_sets import ALL, BASELINE, baseline_of, choose_features, compared_sets
from mmsearch.ranking.lambdamart import Fit, Trees, fit_trees
from mmsearch.ranking.ranker import RankerFile, derived_parts, ranked_spaces
from mmsearch.ranking.settings import RankSettings
from mmsearch.ranking.sources import Sources, Tables, read_tables
from mmsearch.ranking.table import FeatureTable
from mmsearch.scoring import FeatureScorer

MEASURES = ("pnr", "ndcg_exp@10")


@dataclass(frozen=True, eq=False)
class Fitted:
    """A final ranker and what is known of it.

    Args:
        told: the content of `ranker.json`.
        text: the trees.
        measured: measures of each set of features, the whole ranker first.
        contrasts: by PNR: of the whole ranker with the baseline and with the best feature alone; of the baseline with
            each other feature.
        baseline: the baseline's features.
        curve: the measure on the validation queries after each tree.
        shares: of each feature in what moves the scores of the measured videos: its mean absolute contribution, over
            the sum of all features', for each seed.
        notes: what a reader of the figures must know.
    """

    told: RankerFile
    text: str
    measured: tuple[Measured, ...]
    contrasts: tuple[Contrast, ...]
    baseline: tuple[str, ...]
    curve: tuple[float, ...]
    shares: Mapping[str, tuple[float, ...]]
    notes: tuple[str, ...]


def fit(sources: Sources, settings: RankSettings) -> Fitted:
    """Fit LambdaMART on the rank features of graded pairs, and measure it.

    The ranker of all features is fitted `num_seeds` times, and so are the baseline and the baseline with each other
    feature. Figures are means over these fits, with intervals and paired tests over queries
    (`mmsearch.metrics.evaluate_mean`); that of the first seed is kept.

    Raises:
        ConfigError: a setting does not fit the features or grades.
        DataError: a table cannot be used, or there is no order to learn.
        IntegrityError: the index is damaged, or holds vectors of two models.
        MissingExtraError: LightGBM is not installed.
    """
    require("lightgbm", extra="rank")
    check_measures([settings.measure])
    scorer = FeatureScorer.open(sources.index, on_mixed="refuse")
    features = choose_features(scorer.names, settings)
    tables = read_tables(sources, scorer, features, settings)
    settings = settings.model_copy(update={"relevant": settings.relevant or _relevant(tables)})
    every = tables.train.names
    baseline = baseline_of(features, tables.columns, settings)
    empty = _empty(tables.train)
    fits = _fit_all(compared_sets(every, baseline, settings, empty), tables, settings)
    measured = [_measured(name, [scores for _, scores in own], tables, settings) for name, own in fits.items()]
    best = _best_alone(tables.train)
    at = tables.measured.names.index(best)
    measured.append(_measured(f"{best} alone", [tables.measured.values[:, at]], tables, settings))
    contrasts = _contrasts(measured, settings)
    whole = [trees for trees, _ in fits[ALL] if trees is not None]
    shares = dict(zip(every, zip(*(_shares(one, tables.measured) for one in whole), strict=True), strict=True))
    kept = _kept(fits[ALL][0][1], tables, settings)
    notes = (*_notes(kept, empty, settings), *tables.notes)
    figures = report_json(measured, "ranker", contrasts) | {
        "kept": kept,
        "measured_on": tables.measured_on,
        "notes": list(notes),
    }
    told = RankerFile(
        features=features,
        columns=tables.columns,
        derived={name: parts for name, parts in derived_parts(scorer).items() if name in features},
        spaces=ranked_spaces(scorer, features),
        model=hash_bytes(whole[0].text.encode()),
        settings=settings.model_dump(mode="json"),
        inputs=sources.described() | {"generation": scorer.index.generation},
        counts={"trees": whole[0].num_rounds} | _counts(tables),
        linear=whole[0].linear,
        shares={name: own[0] for name, own in shares.items()},
        figures=figures,
        versions={name: version(name) for name in ("mmsearch", "lightgbm", "numpy")},
    )
    return Fitted(told, whole[0].text, tuple(measured), tuple(contrasts), baseline, whole[0].curve, shares, notes)


def _relevant(tables: Tables) -> int:
    return default_relevant(
        [Input("", None, one.rows, {}) for one in (tables.train, tables.validation, tables.measured)]
    )


def _fit_all(
    sets: Mapping[str, Sequence[str]], tables: Tables, settings: RankSettings
) -> dict[str, list[tuple[Fit | None, Float64]]]:
    """Give, for every set of features and seed, the trees and their scores of what is measured on."""
    found: dict[str, list[tuple[Fit | None, Float64]]] = {name: [] for name in sets}
    with logs.progress("fit", len(sets) * settings.num_seeds, unit="rankers") as bar:
        for name, features in sets.items():
            for seed in range(settings.seed, settings.seed + settings.num_seeds):
                found[name].append(_fit_one(features, tables, settings, seed))
                bar.advance()
    return found


def _fit_one(features: Sequence[str], tables: Tables, settings: RankSettings, seed: int) -> tuple[Fit | None, Float64]:
    if not features:  # a baseline of nothing puts all videos level
        return None, np.zeros(len(tables.measured.rows))
    done = fit_trees(tables.train, tables.validation, features, settings, seed)
    return done, Trees(done.text, done.linear).score(tables.measured.matrix(features))


def _measured(name: str, scores: Sequence[Float64], tables: Tables, settings: RankSettings) -> Measured:
    given = [tables.measured.rows.with_scores(own) for own in scores]
    found = [Table(rows, relevant=settings.relevant or 1) for rows in given]
    evaluation = evaluate_mean(name, found, MEASURES, resamples=settings.resamples, seed=settings.seed)
    return Measured(Input(name, None, given[0], dict(tables.measured.oddities)), evaluation, [])


def _empty(train: FeatureTable) -> tuple[str, ...]:
    """Give the features of which nothing can be learned: no pair has a value."""
    return tuple(name for name, column in zip(train.names, train.values.T, strict=True) if np.isnan(column).all())


def _kept(scores: Float64, tables: Tables, settings: RankSettings) -> dict[str, float | None]:
    """Give the measures of the ranker that is kept, by name; None = not defined."""
    table = Table(tables.measured.rows.with_scores(scores), relevant=settings.relevant or 1)
    values = {name: compute(name, table).value for name in MEASURES}
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _notes(kept: Mapping[str, float | None], empty: Sequence[str], settings: RankSettings) -> list[str]:
    """Say what the figures are of, and what was compared with nothing."""
    notes = []
    if settings.num_seeds > 1:
        own = ", ".join(f"{name} {number(math.nan if value is None else value)}" for name, value in kept.items())
        notes.append(
            f"figures are means over {settings.num_seeds} fits of different seeds; the ranker that is kept "
            f"(seed {settings.seed}) has {own}"
        )
    if empty and settings.compare:
        notes.append(f"{', '.join(empty)}: no graded pair to learn from has a value; compared with nothing")
    return notes


def _best_alone(train: FeatureTable) -> str:
    """Give the feature that ranks best as it is, by PNR on what is learned from; the first of equal ones."""
    values = [compute("pnr", Table(train.rows.with_scores(column))).value for column in train.values.T]
    return train.names[int(np.argmax(np.nan_to_num(values, nan=-1.0)))]


def _contrasts(measured: Sequence[Measured], settings: RankSettings) -> list[Contrast]:
    """Compare the whole ranker with the baseline and with the best feature alone, and the baseline with what each
    feature makes of it: two families of tests, for two questions."""
    options: dict[str, Any] = {"measures": 1, "permutations": 10 * settings.resamples, "seed": settings.seed}
    whole, *added, alone = [one.evaluation for one in measured]
    found = contrast([whole, *added[:1], alone], ALL, **options)
    return [_turned(one) for one in found] + (contrast(added, BASELINE, **options) if len(added) > 1 else [])


def _turned(found: Contrast) -> Contrast:
    """Give `b - a` for `a - b`."""
    interval = Interval(0.0 - found.interval.high, 0.0 - found.interval.low)
    return replace(found, a=found.b, b=found.a, difference=0.0 - found.difference, interval=interval)


def _shares(fit: Fit, measured: FeatureTable) -> list[float]:
    found = Trees(fit.text, fit.linear).contributions(measured.values)
    sizes = np.abs(found - found.mean(axis=0)).mean(axis=0)
    shares: list[float] = (sizes / (sizes.sum() or 1)).tolist()
    return shares


def _counts(tables: Tables) -> dict[str, int]:
    parts = {"train": tables.train, "validation": tables.validation, "measured": tables.measured}
    queries = {f"{name}_queries": one.rows.num_queries for name, one in parts.items()}
    return queries | {f"{name}_judgments": len(one.rows) for name, one in parts.items()}
