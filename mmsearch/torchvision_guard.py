"""Make torchvision importable beside a torch that it was not built for.

There is no CPU wheel of torchvision on PyPI. Its CUDA wheel beside a CPU torch cannot load its `_C` library; it then
fails at import ("operator torchvision::nms does not exist"), and timm, open_clip and parts of transformers with it.
Only the schemas of two operators are missed at import; nothing here ever calls them. On a matching install this
module changes nothing.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

from mmsearch.extras import require

_SCHEMAS = (
    ("nms", "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"),
    ("qnms", "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"),
)


@cache
def guard_torchvision() -> Any:
    """Call before the first import of timm, open_clip, torchvision, or a vision model of transformers.

    Returns:
        None where torchvision is absent or its own library loads; otherwise the library that holds the two
        schemas (the cache keeps it alive: they vanish with it).
    """
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return None
    torch = require("torch", extra="train")
    for library in sorted(Path(spec.origin).parent.glob("_C*.so")):
        try:
            torch.ops.load_library(str(library))
        except OSError:
            continue
        return None
    fragment = torch.library.Library("torchvision", "FRAGMENT")
    for name, schema in _SCHEMAS:
        if not hasattr(torch.ops.torchvision, name):
            fragment.define(schema)
    return fragment
