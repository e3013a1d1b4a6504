"""Masked autoencoding: learn a picture tower from pictures alone, by filling in what was hidden (arXiv:2111.06377).

Letters: B pictures, S side in pixels, N patches of a picture, K kept ones, P numbers in a patch, W width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from mmsearch.config import Settings
from mmsearch.encoders.mae_decoder import PixelDecoder
from mmsearch.encoders.patches import KeepPatches, draw_kept, patchify, unpatchify
from mmsearch.errors import ConfigError
from mmsearch.extras import require
from mmsearch.torchvision_guard import guard_torchvision

#: Added to a patch's variance before its root is taken; a plain patch gives targets of 0.
_LEAST_VARIANCE = 1e-6

#: What stands in pictures where a patch was hidden.
_GREY = 128


class MaeSettings(Settings):
    """How pictures are hidden and filled in. The defaults are the paper's for ViT-B/16 and ViT-L/16."""

    mask_ratio: float = Field(default=0.75, gt=0, lt=1)
    """Share of the patches that is hidden from the tower."""
    decoder_depth: int = Field(default=8, ge=1)
    """Blocks of the decoder, which is thrown away after training."""
    decoder_width: int = Field(default=512, ge=4, multiple_of=4)
    """Its width; a multiple of 4 and of `decoder_heads`."""
    decoder_heads: int = Field(default=16, ge=1)
    """Its attention heads."""
    normalise_pixels: bool = True
    """Rebuild each patch relative to its own mean and deviation: better features, says the paper (table 1d)."""

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> MaeSettings:
        if self.decoder_width % self.decoder_heads:
            raise ValueError(f"decoder_heads {self.decoder_heads} do not divide decoder_width {self.decoder_width}")
        return self

    def build(self, tower: nn.Module) -> MaskedAutoencoder:
        """Make the autoencoder around a tower."""
        return MaskedAutoencoder(
            tower,
            mask_ratio=self.mask_ratio,
            decoder_depth=self.decoder_depth,
            decoder_width=self.decoder_width,
            decoder_heads=self.decoder_heads,
            normalise_pixels=self.normalise_pixels,
        )


@dataclass(frozen=True, slots=True)
class MaePictures:
    """What was hidden and what was made of it: uint8 pixels, each [B, 3, S, S]."""

    original: Tensor
    """The pictures as they are."""
    masked: Tensor
    """Grey where patches were hidden."""
    rebuilt: Tensor
    """Visible patches as they are, hidden ones as the decoder thinks them."""


