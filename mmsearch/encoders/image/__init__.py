"""Picture towers: covers and frames to tokens."""

from typing import Annotated

from pydantic import Tag

from mmsearch.config import by_type
from mmsearch.encoders.image.clip_tower import ClipImageSettings, ClipImageTower
from mmsearch.encoders.image.open_clip_tower import OpenClipImageSettings, OpenClipImageTower
from mmsearch.encoders.image.timm_tower import TimmImageSettings, TimmImageTower

ImageTower = TimmImageTower | OpenClipImageTower | ClipImageTower
ImageTowerSettings = Annotated[
    Annotated[TimmImageSettings, Tag("timm")]
    | Annotated[OpenClipImageSettings, Tag("open_clip")]
    | Annotated[ClipImageSettings, Tag("clip")],
    by_type("timm"),
]

__all__ = [
    "ClipImageSettings",
    "ClipImageTower",
    "ImageTower",
    "ImageTowerSettings",
    "OpenClipImageSettings",
    "OpenClipImageTower",
    "TimmImageSettings",
    "TimmImageTower",
]
