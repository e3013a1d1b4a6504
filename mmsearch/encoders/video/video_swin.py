"""Video Swin: a transformer over windows of space and time (arXiv:2106.13230), torchvision's implementation.

Letters: P clips, F frames, S side in pixels, T temporal positions, H x W positions in space, C channels.
"""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor

from mmsearch.config import Settings
from mmsearch.encoders.video.clip_tower import ClipTower, Published, Trunk
from mmsearch.errors import ConfigError
from mmsearch.extras import require
from mmsearch.torchvision_guard import guard_torchvision

SwinName = Literal["swin3d_t", "swin3d_s", "swin3d_b"]

_SIZES: dict[str, dict[str, Any]] = {
    "swin3d_t": {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24]},
    "swin3d_s": {"embed_dim": 96, "depths": [2, 2, 18, 2], "num_heads": [3, 6, 12, 24]},
    "swin3d_b": {"embed_dim": 128, "depths": [2, 2, 18, 2], "num_heads": [4, 8, 16, 32]},
}
_SHARED: dict[str, Any] = {"patch_size": [2, 4, 4], "window_size": [8, 7, 7], "stochastic_depth_prob": 0.1}
_KINETICS = Published(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), head="head.")


class VideoSwinSettings(Settings):
    """A Video Swin transformer; its published weights were trained on Kinetics."""

    type: Literal["video_swin"] = "video_swin"
    """This tower."""
    name: SwinName = "swin3d_t"
    """Which of torchvision's sizes."""
    args: dict[str, int | float | list[int]] = {}
    """Other sizes: `embed_dim`, `depths`, `num_heads`, `window_size`, `patch_size`, `stochastic_depth_prob`."""
    weights: str | None = None
    """torchvision's weights as safetensors (a file, folder or hub name), or a model trained here; None = at random."""

    def build(self, image_width: int, num_frames: int, image_size: int) -> ClipTower:  # noqa: ARG002 (the interface)
        """Make the tower with random weights; the picture tower is not used, frames may be of any number and size.

        Raises:
            ConfigError: `args` holds something unknown, or sizes that do not fit each other.
        """
        return ClipTower(SwinTrunk(self.name, **self.args), _KINETICS)


class SwinTrunk(Trunk):
    """Give features averaged over space, one vector a temporal position; its modules are named as torchvision's.

    torchvision's attention reads the weights of its children `qkv` and `proj` without calling them. Under ZeRO-3 that
    holds because DeepSpeed's engine gathers what is read during its `forward`; so call the model through the engine.

    Args:
        name: one of torchvision's sizes.
        **args: other sizes than those, see `VideoSwinSettings.args`.

    Raises:
        ConfigError: unknown arguments, or sizes that do not fit each other.
    """

    def __init__(self, name: SwinName, **args: Any) -> None:
        super().__init__()
        sizes = _SHARED | _SIZES[name] | args
        _check(name, sizes)
        guard_torchvision()
        swin = require("torchvision.models.video.swin_transformer", extra="train").SwinTransformer3d(**sizes)
        self.patch_embed, self.features, self.norm = swin.patch_embed, swin.features, swin.norm
        self.width: int = swin.num_features
        self.frames_per_token: int = sizes["patch_size"][0]

    def forward(self, clips: Tensor) -> Tensor:
        """Give [P, T, C] of normalised clips [P, 3, F, S, S]; T = F / `frames_per_token`, rounded up."""
        x = self.patch_embed(clips)  # [P, T, H, W, C]
        for stage in self.features:
            for block in stage if hasattr(stage, "__iter__") else (stage,):  # blocks, or the merging between them
                x = self.run(block, x)
        averaged: Tensor = self.norm(x).mean((2, 3))
        return averaged


def _check(name: str, sizes: dict[str, Any]) -> None:
    where = f"frames.args of {name}"
    known = sorted(_SHARED | _SIZES["swin3d_t"])
    if unknown := sorted(set(sizes) - set(known)):
        raise ConfigError(f"{where}: no such argument: {', '.join(unknown)}; there are {', '.join(known)}")
    for key in ("patch_size", "window_size"):
        if not isinstance(sizes[key], list) or len(sizes[key]) != 3 or min(sizes[key]) < 1:
            raise ConfigError(f"{where}: {key} is {sizes[key]}; it must be three numbers: frames, height, width")
    depths, heads = sizes["depths"], sizes["num_heads"]
    if not isinstance(depths, list) or not isinstance(heads, list) or len(depths) != len(heads) or sum(depths) < 2:
        raise ConfigError(
            f"{where}: depths {depths} and num_heads {heads} must have one number a stage, 2 blocks at least"
        )
    for stage, number in enumerate(heads):
        if (width := sizes["embed_dim"] * 2**stage) % number:
            raise ConfigError(f"{where}: stage {stage + 1} is {width} wide, which its {number} heads do not divide")
