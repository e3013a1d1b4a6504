"""Picture towers of timm: vision transformers and convolutional nets, from pixels to tokens."""

from __future__ import annotations

import logging
import math
import sys
from difflib import get_close_matches
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from mmsearch.config import Settings
from mmsearch.encoders.image.pixels import IMAGENET, PixelTower
from mmsearch.encoders.image.sources import read_source, regions
from mmsearch.encoders.weights import LoadReport, load_into, locate
from mmsearch.errors import ConfigError
from mmsearch.extras import require
from mmsearch.files import read_json
from mmsearch.torchvision_guard import guard_torchvision

logger = logging.getLogger(__name__)

#: Arguments of timm that fetch or open weights, pickles among them, as soon as a model folder is read.
_REFUSED = ("pretrained", "pretrained_cfg", "checkpoint_path", "cache_dir")


class TimmImageSettings(Settings):
    """Any model of timm by its name: `vit_base_patch16_224`, `resnet50`, `convnext_base` …; sizes may be changed."""

    type: Literal["timm"] = "timm"
    """A model of timm."""
    name: str = "vit_tiny_patch16_224"
    """Name of a model in timm; what stands after a dot (`.augreg_in21k`) says how its weights were trained."""
    image_size: int = Field(default=224, ge=8)
    """Side of the pictures in pixels; the prepared corpus must have been made at this size."""
    weights: str | None = None
    """Weights to start from: a .safetensors file, a folder (of timm's, or a model trained here), or a hub name such as
    `timm/vit_base_patch16_224.augreg_in21k`. None = random ones."""
    args: dict[str, int | float | str | bool | list[int]] = {}
    """Further arguments of the timm model: `patch_size`, `embed_dim`, `depth`, `num_heads`, `drop_path_rate` …"""
    mean: tuple[float, float, float] = IMAGENET[0]
    """Subtracted from the pixels (in 0–1) of each channel; the ImageNet mean. Many pretrained ViTs want 0.5."""
    std: tuple[float, float, float] = IMAGENET[1]
    """Divides the pixels of each channel then; the ImageNet standard deviation. Many pretrained ViTs want 0.5."""

    def build(self) -> TimmImageTower:
        """Make the tower, with random weights."""
        return TimmImageTower(self.name, image_size=self.image_size, mean=self.mean, std=self.std, **self.args)


