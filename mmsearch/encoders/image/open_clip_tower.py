"""Picture towers of open_clip: the visual half of a CLIP model, up to its projection."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from mmsearch.config import Settings
from mmsearch.encoders.image.pixels import CLIP, PixelTower
from mmsearch.encoders.image.sources import read_source, regions, resample_positions
from mmsearch.encoders.weights import LoadReport, load_into
from mmsearch.errors import ConfigError
from mmsearch.extras import require
from mmsearch.torchvision_guard import guard_torchvision

_POSITIONS = "visual.positional_embedding"


class OpenClipImageSettings(Settings):
    """The visual tower of a model of open_clip whose pictures go through its own ViT."""

    type: Literal["open_clip"] = "open_clip"
    """A visual tower of open_clip."""
    name: str = "ViT-B-32"
    """Architecture, by its open_clip name; weights of OpenAI need the names that end in `-quickgelu`."""
    image_size: int = Field(default=224, ge=8)
    """Side of the pictures in pixels; the prepared corpus must have been made at this size."""
    weights: str | None = None
    """Weights to start from: a .safetensors file, a folder (of open_clip's, or a model trained here), or a hub name
    such as `laion/CLIP-ViT-B-32-laion2B-s34B-b79K`. None = random ones."""
    embed_dim: int | None = Field(default=None, ge=1)
    """Components of the joint space that the model projects to; None = as its name says."""
    vision: dict[str, Any] = {}
    """Changes to open_clip's `vision_cfg`: `layers`, `width`, `head_width`, `patch_size`, `patch_dropout` …"""
    mean: tuple[float, float, float] = CLIP[0]
    """Subtracted from the pixels (in 0–1) of each channel; CLIP's own mean."""
    std: tuple[float, float, float] = CLIP[1]
    """Divides the pixels of each channel then; CLIP's own standard deviation."""

    def build(self) -> OpenClipImageTower:
        """Make the tower, with random weights."""
        return OpenClipImageTower(
            self.name,
            image_size=self.image_size,
            embed_dim=self.embed_dim,
            vision=self.vision,
            mean=self.mean,
            std=self.std,
        )


class OpenClipImageTower(PixelTower):
    """Encode pictures with the ViT of a CLIP model (arXiv:2103.00020); its text half is never built.

    Tokens are the pooled vector, then the patches after the last norm. The projection into the model's joint space is
    kept beside the tower as a buffer, for whoever starts a head from it: pooled @ projection.T is what open_clip's
    `encode_image` gives.

    Args:
        name: open_clip's name of the model.
        image_size: side of the pictures in pixels.
        embed_dim: components of the joint space, P; None = the model's.
        vision: changes to the model's `vision_cfg`.
        mean: per channel, of pixels in 0–1.
        std: per channel, of pixels in 0–1.

    Raises:
        ConfigError: open_clip knows no such model, it has no ViT of its own, or the changes do not fit it.
    """

    proj: Tensor

    def __init__(
        self,
        name: str,
        *,
        image_size: int,
        embed_dim: int | None = None,
        vision: dict[str, Any] | None = None,
        mean: tuple[float, float, float] = CLIP[0],
        std: tuple[float, float, float] = CLIP[1],
    ) -> None:
        super().__init__(image_size, mean, std)
        self.visual: Any = _create(name, image_size, embed_dim, vision or {})
        self.width: int = self.visual.ln_post.weight.shape[0]
        projection = self.visual.proj.detach().T.contiguous()
        # no parameter: nothing here trains it, and engines stumble over parameters that get no gradient
        self.visual.proj = None
        self.register_buffer("proj", projection)

    def forward(self, images: Tensor) -> Tensor:
        """Give tokens of pictures: uint8 pixels [B, 3, S, S] to [B, 1 + N, W], the pooled vector first."""
        pooled, patches = self.visual(self.normalised(images))
        return torch.cat([pooled.unsqueeze(1), patches], 1)

    def pool(self, tokens: Tensor) -> Tensor:
        """Give one vector a picture, before the projection: [B, 1 + N, W] to [B, W]."""
        return tokens[:, 0]

    def grid(self, tokens: Tensor, side: int) -> Tensor:
        """Average the patches into side x side regions, read row by row: [B, 1 + N, W] to [B, side * side, W]."""
        return regions(tokens[:, 1:], side)

    def projection(self) -> Tensor:
        """Give the model's projection of pooled vectors into its joint space, [P, W]."""
        return self.proj

    def set_checkpointing(self, on: bool) -> None:
        """Keep less while training and compute it again in the backward pass."""
        self.visual.set_grad_checkpointing(on)

    def load(self, source: str) -> LoadReport:
        """Fill in pretrained weights, and log what was taken. Position embeddings are resampled to the picture's size.

        Args:
            source: a file, folder or hub name in open_clip's layout, whose text half is left alone; or of a model
                of ours.

        Raises:
            ConfigError: there is no such source, or it does not fit; every mismatch is named.
            DataError: the file is damaged.
        """
        tensors, ours = read_source(source, prefer=("open_clip_model.safetensors", "model.safetensors"))
        if not ours:
            tensors = {n: t for n, t in tensors.items() if n.startswith("visual.")} or tensors
            if "visual.proj" in tensors:
                tensors["proj"] = tensors.pop("visual.proj").T
        if _POSITIONS in tensors:
            side = self.visual.grid_size[0]
            tensors[_POSITIONS] = resample_positions(tensors[_POSITIONS], side, f"{source}: {_POSITIONS}")
        report = load_into(self, tensors, source)
        report.log()
        return report


def _create(name: str, image_size: int, embed_dim: int | None, vision: dict[str, Any]) -> Any:
    guard_torchvision()
    open_clip = require("open_clip", extra="train")
    # its own list alone: of other names it would read a folder, or ask the hub
    config = open_clip.get_model_config(name) if name in open_clip.list_models() else None
    if config is None:
        near = get_close_matches(name, open_clip.list_models(), n=1)
        hint = f"did you mean '{near[0]}'?" if near else "open_clip.list_models() lists all"
        raise ConfigError(f"image tower '{name}': open_clip has no such model; {hint}")
    changed = config["vision_cfg"] | vision | {"image_size": image_size, "output_tokens": True}
    if changed.get("timm_model_name"):
        raise ConfigError(
            f"image tower '{name}' of open_clip is timm's '{changed['timm_model_name']}': take it with type: timm, "
            "which reads the weights of open_clip too"
        )
    if isinstance(changed.get("layers"), list | tuple) or changed.get("attentional_pool"):
        raise ConfigError(f"image tower '{name}' of open_clip is not a ViT with a class token or mean; take another")
    try:
        # of the model's parts this alone is built: text towers may fetch their own from the hub
        return open_clip.model._build_vision_tower(
            embed_dim or config["embed_dim"], changed, quick_gelu=config.get("quick_gelu", False)
        )
    except (TypeError, RuntimeError, ValueError, AssertionError) as error:
        raise ConfigError(f"image tower '{name}' with {vision}: open_clip says: {error}") from error
