"""X3D: a small convolutional video network, the baseline for frames (arXiv:2004.04730)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mmsearch.config import Settings
from mmsearch.encoders.video.clip_tower import ClipTower, Published
from mmsearch.encoders.video.x3d_blocks import X3DTrunk

X3DName = Literal["x3d_xs", "x3d_s", "x3d_m", "x3d_l"]

_DEPTHS: dict[X3DName, float] = {"x3d_xs": 2.2, "x3d_s": 2.2, "x3d_m": 2.2, "x3d_l": 5.0}
_KINETICS = Published(mean=(0.45, 0.45, 0.45), std=(0.225, 0.225, 0.225), head="blocks.5.")


class X3DSettings(Settings):
    """An X3D network; its published weights were trained on Kinetics.

    XS, S and M are one network, whose weights were trained at 4 frames of 160 pixels, 13 of 160 and 16 of 224; L is
    deeper, trained at 16 of 312. Any number of frames and any side work.
    """

    type: Literal["x3d"] = "x3d"
    """This tower."""
    name: X3DName = "x3d_s"
    """Which of the published sizes."""
    width_factor: float = Field(default=2.0, gt=0)
    """Expansion of the width; another than 2 has no published weights."""
    depth_factor: float | None = Field(default=None, gt=0)
    """Expansion of the depth; None = that of `name`."""
    weights: str | None = None
    """pytorchvideo's weights as safetensors (a file, folder or hub name), or a model trained here; None = at random."""

    def build(self, image_width: int, num_frames: int, image_size: int) -> ClipTower:  # noqa: ARG002 (the interface)
        """Make the tower with random weights; the picture tower is not used, frames may be of any number and size."""
        depth = _DEPTHS[self.name] if self.depth_factor is None else self.depth_factor
        return ClipTower(X3DTrunk(width_factor=self.width_factor, depth_factor=depth), _KINETICS)
