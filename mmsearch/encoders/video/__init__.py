"""Frame towers: the frames of a video to tokens over time."""

from typing import Annotated

from pydantic import Tag

from mmsearch.config import by_type
from mmsearch.encoders.video.clip_tower import ClipTower
from mmsearch.encoders.video.per_frame import PerFrameSettings, PerFrameTower
from mmsearch.encoders.video.tokens import FrameTokens
from mmsearch.encoders.video.video_swin import VideoSwinSettings
from mmsearch.encoders.video.x3d import X3DSettings

FrameTower = PerFrameTower | ClipTower
FrameTowerSettings = Annotated[
    Annotated[PerFrameSettings, Tag("per_frame")]
    | Annotated[VideoSwinSettings, Tag("video_swin")]
    | Annotated[X3DSettings, Tag("x3d")],
    by_type("per_frame"),
]

__all__ = [
    "ClipTower",
    "FrameTokens",
    "FrameTower",
    "FrameTowerSettings",
    "PerFrameSettings",
    "PerFrameTower",
    "VideoSwinSettings",
    "X3DSettings",
]
