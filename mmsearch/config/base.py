"""The base of every settings class."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """Settings are frozen, closed to unknown keys, and stand in the module of the thing that they describe."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)