class MaskedAutoencoder(nn.Module):
    """Hide most patches of pictures, encode the rest with the tower, rebuild the hidden pixels with a small decoder.

    The tower sees the kept patches alone and spends nothing on the others. It is changed in one place, for good: the
    module that drops patches in its ViT is ours now, which does as before unless this autoencoder calls. Its state has
    the same keys.

    Args:
        tower: a picture tower over a plain vision transformer of timm (`vit`, `mean`, `std`), with or without class
            and register tokens.
        mask_ratio: share of the patches that is hidden, in (0, 1); at least one is hidden and one kept.
        decoder_depth: blocks of the decoder.
        decoder_width: a multiple of 4 and of `decoder_heads`.
        decoder_heads: attention heads of the decoder.
        normalise_pixels: targets are the pixels of a patch less their mean, over their (unbiased) deviation.

    Raises:
        ConfigError: the tower is no plain vision transformer (a convolutional stem would let hidden pixels through),
            its patches do not cover the picture, or the picture is one patch.
    """

    def __init__(
        self,
        tower: nn.Module,
        *,
        mask_ratio: float = 0.75,
        decoder_depth: int = 8,
        decoder_width: int = 512,
        decoder_heads: int = 16,
        normalise_pixels: bool = True,
    ) -> None:
        super().__init__()
        vit = _plain_vit(tower)
        self.tower: Any = tower
        self.normalise_pixels = normalise_pixels
        self.patch_size: tuple[int, int] = tuple(vit.patch_embed.patch_size)
        self.grid: tuple[int, int] = tuple(vit.patch_embed.grid_size)
        self.num_patches = self.grid[0] * self.grid[1]
        self.num_kept = min(max(round(self.num_patches * (1 - mask_ratio)), 1), self.num_patches - 1)
        if not isinstance(vit.patch_drop, KeepPatches):
            vit.patch_drop = KeepPatches(vit.patch_drop, vit.num_prefix_tokens)
        self.decoder = PixelDecoder(
            vit.embed_dim,
            self.grid,
            3 * self.patch_size[0] * self.patch_size[1],
            width=decoder_width,
            depth=decoder_depth,
            heads=decoder_heads,
            prefix=vit.num_prefix_tokens,
            norm=isinstance(vit.norm, nn.Identity),  # ViTs that average their tokens keep their norm for afterwards
        )

    def forward(self, images: Tensor) -> Tensor:
        """Give the loss: the mean over hidden patches of the mean squared error of their target numbers.

        Args:
            images: uint8 or float pixels in 0–255, [B, 3, S, S]. None at all (B = 0) give a loss of 0.

        Returns:
            A scalar, float32. Which patches are hidden is drawn from torch's global generator of the device.
        """
        kept = draw_kept(len(images), self.num_patches, self.num_kept, images.device)
        target = patchify(self._normalised(images), self.patch_size)
        if self.normalise_pixels:
            mean, deviation = _statistics(target)
            target = (target - mean) / deviation
        error = (self._decode(images, kept).float() - target).square().mean(-1)
        hidden = _hidden(kept, self.num_patches)
        return torch.where(hidden, error, 0.0).sum() / hidden.sum().clamp(min=1)

    @torch.no_grad()
    def rebuild(self, images: Tensor, seed: int = 0) -> MaePictures:
        """Hide patches and fill them in, for looking at.

        With normalised pixels the decoder knows no brightness: its patches are given the mean and deviation of the
        true ones, so colours look better than they were guessed. Call it in eval mode, else dropout plays in.

        Args:
            images: uint8 or float pixels in 0–255, [B, 3, S, S].
            seed: of which patches are hidden; the global generators are left alone, and a picture keeps its mask
                from one validation to the next.
        """
        kept = draw_kept(len(images), self.num_patches, self.num_kept, images.device, seed)
        guess = self._decode(images, kept).float()
        true = patchify(self._normalised(images), self.patch_size)
        if self.normalise_pixels:
            mean, deviation = _statistics(true)
            guess = guess * deviation + mean
        original = _uint8(images)
        visible = patchify(original, self.patch_size)
        hidden = _hidden(kept, self.num_patches).unsqueeze(-1)
        pixels = unpatchify(guess, self.patch_size, self.grid) * self.tower.std.float() + self.tower.mean.float()
        guessed = patchify(_uint8(255 * pixels), self.patch_size)
        masked = torch.where(hidden, torch.full_like(visible, _GREY), visible)
        rebuilt = torch.where(hidden, guessed, visible)
        return MaePictures(original, *(unpatchify(p, self.patch_size, self.grid) for p in (masked, rebuilt)))

    def encode(self, images: Tensor, kept: Tensor) -> Tensor:
        """Encode kept patches alone: [B, 3, S, S] and their numbers [B, K] to [B, prefix + K, W]."""
        with self.tower.vit.patch_drop.keeping(kept):
            tokens: Tensor = self.tower(images)
        return tokens

    def _decode(self, images: Tensor, kept: Tensor) -> Tensor:
        """Give the decoder's numbers for all patches, [B, N, P]."""
        numbers: Tensor = self.decoder(self.encode(images, kept), kept)
        return numbers

    def _normalised(self, images: Tensor) -> Tensor:
        """Give pixels as the tower sees them, in float32 whatever the tower computes in: targets are not rounded."""
        pixels: Tensor = (images.float() / 255.0 - self.tower.mean.float()) / self.tower.std.float()
        return pixels


def _plain_vit(tower: nn.Module) -> Any:
    """Give a tower's vision transformer, if hidden patches can be kept from it."""
    guard_torchvision()
    kind = require("timm.models.vision_transformer", extra="train").VisionTransformer
    vit: Any = getattr(tower, "vit", None)
    if not isinstance(vit, kind):
        found = type(tower if vit is None else vit).__name__
        raise ConfigError(f"masked autoencoding needs a plain vision transformer of timm (vit_*, deit_*), not {found}")
    cut = getattr(vit.patch_embed, "proj", None)
    if not isinstance(cut, nn.Conv2d) or cut.kernel_size != cut.stride or cut.padding != (0, 0):
        raise ConfigError(
            f"masked autoencoding needs patches cut by one convolution; {type(vit.patch_embed).__name__} mixes them, "
            "so that hidden pixels would be seen"
        )
    if cut.kernel_size != tuple(vit.patch_embed.patch_size) or vit.patch_embed.num_patches < 2:
        raise ConfigError("masked autoencoding needs at least two patches in a picture; take a smaller patch_size")
    side, patch = vit.patch_embed.img_size, vit.patch_embed.patch_size
    if side[0] % patch[0] or side[1] % patch[1]:
        raise ConfigError(f"image_size {side[0]} is no multiple of the patch_size {patch[0]}: its rim would be unseen")
    return vit


def _statistics(patches: Tensor) -> tuple[Tensor, Tensor]:
    """Give mean and deviation of each patch, [B, N, 1]."""
    mean = patches.mean(-1, keepdim=True)
    # by hand: torch.var warns about batches without any picture
    variance = (patches - mean).square().sum(-1, keepdim=True) / (patches.shape[-1] - 1)
    return mean, (variance + _LEAST_VARIANCE).sqrt()


def _hidden(kept: Tensor, patches: int) -> Tensor:
    """Give True where a patch is hidden: [B, K] to [B, N]."""
    everywhere = torch.ones(len(kept), patches, dtype=torch.bool, device=kept.device)
    return everywhere.scatter(1, kept, value=False)


def _uint8(pixels: Tensor) -> Tensor:
    return pixels if pixels.dtype == torch.uint8 else pixels.round().clamp(0, 255).to(torch.uint8)
