"""The picture tower: a vision transformer of timm, from pixels to tokens."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from mmsearch.config import Settings
from mmsearch.encoders.torchvision_guard import guard_torchvision
from mmsearch.errors import ConfigError
from mmsearch.extras import require


class ImageTowerSettings(Settings):
    """A ViT by its timm name, from `vit_tiny_patch16_224` to `vit_large_patch14_clip_336`; sizes may be changed."""

    name: str = "vit_tiny_patch16_224"
    """Name of a vision transformer in timm."""
    image_size: int = Field(default=224, ge=8)
    """Side of the pictures in pixels; the prepared corpus must have been made at this size."""
    pretrained: bool = False
    """Take timm's weights: from its local cache, or from the hub, if the network is there."""
    args: dict[str, int | float | str | bool] = {}
    """Further arguments of the timm model: `patch_size`, `embed_dim`, `depth`, `num_heads`, `drop_path_rate` …"""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Subtracted from the pixels (in 0–1) of each channel; the ImageNet mean."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Divides the pixels of each channel then; the ImageNet standard deviation."""

    def build(self) -> ImageTower:
        """Make the tower."""
        return ImageTower(
            self.name,
            image_size=self.image_size,
            pretrained=self.pretrained,
            mean=self.mean,
            std=self.std,
            **self.args,
        )


class ImageTower(nn.Module):
    """Encode pictures with a vision transformer (arXiv:2010.11929).

    Args:
        name: timm's name of the model.
        image_size: side of the pictures in pixels.
        pretrained: take timm's weights.
        mean: per channel, of pixels in 0–1.
        std: per channel, of pixels in 0–1.
        **args: passed on to timm.

    Raises:
        ConfigError: timm knows no such vision transformer, or the arguments do not fit it.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        name: str,
        *,
        image_size: int,
        pretrained: bool = False,
        mean: tuple[float, float, float] = (0.485, 0.456, 0.406),
        std: tuple[float, float, float] = (0.229, 0.224, 0.225),
        **args: Any,
    ) -> None:
        super().__init__()
        guard_torchvision()
        timm = require("timm", extra="train")
        try:
            self.vit: Any = timm.create_model(name, pretrained=pretrained, num_classes=0, img_size=image_size, **args)
        except (RuntimeError, TypeError, AssertionError) as error:
            raise ConfigError(f"image tower '{name}' with {args}: timm says: {error}") from error
        if not hasattr(self.vit, "patch_embed") or not hasattr(self.vit, "embed_dim"):
            raise ConfigError(f"image tower '{name}' is not a vision transformer of timm")
        self.width: int = self.vit.embed_dim
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Give tokens of pictures: uint8 pixels [B, 3, S, S] to [B, N, W], class and register tokens first."""
        pixels = (images.to(self.mean.dtype) / 255.0 - self.mean) / self.std
        tokens: Tensor = self.vit.forward_features(pixels)
        return tokens

    def pool(self, tokens: Tensor) -> Tensor:
        """Give one vector a picture, [B, N, W] to [B, W]: the class token or the mean, as the model was made."""
        pooled: Tensor = self.vit.forward_head(tokens, pre_logits=True)
        return pooled

    def grid(self, tokens: Tensor, side: int) -> Tensor:
        """Average the patches into side x side regions, read row by row: [B, N, W] to [B, side * side, W]."""
        patches = tokens[:, self.vit.num_prefix_tokens :]
        height, width = self.vit.patch_embed.grid_size
        square = patches.transpose(1, 2).reshape(len(tokens), self.width, height, width)
        return F.adaptive_avg_pool2d(square, side).flatten(2).transpose(1, 2)
