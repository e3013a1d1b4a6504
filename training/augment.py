"""Random changes of pictures, on the device: each picture of a batch gets its own.

Letters: B pictures, S side in pixels.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from mmsearch.config import Settings

#: Weights of red, green and blue in the grey of a pixel (ITU-R BT.601, as PIL has it).
_LUMA = (0.299, 0.587, 0.114)


class AugmentSettings(Settings):
    """What may change in a picture. By default nothing does."""

    min_crop: float = Field(default=1.0, gt=0, le=1)
    """A rectangle is cut out and scaled back up; its side is drawn evenly from this share of S to the whole."""
    max_stretch: float = Field(default=1.0, ge=1)
    """Width : height of that rectangle is drawn, evenly in its logarithm, from 1 : max_stretch to max_stretch : 1."""
    flip: float = Field(default=0.0, ge=0, le=1)
    """Probability that left and right change places; 0 where words in the picture must stay readable."""
    colour: float = Field(default=0.0, ge=0, lt=1)
    """Brightness, contrast and saturation are each multiplied by a number from 1 - colour to 1 + colour."""
    grey: float = Field(default=0.0, ge=0, le=1)
    """Probability that a picture loses its colours."""
    erase: float = Field(default=0.0, ge=0, lt=1)
    """Side, as a share of S, of one square around a random pixel that is painted in the picture's mean colour."""


def augment(pictures: Tensor, settings: AugmentSettings) -> Tensor:
    """Crop and mirror, change colours, make grey, erase, in this order.

    Random resized crops follow arXiv:1409.4842 (section 6), but the side is drawn evenly, not the area; erasing is
    cutout (arXiv:1708.04552) with the picture's mean in place of the data set's. Numbers come from torch's global
    generator of the device; what is switched off draws none.

    Args:
        pictures: uint8 or float pixels in 0–255, [B, 3, S, S].
        settings: what may change.

    Returns:
        float pixels in 0–255, [B, 3, S, S].

    """
    with torch.autocast(pictures.device.type, enabled=False):  # places in bf16 would be off by half a pixel
        return _augmented(pictures.float(), settings)


def _augmented(pixels: Tensor, settings: AugmentSettings) -> Tensor:
    if len(pixels) == 0:
        return pixels
    if settings.min_crop < 1 or settings.max_stretch > 1 or settings.flip > 0:
        pixels = _cropped(pixels, settings)
    if settings.colour > 0:
        pixels = _recoloured(pixels, settings.colour)
    if settings.grey > 0:
        pixels = torch.where(_chosen(pixels, settings.grey), _grey(pixels), pixels)
    if settings.erase > 0:
        pixels = _erased(pixels, settings.erase)
    return pixels


def _cropped(pixels: Tensor, settings: AugmentSettings) -> Tensor:
    side, stretch, mirror = torch.rand(3, len(pixels), device=pixels.device)
    side = settings.min_crop + (1 - settings.min_crop) * side
    root = torch.exp((stretch - 0.5) * math.log(settings.max_stretch))  # square root of width : height
    size = torch.stack([side * root, side / root], 1).clamp(max=1)
    shift = (1 - size) * (2 * torch.rand(len(pixels), 2, device=pixels.device) - 1)
    sign = torch.where(mirror < settings.flip, -1.0, 1.0)
    return _resampled(pixels, torch.stack([size[:, 0] * sign, size[:, 1]], 1), shift)


def _resampled(pixels: Tensor, size: Tensor, shift: Tensor) -> Tensor:
    """Read rectangles bilinearly: sizes (x, y) as shares of S, negative = mirrored, centres shifted by `shift` S/2."""
    affine = torch.zeros(len(pixels), 2, 3, device=pixels.device)
    affine[:, 0, 0], affine[:, 1, 1] = size[:, 0], size[:, 1]
    affine[:, :, 2] = shift
    grid = F.affine_grid(affine, list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _recoloured(pixels: Tensor, strength: float) -> Tensor:
    brightness, contrast, saturation = 1 + strength * (2 * torch.rand(3, len(pixels), device=pixels.device) - 1)
    pixels = pixels * _each(brightness)
    mean = _grey(pixels).mean((1, 2, 3), keepdim=True)
    pixels = mean + (pixels - mean) * _each(contrast)
    grey = _grey(pixels)
    return (grey + (pixels - grey) * _each(saturation)).clamp(0, 255)


def _erased(pixels: Tensor, share: float) -> Tensor:
    """Paint a square in every picture; at the edges a part of it lies outside."""
    side = pixels.shape[-1]
    places = (torch.arange(side, device=pixels.device) + 0.5) / side
    near = (places - torch.rand(2, len(pixels), 1, device=pixels.device)).abs() < share / 2  # [2, B, S]: x and y
    inside = (near[0].unsqueeze(1) & near[1].unsqueeze(2)).unsqueeze(1)
    return torch.where(inside, pixels.mean((2, 3), keepdim=True), pixels)


def _grey(pixels: Tensor) -> Tensor:
    """[B, 3, S, S] to [B, 1, S, S]."""
    return (pixels * torch.tensor(_LUMA, device=pixels.device).view(3, 1, 1)).sum(1, keepdim=True)


def _chosen(pixels: Tensor, probability: float) -> Tensor:
    return _each(torch.rand(len(pixels), device=pixels.device) < probability)


def _each(values: Tensor) -> Tensor:
    """Line up one value a picture with its pixels: [B] to [B, 1, 1, 1]."""
    return values.view(-1, 1, 1, 1)
