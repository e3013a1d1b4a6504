"""What an actor tells the driver, as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

from mmsearch import errors
from mmsearch.errors import DataError, MmsearchError
from serving.work_item import Done, Quarantined, Reason

#: Errors that a message alone makes; others come over as their parent.
_ERRORS = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, MmsearchError) and "__init__" not in vars(kind)
}


def to_json(result: Done | MmsearchError | None) -> str:
    """Write a result: a finished item, the error that ends the run, or nothing."""
    if isinstance(result, MmsearchError):
        name = type(result).__name__
        fallback = DataError if isinstance(result, DataError) else MmsearchError
        return json.dumps({"error": name if name in _ERRORS else fallback.__name__, "message": str(result)})
    return json.dumps(None if result is None else {"done": asdict(result)})


def from_json(text: str) -> Done | MmsearchError | None:
    """Read what `to_json` wrote."""
    tree = json.loads(text)
    if tree is None:
        return None
    if "error" in tree:
        return _ERRORS[tree["error"]](tree["message"])
    done = tree["done"]
    videos = (Quarantined(q["doc_id"], Reason(q["reason"]), q["detail"]) for q in done["quarantined"])
    return Done(done["key"], done["num_videos"], tuple(videos))
