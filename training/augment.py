"""Random crops of pictures, on the device."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def random_crop(pictures: Tensor, min_side: float) -> Tensor:
    """Cut a random square out of every picture and scale it back up.

    Args:
        pictures: uint8 pixels [B, 3, S, S].
        min_side: shortest side of the square as a share of S, in (0, 1]; 1 gives the pictures as they are.

    Returns:
        float pixels in 0–255, [B, 3, S, S].
    """
    pixels = pictures.float()
    if min_side >= 1 or len(pixels) == 0:
        return pixels
    side = min_side + (1 - min_side) * torch.rand(len(pixels), device=pixels.device)
    shift = (1 - side).unsqueeze(1) * (2 * torch.rand(len(pixels), 2, device=pixels.device) - 1)
    affine = torch.zeros(len(pixels), 2, 3, device=pixels.device)
    affine[:, 0, 0] = affine[:, 1, 1] = side
    affine[:, :, 2] = shift
    grid = F.affine_grid(affine, list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
