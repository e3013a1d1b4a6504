"""What grades of key sentences come to: shares, differences, the proxy beside them, and how far it can be trusted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from mmsearch.metrics import Interval, Statistic
    from mmsearch.sentences.grading import Item, Sheet, Side

#: What the proxy measures, the one number first.
MEASURES = ("score", "held_out", "coverage", "redundancy", "fluency")
#: Of fewer videos a bootstrap tells nothing: it would call them certain.
_LEAST_VIDEOS = 5
_Z95 = 1.959964


def summarise(sheet: Sheet, grades: Mapping[tuple[str, Side], int], *, seed: int = 0) -> dict[str, Any]:
    """Give the summary as JSON holds it; what is not defined is None.

    `human` counts the videos of which every answer is graded, so that both methods are measured on the same ones.
    Shares have Wilson's interval (Wilson 1927), which holds near 0 and 1 and for few videos; differences are the first
    method minus the second, with a bootstrap interval over videos and the p-value of Fisher's randomisation test.
    `proxy` is over all videos of the sheet, p-values corrected for the number of measures (Holm). `trust` tells how
    the proxy goes with people, over graded answers: Spearman's rank correlation, and of the videos on which people
    prefer one answer, the share on which the proxy prefers the same; it prefers neither for half a video each.

    Args:
        sheet: what was graded.
        grades: by doc_id and side.
        seed: of bootstrap and randomisation.
    """
    graded = [(item, found) for item in sheet.items if (found := _by_method(item, grades)) is not None]
    return {
        "sheet": _facts(sheet),
        "human": _human(sheet, graded, seed) | {"languages": _by_language(sheet, graded, seed)},
        "proxy": _proxy(sheet, seed),
        "trust": _trust(graded, seed),
    }


def _facts(sheet: Sheet) -> dict[str, Any]:
    languages = [item.language for item in sheet.items]
    fallbacks = {name: sum(item.answers[name].fallback is not None for item in sheet.items) for name in sheet.methods}
    return {
        "id": sheet.id,
        "methods": list(sheet.methods),
        "videos": len(sheet.items),
        "same": sum(item.is_same for item in sheet.items),
        "languages": {name: languages.count(name) for name in sorted(set(languages))},
        "drawn_from": dict(sheet.counts),
        "fallbacks": fallbacks,
    }


def _by_method(item: Item, grades: Mapping[tuple[str, Side], int]) -> dict[str, int] | None:
    first = grades.get((item.doc_id, "first"))
    second = first if item.is_same else grades.get((item.doc_id, "second"))
    if first is None or second is None:
        return None
    return dict(zip(item.order, (first, second), strict=True))


def _human(sheet: Sheet, graded: list[tuple[Item, dict[str, int]]], seed: int) -> dict[str, Any]:
    import numpy as np

    values = {name: np.array([found[name] for _, found in graded], dtype=np.float64) for name in sheet.methods}
    methods = {
        name: {
            "good": _share(int((found == 2).sum()), len(found)),
            "mean": _estimate(found, seed),
            "grades": [int((found == number).sum()) for number in range(3)],
        }
        for name, found in values.items()
    }
    a, b = (values[name] for name in sheet.methods)
    difference = _difference((a == 2).astype(np.float64), (b == 2).astype(np.float64), seed)
    return {"graded": len(graded), "methods": methods, "difference": difference}


def _by_language(sheet: Sheet, graded: list[tuple[Item, dict[str, int]]], seed: int) -> dict[str, Any]:
    names = sorted({item.language for item, _ in graded})
    if len(names) < 2:
        return {}
    return {name: _human(sheet, [pair for pair in graded if pair[0].language == name], seed) for name in names}


def _proxy(sheet: Sheet, seed: int) -> dict[str, Any]:
    from mmsearch.metrics import holm

    values = {name: {m: _measured(sheet, name, m) for m in MEASURES} for name in sheet.all_methods}
    a, b = (values[name] for name in sheet.methods)
    differences = {measure: _difference(a[measure], b[measure], seed) for measure in MEASURES}
    adjusted = holm([found["p_value"] if found["p_value"] is not None else 1.0 for found in differences.values()])
    for found, p_value in zip(differences.values(), adjusted, strict=True):
        found["p_holm"] = p_value
    methods = {name: {m: _estimate(v, seed) for m, v in found.items()} for name, found in values.items()}
    return {"methods": methods, "differences": differences}


def _trust(graded: list[tuple[Item, dict[str, int]]], seed: int) -> dict[str, Any]:
    import numpy as np

    preferring = [(item, found) for item, found in graded if len(set(found.values())) == 2]
    told: dict[str, Any] = {}
    for measure in MEASURES:
        sign = -1 if measure == "redundancy" else 1
        agreed = []
        for item, found in preferring:
            best, worst = sorted(found, key=lambda name: -found[name])
            gap = sign * (_of(item, best, measure) - _of(item, worst, measure))
            agreed += [] if math.isnan(gap) else [0.5 + 0.5 * float(np.sign(gap))]
        told[measure] = {
            "spearman": _spearman(graded, measure, seed),
            "same_preference": _share(sum(agreed), len(agreed)),
        }
    return told


def _spearman(graded: list[tuple[Item, dict[str, int]]], measure: str, seed: int) -> dict[str, Any]:
    """Give Spearman's correlation of grades with a measure over answers, resampled by videos.

    Ranks are those of all answers, ties at their mean; the bootstrap draws videos again with both of their answers and
    keeps the ranks.
    """
    import numpy as np

    from mmsearch.metrics import Statistic

    rows = [
        (number, _of(item, name, measure), found[name])
        for number, (item, found) in enumerate(graded)
        for name in (item.order[:1] if item.is_same else item.order)
    ]
    defined = np.array([row for row in rows if not math.isnan(row[1])], dtype=np.float64).reshape(-1, 3)
    x, y = _ranks(defined[:, 1]), _ranks(defined[:, 2])
    counts = np.zeros((len(graded), 6))
    np.add.at(counts, defined[:, 0].astype(int), np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1))
    return _told(Statistic(measure, counts, _pearson, len(defined)), seed)


def _pearson(sums: np.ndarray) -> np.ndarray:
    import numpy as np

    n, x, y, xx, yy, xy = (sums[..., column] for column in range(6))
    spread = (n * xx - x * x) * (n * yy - y * y)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(spread > 1e-9, (n * xy - x * y) / np.sqrt(np.maximum(spread, 0)), np.nan)


def _ranks(values: np.ndarray) -> np.ndarray:
    import numpy as np

    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places] if len(values) else np.zeros(0)


def _measured(sheet: Sheet, name: str, measure: str) -> np.ndarray:
    import numpy as np

    return np.array([_of(item, name, measure) for item in sheet.items], dtype=np.float64)


def _of(item: Item, name: str, measure: str) -> float:
    return float(getattr(item.answers[name].proxy, measure))


def _share(count: float, total: int) -> dict[str, Any]:
    if not total:
        return {"value": None, "low": None, "high": None, "num": 0}
    share, spread = count / total, _Z95 * _Z95 / total
    middle, half = share + spread / 2, _Z95 * math.sqrt(share * (1 - share) / total + spread / (4 * total))
    low, high = max(0.0, (middle - half) / (1 + spread)), min(1.0, (middle + half) / (1 + spread))
    return {"value": share, "low": low, "high": high, "num": total}


def _estimate(values: np.ndarray, seed: int) -> dict[str, Any]:
    from mmsearch.metrics.statistic import mean_of

    return _told(mean_of("", values), seed)


def _told(statistic: Statistic, seed: int) -> dict[str, Any]:
    from mmsearch.metrics import bootstrap_intervals

    (interval,) = bootstrap_intervals([statistic], seed=seed)
    value = statistic.value if statistic.num_queries else math.nan
    return _interval(value, interval, statistic) | {"num": statistic.num_queries}


def _difference(a: np.ndarray, b: np.ndarray, seed: int) -> dict[str, Any]:
    from mmsearch.metrics import paired_bootstrap, randomisation_test
    from mmsearch.metrics.statistic import mean_of

    one, other = mean_of("", a), mean_of("", b)
    if not one.num_queries:
        return {"value": None, "low": None, "high": None, "p_value": None}
    found = paired_bootstrap(one, other, seed=seed)
    p_value = randomisation_test(one, other, seed=seed)
    return _interval(found.difference, found.interval, one) | {"p_value": p_value}


def _interval(value: float, interval: Interval, statistic: Statistic) -> dict[str, Any]:
    is_told = int(statistic.counts.any(axis=1).sum()) >= _LEAST_VIDEOS
    told = {"value": value} | ({"low": interval.low, "high": interval.high} if is_told else {})
    return {
        name: found if math.isfinite(found := told.get(name, math.nan)) else None for name in ("value", "low", "high")
    }
