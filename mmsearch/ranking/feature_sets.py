"""Which features a ranker gets, and which sets of them are compared."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mmsearch.errors import ConfigError
from mmsearch.ranking.settings import RankSettings
from mmsearch.types import TEXTS

#: What LightGBM takes as the name of a feature: no blanks, and nothing that means something in JSON.
_NAME = re.compile(r'[^\s"\\,:\[\]{}]+')

ALL, BASELINE = "all", "baseline"


def choose_features(offered: Sequence[str], settings: RankSettings) -> tuple[str, ...]:
    """Give the features of an index that a ranker gets.

    Raises:
        ConfigError: the index does not have a chosen one, or a name is none that LightGBM takes.
    """
    chosen = tuple(dict.fromkeys(settings.features or offered))
    unknown = [name for name in chosen if name not in offered]
    if unknown:
        raise ConfigError(f"features: the index has no {', '.join(unknown)}; it has: {', '.join(offered)}")
    _check_names(chosen)
    return chosen


def check_columns(columns: Sequence[str], features: Sequence[str]) -> None:
    """Refuse columns of the user's that cannot stand beside the features.

    Raises:
        ConfigError: a column is called as a feature is, or `grade` (what is to be learned), or as LightGBM cannot.
    """
    for name in columns:
        if name in features:
            raise ConfigError(f"column '{name}': a feature of the index has this name; rename the column")
        if name == "grade":
            raise ConfigError("column 'grade': is what the ranker learns; leave it out, or choose: columns=[…]")
    _check_names(columns)


def baseline_of(features: Sequence[str], columns: Sequence[str], settings: RankSettings) -> tuple[str, ...]:
    """Give the features of the baseline: a text-only ranker, unless the settings name others.

    Raises:
        ConfigError: a named one is no feature.
    """
    every = (*features, *columns)
    if settings.baseline is not None:
        unknown = [name for name in settings.baseline if name not in every]
        if unknown:
            raise ConfigError(f"baseline: there is no {', '.join(unknown)}; there are: {', '.join(every)}")
        return tuple(dict.fromkeys(settings.baseline))
    return tuple(columns) or tuple(name for name in features if _is_text(name))


def compared_sets(
    every: Sequence[str], baseline: Sequence[str], settings: RankSettings, empty: Sequence[str] = ()
) -> dict[str, tuple[str, ...]]:
    """Give the sets of features that rankers are fitted on, by name: all, the baseline, and it with each other one
    that is not `empty`."""
    sets: dict[str, tuple[str, ...]] = {ALL: tuple(every)}
    others = [name for name in every if name not in baseline and name not in empty]
    if settings.compare and others:
        sets[BASELINE] = tuple(baseline)
        sets |= {f"{BASELINE} + {name}": (*baseline, name) for name in others if len(every) > len(baseline) + 1}
    return sets


def _is_text(name: str) -> bool:
    """Tell whether a feature is of one text alone, such as `content.title`."""
    return name.rpartition(".")[2] in TEXTS


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if not _NAME.fullmatch(name):
            raise ConfigError(f'{name!r}: LightGBM takes no blank and none of " \\ , : [ ] {{ }} in a name; rename it')
