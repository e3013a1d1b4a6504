"""Small JSON files that carry a `format_version`: read strictly, or refused with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from mmsearch.errors import CorruptIndexError, FormatVersionError, IntegrityError

Record = TypeVar("Record", bound=BaseModel)


class _Versioned(BaseModel):
    format_version: int


def parse_record(
    kind: type[Record],
    data: bytes,
    path: Path,
    *,
    version: int,
    advice: str,
    error: type[IntegrityError] = CorruptIndexError,
) -> Record:
    """Read the bytes of such a file.

    Args:
        kind: what it must hold.
        data: its bytes.
        path: where they come from, for messages.
        version: the newest version that this code reads; of a newer one nothing but its number is looked at.
        advice: what to do about a file that does not parse.
        error: what to raise then.

    Raises:
        FormatVersionError: a newer mmsearch wrote it.
        IntegrityError: it does not parse (`error`); the first problem is named.
    """
    try:
        found = _Versioned.model_validate_json(data).format_version
        if found > version:
            raise FormatVersionError(
                f"{path}: format {found}, and this mmsearch reads up to {version}; install a newer mmsearch"
            )
        return kind.model_validate_json(data)
    except ValidationError as refused:
        problem = refused.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise error(f"{path}: {where or 'file'}: {problem['msg']}; {advice}") from None
