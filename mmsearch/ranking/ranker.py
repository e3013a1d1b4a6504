"""A final ranker: trees, the features that they read, and the model whose features these are."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from mmsearch.errors import DataError, FingerprintError, IntegrityError
from mmsearch.files import fsync_folder, hash_bytes, make_folder, write_bytes, write_json
from mmsearch.index.query_tower import TowerSpace, read_query_tower
from mmsearch.metrics.scored import Float64
from mmsearch.ranking.lambdamart import Trees
from mmsearch.ranking.linear import LinearRanker
from mmsearch.records import parse_record
from mmsearch.scoring import FeatureScorer, RankFeatures

FORMAT_VERSION = 1
RANKER_FILE, MODEL_FILE, PAGE_FILE = "ranker.json", "model.txt", "report.html"


class RankedSpace(BaseModel):
    """A space whose scores the trees learned from: which model made it, and how codes become a score."""

    model_config = ConfigDict(frozen=True)

    name: str
    fingerprint: str
    num_codes: Annotated[int, Field(ge=1)]
    selection: str
    sharpness: float

    @classmethod
    def of(cls, space: TowerSpace) -> RankedSpace:
        """Take from a query tower what a score depends on."""
        return cls.model_validate(space.model_dump(include=set(cls.model_fields)))

    @property
    def scoring(self) -> str:
        """Say how the codes become a score."""
        if self.num_codes == 1:
            return "one vector"
        return f"{self.num_codes} codes, {self.selection}, sharpness {self.sharpness:g}"


class RankerFile(BaseModel):
    """The content of `ranker.json`."""

    model_config = ConfigDict(frozen=True)

    format_version: Literal[1] = 1
    features: tuple[str, ...]
    """Features of the index, in the order of the trees' first columns."""
    columns: tuple[str, ...]
    """The user's columns, which follow them."""
    derived: dict[str, tuple[str, ...]]
    """Features that are made of spaces, and of which."""
    spaces: tuple[RankedSpace, ...]
    model: str
    """xxh3-128 of `model.txt`."""
    linear: LinearRanker | None
    """What is added to the scores of the trees."""
    settings: dict[str, Any]
    inputs: dict[str, Any]
    """Names and hashes of the tables and the generation of the index."""
    counts: dict[str, int]
    """Rounds, and queries and graded videos that were learned from, stopped by, and measured on."""
    shares: dict[str, float]
    """How much of what moves the scores of the measured videos is each feature's, 0 to 1."""
    figures: dict[str, Any]
    versions: dict[str, str]