class TimmImageTower(PixelTower):
    """Encode pictures with a model of timm.

    Vision transformers (arXiv:2010.11929 and its descendants) keep their own tokens, and pool as they were made to.
    Of every other net the last feature map is read as tokens, row by row; the picture is their mean. Feature maps have
    scales of their own, so the mean and the regions pass a layer norm of the tower.

    Args:
        name: timm's name of the model.
        image_size: side of the pictures in pixels.
        mean: per channel, of pixels in 0–1.
        std: per channel, of pixels in 0–1.
        **args: passed on to timm.

    Raises:
        ConfigError: timm knows no such model, or the arguments do not fit it.
    """

    def __init__(
        self,
        name: str,
        *,
        image_size: int,
        mean: tuple[float, float, float] = IMAGENET[0],
        std: tuple[float, float, float] = IMAGENET[1],
        **args: Any,
    ) -> None:
        super().__init__(image_size, mean, std)
        self.name = name
        self.vit: Any = _create(name, image_size, args)
        self.is_transformer = getattr(self.vit, "num_prefix_tokens", None) is not None
        self.width: int = self.vit.num_features
        self._heads = _classifiers(self.vit) if self.is_transformer else _classifiers(self.vit) + _cut(self.vit)
        self.norm: nn.Module = nn.Identity() if self.is_transformer else nn.LayerNorm(self.width)
        # An engine that splits parameters over processes gathers them around a module's call: with `forward_features`
        # as its forward, the model's own position embedding is there when it is read.
        self.vit.forward = self.vit.forward_features

    def forward(self, images: Tensor) -> Tensor:
        """Give tokens of pictures: uint8 pixels [B, 3, S, S] to [B, N, W], class and register tokens first.

        Raises:
            ConfigError: the model gives several feature maps, not one.
        """
        pixels = self.normalised(images)
        if not self.is_transformer:
            pixels = pixels.contiguous(memory_format=torch.channels_last)  # convolutions are a third faster so
        tokens = self.vit(pixels)
        if not isinstance(tokens, Tensor):
            raise ConfigError(f"image tower '{self.name}' gives {type(tokens).__name__}, not one feature map of tokens")
        if tokens.ndim == 3:
            return tokens
        if getattr(self.vit, "output_fmt", "NCHW") == "NHWC":
            return tokens.flatten(1, 2)
        return tokens.flatten(2).transpose(1, 2)

    def pool(self, tokens: Tensor) -> Tensor:
        """Give one vector a picture, [B, N, W] to [B, W]: the class token or the mean, as the model was made."""
        if not self.is_transformer:
            normed: Tensor = self.norm(tokens.mean(1))
            return normed
        pooled: Tensor = self.vit.forward_head(tokens, pre_logits=True)
        return pooled

    def grid(self, tokens: Tensor, side: int) -> Tensor:
        """Average the patches into side x side regions, read row by row: [B, N, W] to [B, side * side, W]."""
        count = tokens.shape[1]
        # where timm does not say how many tokens come before the patches: what is beyond a square of them
        prefix = self.vit.num_prefix_tokens if self.is_transformer else count - math.isqrt(count) ** 2
        normed: Tensor = self.norm(regions(tokens[:, prefix:], side))
        return normed

    def projection(self) -> None:
        """Give None: what timm holds beyond the pooled vector are classifiers."""
        return

    def set_checkpointing(self, on: bool) -> None:
        """Keep less while training and compute it again in the backward pass.

        Raises:
            ConfigError: timm cannot do that for this model.
        """
        try:
            self.vit.set_grad_checkpointing(on)
        except (AssertionError, AttributeError) as error:
            if on:
                raise ConfigError(f"image tower '{self.name}': timm has no activation checkpointing for it") from error

    def load(self, source: str) -> LoadReport:
        """Fill in pretrained weights, and log what was taken. Position embeddings are resampled to the picture's size.

        Args:
            source: a file, folder or hub name, in any layout that timm reads for this model; or of a model of ours.

        Raises:
            ConfigError: there is no such source, or it does not fit; every mismatch is named.
            DataError: the file is damaged.
        """
        tensors, ours = read_source(source)
        inner = {n.removeprefix("vit."): t for n, t in tensors.items() if n.startswith("vit.") or not ours}
        inner = self._in_timms_layout(inner, source)
        if ours:
            outer = {name: tensor for name, tensor in tensors.items() if not name.startswith("vit.")}
            report = load_into(self, outer | {f"vit.{name}": tensor for name, tensor in inner.items()}, source)
        else:
            self._compare_pixels(source)
            report = load_into(self.vit, inner, source)
        report.log()
        return report

    def _compare_pixels(self, source: str) -> None:
        """Warn where the weights were trained on pixels of another mean or deviation, as far as anybody says."""
        config = locate(source) / "config.json"
        told = read_json(config) if config.is_file() else None
        stated = told.get("pretrained_cfg") if isinstance(told, dict) else None
        trained, who = (stated, str(config)) if isinstance(stated, dict) else (self.vit.pretrained_cfg, "timm")
        for what, own in (("mean", self.mean), ("std", self.std)):
            theirs = trained.get(what)
            if not isinstance(theirs, list | tuple) or len(theirs) != len(own):
                continue
            if not torch.allclose(own.flatten(), own.new_tensor(theirs), atol=1e-3):
                logger.warning("%s says that '%s' was trained with %s: %s", who, self.name, what, list(theirs))

    def _in_timms_layout(self, tensors: dict[str, Tensor], source: str) -> dict[str, Tensor]:
        """Rename and resample as timm does for this family of models, and leave out classifiers."""
        rename = getattr(sys.modules[type(self.vit).__module__], "checkpoint_filter_fn", None)
        if rename is not None:
            try:
                tensors = rename(tensors, self.vit)
            except (KeyError, RuntimeError, ValueError, AttributeError, IndexError) as error:
                raise ConfigError(f"weights from {source} are not of '{self.name}': timm says: {error!r}") from error
        heads = tuple(f"{head}." for head in self._heads)
        return {name: tensor for name, tensor in tensors.items() if not name.startswith(heads)}


def _create(name: str, image_size: int, args: dict[str, Any]) -> Any:
    guard_torchvision()
    timm = require("timm", extra="train")
    if not timm.is_model(name):
        near = get_close_matches(name, timm.list_models(), n=1)
        hint = f"did you mean '{near[0]}'?" if near else "timm.list_models() lists all"
        raise ConfigError(f"image tower '{name}': timm has no such model; {hint}")
    if refused := [key for key in _REFUSED if key in args]:
        raise ConfigError(f"image tower '{name}': {', '.join(refused)} is no argument here; weights come by `weights`")
    try:
        try:
            return timm.create_model(name, num_classes=0, img_size=image_size, **args)
        except TypeError as error:
            if "img_size" not in str(error):  # convolutional nets take any size, and no such argument
                raise
            return timm.create_model(name, num_classes=0, **args)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise ConfigError(f"image tower '{name}' with {args}: timm says: {error}") from error


def _classifiers(net: Any) -> tuple[str, ...]:
    named: str | tuple[str, ...] | list[str] = net.pretrained_cfg.get("classifier") or ()
    return (named,) if isinstance(named, str) else tuple(named)


def _cut(net: Any) -> tuple[str, ...]:
    """Cut off what comes after the last feature map, and give its names: parameters that never get a gradient."""
    after = ["head"]
    if getattr(net, "head_hidden_size", net.num_features) != net.num_features:
        after += ["conv_head", "norm_head", "pre_logits"]  # these make the pooled vector wider
    cut = tuple(name for name in after if isinstance(getattr(net, name, None), nn.Module))
    for name in cut:
        setattr(net, name, nn.Identity())
    return cut
