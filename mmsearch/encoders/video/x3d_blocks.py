"""The blocks of X3D (arXiv:2004.04730, table 1 and section 3): bottlenecks with a depthwise 3x3x3 convolution.

Modules are named as in pytorchvideo, so that its published weights load by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from torch import Tensor, nn

from mmsearch.encoders.video.clip_tower import Trunk


class Stem(nn.Module):
    """Halve the side with a 1x3x3 convolution, look along time with a depthwise 5x1x1 one, normalise."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Sequential()
        # The published names are crossed: `conv_t` is the one over space, `conv_xy` the one over time.
        self.conv.add_module("conv_t", nn.Conv3d(3, width, (1, 3, 3), (1, 2, 2), (0, 1, 1), bias=False))
        self.conv.add_module("conv_xy", nn.Conv3d(width, width, (5, 1, 1), 1, (2, 0, 0), groups=width, bias=False))
        self.norm = nn.BatchNorm3d(width)
        self.activation = nn.ReLU()

    def forward(self, clips: Tensor) -> Tensor:
        """[P, 3, F, S, S] to [P, C, F, S/2, S/2]."""
        out: Tensor = self.activation(self.norm(self.conv(clips)))
        return out


class SqueezeExcitation(nn.Module):
    """Scale each channel by a gate computed from all channels' means (arXiv:1709.01507)."""

    def __init__(self, width: int, squeezed: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv3d(width, squeezed, 1), nn.ReLU(), nn.Conv3d(squeezed, width, 1), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """[P, C, F, H, W] to the same shape."""
        gate: Tensor = self.block(x.mean((2, 3, 4), keepdim=True))
        return x * gate


class Bottleneck(nn.Module):
    """Widen, look around depthwise in space and time, narrow again; Swish after the middle convolution."""

    def __init__(self, width_in: int, inner: int, width: int, stride: int, *, squeeze: bool) -> None:
        super().__init__()
        self.conv_a = nn.Conv3d(width_in, inner, 1, bias=False)
        self.norm_a = nn.BatchNorm3d(inner)
        self.act_a = nn.ReLU()
        self.conv_b = nn.Conv3d(inner, inner, 3, (1, stride, stride), 1, groups=inner, bias=False)
        gate = SqueezeExcitation(inner, round_width(inner / 16)) if squeeze else nn.Identity()
        self.norm_b = nn.Sequential(nn.BatchNorm3d(inner), gate)
        self.act_b = nn.SiLU()
        self.conv_c = nn.Conv3d(inner, width, 1, bias=False)
        self.norm_c = nn.BatchNorm3d(width)

    def forward(self, x: Tensor) -> Tensor:
        """[P, C_in, F, H, W] to [P, C, F, H / stride, W / stride]."""
        x = self.act_a(self.norm_a(self.conv_a(x)))
        x = self.act_b(self.norm_b(self.conv_b(x)))
        out: Tensor = self.norm_c(self.conv_c(x))
        return out


class ResBlock(nn.Module):
    """Add a bottleneck to its input, which is projected where the size changes (normalised where the width does)."""

    def __init__(self, width_in: int, inner: int, width: int, stride: int, *, squeeze: bool) -> None:
        super().__init__()
        self.branch1_conv: nn.Module = nn.Identity()
        self.branch1_norm: nn.Module = nn.Identity()
        if width_in != width or stride > 1:
            self.branch1_conv = nn.Conv3d(width_in, width, 1, (1, stride, stride), bias=False)
        if width_in != width:
            self.branch1_norm = nn.BatchNorm3d(width)
        self.branch2 = Bottleneck(width_in, inner, width, stride, squeeze=squeeze)
        self.activation = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """[P, C_in, F, H, W] to [P, C, F, H / stride, W / stride]."""
        out: Tensor = self.activation(self.branch1_norm(self.branch1_conv(x)) + self.branch2(x))
        return out


class ResStage(nn.Module):
    """Halve the side in the first block; every other block, the first among them, has squeeze-and-excitation."""

    def __init__(self, width_in: int, width: int, depth: int) -> None:
        super().__init__()
        inner = int(2.25 * width)
        self.res_blocks = nn.ModuleList(
            ResBlock(width if i else width_in, inner, width, 1 if i else 2, squeeze=i % 2 == 0) for i in range(depth)
        )

    def forward(self, x: Tensor, run: Callable[[nn.Module, Tensor], Tensor]) -> Tensor:
        """[P, C_in, F, H, W] to [P, C, F, H/2, W/2]; `run` calls each block."""
        for block in self.res_blocks:
            x = run(block, x)
        return x


class X3DTrunk(Trunk):
    """The network up to the last stage's features, averaged over space.

    Args:
        width_factor: expansion of the width; the published sizes have 2.
        depth_factor: expansion of the depth; 2.2 for XS, S and M, 5 for L.
    """

    frames_per_token = 1

    def __init__(self, *, width_factor: float, depth_factor: float) -> None:
        super().__init__()
        width = round_width(12 * width_factor)
        self.blocks = nn.ModuleList([Stem(width)])
        for base, repeats in ((12, 1), (24, 2), (48, 5), (96, 3)):
            width_in, width = width, round_width(base * width_factor)
            self.blocks.append(ResStage(width_in, width, math.ceil(depth_factor * repeats)))
        self.width = width
        self.apply(_start)

    def forward(self, clips: Tensor) -> Tensor:
        """Give [P, F, C] of normalised clips [P, 3, F, S, S]: time is never halved."""
        stem, *stages = self.blocks
        x: Tensor = stem(clips)
        for stage in stages:
            x = stage(x, self.run)
        return x.mean((3, 4)).transpose(1, 2)


def round_width(width: float) -> int:
    """Give the multiple of 8 nearest to a width, at least 8, and never more than a tenth below it."""
    rounded = max(8, int(width + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * width else rounded


def _start(module: nn.Module) -> None:
    """Draw convolutions as arXiv:1502.01852 does; residual branches begin at zero (arXiv:1706.02677, section 5.1)."""
    if isinstance(module, nn.Conv3d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, Bottleneck):
        nn.init.zeros_(module.norm_c.weight)
