"""From stored pixels to what a picture tower was trained on."""

from __future__ import annotations

import torch
from torch import Tensor, nn

#: Mean and deviation of each channel in ImageNet, pixels in 0-1.
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

#: The same of the pictures that CLIP was trained on (arXiv:2103.00020, and most models after it).
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


class PixelTower(nn.Module):
    """What all picture towers share: they know their size, and normalise pixels by channel.

    Args:
        image_size: side of the pictures in pixels.
        mean: subtracted from each channel, pixels in 0-1.
        std: divides each channel then.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, image_size: int, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        super().__init__()
        self.image_size = image_size
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def normalised(self, images: Tensor) -> Tensor:
        """Give normalised pixels of uint8 or float ones in 0-255, of the same shape, in the tower's own type."""
        return (images.to(self.mean.dtype) / 255.0 - self.mean) / self.std
