"""`diagnostics.json` of a run: what each modality is worth to the model, and teacher against student.

`python -m training diagnose` writes it (that needs torch), the report reads it. Format 1 had no weights of the
fusion, and was always of mean vectors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from mmsearch.errors import DataError, FormatVersionError
from mmsearch.metrics.scored import Float64
from mmsearch.metrics.significance import percentile_interval
from mmsearch.types import Modality

NAME = "diagnostics.json"
FORMAT_VERSION = 2

_SPACES = ("cover", "frames", "perception", "content")
T = TypeVar("T")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Estimate(_Part):
    """A number with its 95 % interval (bootstrap); None = not defined."""

    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of_samples(cls, value: float, samples: Float64) -> Estimate:
        """Give a number with the middle 95 % of its bootstrap samples; what is not finite is None."""
        between = percentile_interval(samples)
        value_, low, high = (n if math.isfinite(n) else None for n in (value, between.low, between.high))
        return cls(value=value_, low=low, high=high)


class Change(_Part):
    """PNR of a space when a modality was taken away or shuffled, and that minus the PNR with everything in place.

    `num_videos` is the number of judged videos that have the modality.
    """

    pnr: Estimate
    change: Estimate
    num_videos: int


class Share(_Part):
    """The share of the fusion's weights that a modality gets: the mean over the judged videos that have it, 0 to 1.

    Beside it what it would be if all modalities of each of these videos got the same (`even`), and if all tokens did
    (`by_tokens`). The interval is of a bootstrap over the videos. Shares of different modalities are means over
    different videos, so they need not add up to 1.
    """

    share: Estimate
    even: float | None
    by_tokens: float | None
    num_videos: int


def _by_modality(found: dict[Modality, T]) -> dict[Modality, T]:
    return {modality: found[modality] for modality in Modality if modality in found}


class FusionWeights(_Part):
    """Gates or attention of a fusion by modality; `method` is the type of the fusion in the settings."""

    method: str
    shares: Annotated[dict[Modality, Share], AfterValidator(_by_modality)]


class SpaceDiagnosis(_Part):
    """A space: its PNR with everything in place, without each modality, and with each shuffled among the videos.

    `weights` is None where the fusion has no such thing as a gate or attention, and in files of format 1.
    """

    whole: Estimate
    left_out: Annotated[dict[Modality, Change], AfterValidator(_by_modality)]
    shuffled: Annotated[dict[Modality, Change], AfterValidator(_by_modality)]
    weights: FusionWeights | None = None


class Towers(_Part):
    """PNR of a space with the teacher's and with the student's query vectors, and student minus teacher."""

    teacher: Estimate
    student: Estimate
    change: Estimate


def _by_space(found: dict[str, T]) -> dict[str, T]:
    """Put the spaces of the model in their order, and others after them: a JSON file has them by the alphabet."""
    return {name: found[name] for name in (*_SPACES, *found) if name in found}


class Diagnostics(_Part):
    """The content of `diagnostics.json`.

    Args:
        format_version: of this file.
        run_hash: of the run whose model it is.
        corpus_hash: content hash of the corpus.
        judgments_hash: xxh3-128 of the judgments.
        num_queries: judged queries.
        num_judged: judged rows.
        num_shuffles: how often each modality was shuffled; the pairs of all are pooled.
        served: whether videos were scored by the mean of their codes or by all of them.
        spaces: by name of the space.
        towers: by name of the space.
    """

    format_version: int
    run_hash: str
    corpus_hash: str
    judgments_hash: str
    num_queries: int
    num_judged: int
    num_shuffles: int
    served: Literal["mean", "codes"] = "mean"
    spaces: Annotated[dict[str, SpaceDiagnosis], AfterValidator(_by_space)]
    towers: Annotated[dict[str, Towers], AfterValidator(_by_space)]


def parse_diagnostics(content: Mapping[str, Any], where: str) -> Diagnostics | None:
    """Check the content of a file; None when it is empty.

    Raises:
        FormatVersionError: a newer mmsearch wrote it.
        DataError: it is not what `python -m training diagnose` writes.
    """
    if not content:
        return None
    version = content.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise FormatVersionError(f"{where}: format {version}, this mmsearch reads {FORMAT_VERSION}; upgrade it")
    try:
        return Diagnostics.model_validate(dict(content))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{where}: {place}: {first['msg']}; run `python -m training diagnose` again") from None
