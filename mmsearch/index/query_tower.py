"""What a query tower folder says of itself, and whether it belongs to some vectors."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mmsearch.errors import DataError, FingerprintError
from mmsearch.index.fingerprint import check_same
from mmsearch.records import parse_record
from mmsearch.types import Selection, Space

#: Version of `query_tower.json`. A reader refuses greater ones. 2: codes, and how a query selects among them. 3: the
#: model's precision, and its large arrays may lie in files beside it.
FORMAT_VERSION = 3
QUERY_TOWER_FILE = "query_tower.json"
TowerPrecision = Literal["fp32", "int8"]


class TowerSpace(BaseModel):
    """A space of a query tower; `output` is the output of the ONNX model that gives its query vectors.

    Documents have `num_codes` vectors in it; `selection` and `sharpness` say how a query selects among them
    (`mmsearch.index.codes.score_rows`). With one code they mean nothing.
    """

    model_config = ConfigDict(frozen=True, strict=True)

    name: str
    dim: Annotated[int, Field(ge=1)]
    fingerprint: Annotated[str, Field(min_length=1)]
    output: str
    num_codes: Annotated[int, Field(ge=1)] = 1
    selection: Selection = "max"
    sharpness: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0
    #: Fingerprints of older vectors that the query vectors were trained to find as well.
    compatible_with: tuple[str, ...] = ()

    @property
    def space(self) -> Space:
        """The space, without how it is scored."""
        return Space(self.name, self.dim, self.fingerprint, self.num_codes)


class QueryTowerFile(BaseModel):
    """The content of `query_tower.json`; `max_length` is in tokens, `precision` that of most weights of the model."""

    model_config = ConfigDict(frozen=True, strict=True)

    format_version: int
    precision: TowerPrecision = "fp32"
    max_length: Annotated[int, Field(ge=1, le=8192)]
    spaces: Annotated[tuple[TowerSpace, ...], Field(min_length=1)]


def read_query_tower(folder: Path) -> QueryTowerFile:
    """Read `query_tower.json` of a query tower folder.

    Raises:
        DataError: there is no such file.
        CorruptIndexError: the file does not parse.
        FormatVersionError: a newer mmsearch wrote it.
    """
    path = folder / QUERY_TOWER_FILE
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); export the query tower of the run") from error
    return parse_record(QueryTowerFile, data, path, version=FORMAT_VERSION, advice="export the query tower again")


def check_tower_spaces(tower: Iterable[Space], vectors: Iterable[Space], tower_at: str, vectors_at: str) -> None:
    """Refuse a query tower that was not made with the vectors.

    Every space of the vectors must be one of the tower's, with the same dimension, number of codes and fingerprint. The
    tower may have more spaces than there are vectors for.

    Raises:
        FingerprintError: naming the space, both places, and what they hold.
    """
    offered = {space.name: space for space in tower}
    for space in vectors:
        match = offered.get(space.name)
        if match is None:
            raise FingerprintError(
                f"space '{space.name}': {vectors_at} has vectors of it, and {tower_at} makes no query vectors for it "
                f"(it makes: {', '.join(sorted(offered)) or 'none'}); export the query tower of the same run"
            )
        check_same(space.name, match.fingerprint, space.fingerprint, tower_at, vectors_at)
        if match.dim != space.dim:
            raise FingerprintError(
                f"space '{space.name}': {tower_at} has dimension {match.dim}, {vectors_at} has {space.dim}"
            )
        if match.num_codes != space.num_codes:
            raise FingerprintError(
                f"space '{space.name}': {tower_at} was made for {match.num_codes} codes a document, {vectors_at} has "
                f"{space.num_codes}; export the query tower as the vectors are served"
            )
