"""The one door to optional and heavy libraries.

``av = require("av", extra="video")`` imports the library or raises an error that holds the pip line to type.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from mmsearch.errors import MissingExtraError


def require(module: str, *, extra: str) -> Any:
    """Import an optional library.

    Args:
        module: dotted name of the module to import.
        extra: the extra of mmsearch that installs it.

    Returns:
        The module (typed Any: most optional libraries carry no types).

    Raises:
        MissingExtraError: the library itself is absent. A library that is there and fails while it imports one of its
            own needs raises its own error, unchanged.
    """
    try:
        imported: ModuleType = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or module.split(".")[0] != error.name.split(".")[0]:
            raise
        raise MissingExtraError(
            f"this needs the library '{module}', which is absent; install it with: pip install 'mmsearch[{extra}]'"
        ) from error
    return imported