class FinalRanker:
    """Scores that put the candidates of a query in order, from their rank features and the user's columns.

    Safe for threads.

    See also:
        mmsearch.ranking.fit: makes one.
    """

    def __init__(self, told: RankerFile, trees: Trees, folder: Path | str = "the ranker") -> None:
        self.told, self._trees, self._folder = told, trees, folder

    @classmethod
    def load(cls, folder: Path | str) -> FinalRanker:
        """Read a ranker.

        Raises:
            DataError: there is none.
            IntegrityError: a file is not what was written.
            FormatVersionError: a newer mmsearch wrote it.
            MissingExtraError: LightGBM is not installed.
        """
        folder = Path(folder)
        try:
            told, text = (folder / RANKER_FILE).read_bytes(), (folder / MODEL_FILE).read_bytes()
        except OSError as error:
            raise DataError(
                f"{error.filename}: cannot be read ({error.strerror}); give a folder that `mmsearch rank fit` wrote"
            ) from error
        file = parse_record(
            RankerFile,
            told,
            folder / RANKER_FILE,
            version=FORMAT_VERSION,
            advice="fit the ranker again",
            error=IntegrityError,
        )
        if hash_bytes(text) != file.model:
            raise IntegrityError(f"{folder / MODEL_FILE}: is not the file that was written; fit the ranker again")
        return cls(file, Trees(text.decode(), file.linear), folder)

    def check(self, scorer: FeatureScorer) -> None:
        """Refuse features that are not those that the trees learned from.

        Raises:
            FingerprintError: a space is of another model, or its codes are scored in another way.
            DataError: a feature is absent, or made of other spaces.
        """
        index, made = scorer.index, derived_parts(scorer)
        absent = [name for name in self.told.features if name not in scorer.names]
        other = [name for name, parts in self.told.derived.items() if made.get(name, parts) != parts]
        if absent or other:
            lacks = f"lacks: {', '.join(absent)}" if absent else f"makes of other spaces: {', '.join(other)}"
            raise DataError(
                f"{self._folder} was fitted on features that generation {index.generation} {lacks}; "
                "refresh the index with the same settings, or fit the ranker on this one"
            )
        for version in index.versions:
            held = {space.name: RankedSpace.of(space) for space in read_query_tower(version.query_tower).spaces}
            for space in self.told.spaces:
                _check_space(space, held.get(space.name), self._folder, index.generation)

    def score(self, features: RankFeatures, columns: Mapping[str, Sequence[float]] | None = None) -> Float64:
        """Give the scores of candidates, [docs]: higher = better, to be compared within a query alone.

        A candidate that has no feature at all (not in the index, or the query says nothing) and no number of the
        user's has no score: NaN.

        Args:
            features: what `FeatureScorer.score` gives.
            columns: the user's columns by name, [docs] each, in the order of the candidates; NaN where a number is
                missing.

        Raises:
            DataError: a feature or column is absent, or a column has another length.
        """
        values = [np.where(missing, np.nan, value) for value, missing in map(features.column, self.told.features)]
        num_docs = len(features.doc_ids)
        for name in self.told.columns:
            if columns is None or name not in columns:
                raise DataError(
                    f"{self._folder} was fitted with the column '{name}', which is absent; give a number for each "
                    f"candidate: score(features, columns={{'{name}': […]}})"
                )
            values.append(np.asarray(columns[name], np.float64))
            if values[-1].shape != (num_docs,):
                raise DataError(
                    f"the column '{name}' has shape {list(values[-1].shape)}; give one number for each of the "
                    f"{num_docs} candidates, NaN where it is missing"
                )
        return self._trees.score(np.stack(values, axis=1, dtype=np.float64))


def derived_parts(scorer: FeatureScorer) -> dict[str, tuple[str, ...]]:
    """Give the features that are made of spaces, and of which."""
    poly = {name: (space,) for space, name in scorer.poly.items()}
    return poly | {feature.name: feature.parts for feature in scorer.derived}


def ranked_spaces(scorer: FeatureScorer, features: Sequence[str]) -> tuple[RankedSpace, ...]:
    """Give the spaces that some features depend on."""
    made = derived_parts(scorer)
    needed = {space for name in features for space in made.get(name, (name,))}
    spaces = read_query_tower(scorer.index.query_tower).spaces
    return tuple(RankedSpace.of(space) for space in spaces if space.name in needed)


def check_free(folder: Path) -> None:
    """Refuse a folder that holds something.

    Raises:
        DataError: it does.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: is there already; choose another folder, or remove it")


def write_ranker(folder: Path, told: RankerFile, text: str, page: str) -> None:
    """Write a whole folder at once: beside it, then renamed.

    Raises:
        DataError: the folder holds something, or the disk refuses.
    """
    check_free(folder)
    beside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    try:
        make_folder(beside)
        write_bytes(beside / MODEL_FILE, text.encode())
        write_bytes(beside / PAGE_FILE, page.encode())
        write_json(beside / RANKER_FILE, told.model_dump(mode="json"))
        os.replace(beside, folder)
        fsync_folder(folder.parent)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _check_space(fitted: RankedSpace, held: RankedSpace | None, folder: Path | str, generation: str) -> None:
    advice = "fit the ranker again on this index, or serve the generation that it was fitted on"
    if held is None or held.fingerprint != fitted.fingerprint:
        other = "lacks it" if held is None else f"has {held.fingerprint}"
        raise FingerprintError(
            f"space '{fitted.name}': {folder} was fitted on vectors with fingerprint {fitted.fingerprint}, generation "
            f"{generation} {other}: other models have other scores; {advice}"
        )
    if held.scoring != fitted.scoring:
        raise FingerprintError(
            f"space '{fitted.name}': {folder} was fitted on scores of {fitted.scoring}, generation {generation} has "
            f"{held.scoring}; {advice}"
        )
