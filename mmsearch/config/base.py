"""The base of every settings class."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Discriminator


class Settings(BaseModel):
    """Settings are frozen, closed to unknown keys, and stand in the module of the thing that they describe.

    No number is infinite or NaN: a limit may be large, but it is one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


def by_type(default: str) -> Discriminator:
    """Choose a member of a union of settings by its `type`; where none is written, the default.

    Each member has a field `type: Literal["NAME"] = "NAME"` and stands in the union as
    `Annotated[Member, Tag("NAME")]`.
    """

    def tag(value: Any) -> str:
        found = value.get("type", default) if isinstance(value, dict) else getattr(value, "type", default)
        return str(found)

    return Discriminator(tag)
