"""Frame towers: the frames of a video to tokens over time."""

from mmsearch.encoders.video.per_frame import FrameTower, FrameTowerSettings

__all__ = ["FrameTower", "FrameTowerSettings"]
