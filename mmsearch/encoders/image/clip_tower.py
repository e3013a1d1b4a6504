"""Picture towers of CLIP and Chinese-CLIP folders, as transformers writes them."""

from __future__ import annotations

from typing import Any, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from mmsearch.config import Settings
from mmsearch.encoders.image.pixels import CLIP, PixelTower
from mmsearch.encoders.image.sources import read_source, regions, resample_positions
from mmsearch.encoders.weights import LoadReport, load_into, locate
from mmsearch.errors import ConfigError
from mmsearch.extras import require
from mmsearch.files import read_json
from mmsearch.torchvision_guard import guard_torchvision

_KINDS = {"clip": "CLIP", "chinese_clip": "ChineseCLIP"}
_POSITIONS = "vision_model.embeddings.position_embedding.weight"
_PROJECTION = "visual_projection.weight"

#: What decides the numbers. The rest of a config.json is left alone: some of it names code to fetch (attention).
_SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "patch_size",
    "hidden_act",
    "layer_norm_eps",
    "attention_dropout",
    "initializer_range",
    "initializer_factor",
)

#: Counters that older versions of transformers stored with the weights.
_COUNTERS = "vision_model.embeddings.position_ids"


class ClipImageSettings(Settings):
    """The vision half of a CLIP or Chinese-CLIP model that lies in a folder as transformers writes it."""

    type: Literal["clip"] = "clip"
    """The vision half of a folder of transformers."""
    folder: str = "OFA-Sys/chinese-clip-vit-large-patch14-336px"
    """Where the architecture stands (its config.json): a local folder or a hub name."""
    image_size: int = Field(default=224, ge=8)
    """Side of the pictures in pixels; the prepared corpus must have been made at this size."""
    weights: str | None = None
    """Weights to start from: a folder, .safetensors file, hub name, or a model trained here; `folder`, where nothing
    else is given."""
    config: dict[str, Any] = {}
    """The architecture; filled in from `folder` by `resolve`."""
    mean: tuple[float, float, float] = CLIP[0]
    """Subtracted from the pixels (in 0–1) of each channel; CLIP's own mean."""
    std: tuple[float, float, float] = CLIP[1]
    """Divides the pixels of each channel then; CLIP's own standard deviation."""

    def resolve(self) -> Self:
        """Give settings that hold the architecture, and the weights to start from, of the folder.

        Raises:
            ConfigError: there is no such folder, or it is not of CLIP or Chinese-CLIP.
        """
        if self.config:
            return self
        path = locate(self.folder) / "config.json"
        if not path.is_file():
            raise ConfigError(f"{path}: no such file; give the folder of a CLIP or Chinese-CLIP model of transformers")
        tree = read_json(path)
        kind = tree.get("model_type") if isinstance(tree, dict) else None
        if kind not in _KINDS:
            raise ConfigError(f"{path}: model_type is {kind!r}; known here: {', '.join(_KINDS)}")
        wanted = ("model_type", "projection_dim", "vision_config")
        config = {name: tree[name] for name in wanted if tree.get(name) is not None}
        return self.model_copy(update={"config": config, "weights": self.weights or self.folder})

    def build(self) -> ClipImageTower:
        """Make the tower, with random weights.

        Raises:
            ConfigError: the architecture is not there yet, or makes no sense.
        """
        if not self.config:
            raise ConfigError(f"image tower of '{self.folder}': `config` is empty; resolve() the settings first")
        return ClipImageTower(self.config, image_size=self.image_size, mean=self.mean, std=self.std)


class ClipImageTower(PixelTower):
    """Encode pictures with the ViT of a CLIP (arXiv:2103.00020) or Chinese-CLIP model (arXiv:2211.01335).

    Tokens are the class token, then the patches, after the last norm (which the model itself gives the class token
    only). The projection into the joint space is kept beside the tower as a buffer, for whoever starts a head from it:
    pooled @ projection.T is what the model's `get_image_features` gives.

    Args:
        config: `model_type`, `vision_config` and `projection_dim` as in the model's config.json.
        image_size: side of the pictures in pixels; instead of the config's.
        mean: per channel, of pixels in 0–1.
        std: per channel, of pixels in 0–1.

    Raises:
        ConfigError: the config makes no sense.
    """

    visual_projection: Tensor

    def __init__(
        self,
        config: dict[str, Any],
        *,
        image_size: int,
        mean: tuple[float, float, float] = CLIP[0],
        std: tuple[float, float, float] = CLIP[1],
    ) -> None:
        super().__init__(image_size, mean, std)
        self.vision_model: Any = _create(config, image_size)
        sizes = self.vision_model.config
        self.width: int = sizes.hidden_size
        self.side: int = image_size // sizes.patch_size
        projection = torch.empty(config.get("projection_dim") or 512, self.width)
        nn.init.normal_(projection, std=self.width**-0.5)
        # no parameter: nothing here trains it, and engines stumble over parameters that get no gradient
        self.register_buffer("visual_projection", projection)

    def forward(self, images: Tensor) -> Tensor:
        """Give tokens of pictures: uint8 pixels [B, 3, S, S] to [B, 1 + N, W], the class token first."""
        last = self.vision_model(pixel_values=self.normalised(images)).last_hidden_state
        tokens: Tensor = self.vision_model.post_layernorm(last)
        return tokens

    def pool(self, tokens: Tensor) -> Tensor:
        """Give one vector a picture, the class token before the projection: [B, 1 + N, W] to [B, W]."""
        return tokens[:, 0]

    def grid(self, tokens: Tensor, side: int) -> Tensor:
        """Average the patches into side x side regions, read row by row: [B, 1 + N, W] to [B, side * side, W]."""
        return regions(tokens[:, 1:], side)

    def projection(self) -> Tensor:
        """Give the model's projection of pooled vectors into its joint space, [P, W]."""
        return self.visual_projection

    def set_checkpointing(self, on: bool) -> None:
        """Keep less while training and compute it again in the backward pass."""
        # before it was renamed in transformers 5, it was called gradient checkpointing
        kind = "activation" if hasattr(self.vision_model, "activation_checkpointing_enable") else "gradient"
        if on:
            getattr(self.vision_model, f"{kind}_checkpointing_enable")({"use_reentrant": False})
        else:
            getattr(self.vision_model, f"{kind}_checkpointing_disable")()

    def load(self, source: str) -> LoadReport:
        """Fill in pretrained weights, and log what was taken. Position embeddings are resampled to the picture's size.

        Args:
            source: a file, folder or hub name in the layout of transformers, whose text half is left alone; or of a
                model of ours.

        Raises:
            ConfigError: there is no such source, or it does not fit; every mismatch is named.
            DataError: the file is damaged.
        """
        tensors, ours = read_source(source)
        if not ours:
            vision = {n: t for n, t in tensors.items() if n.startswith("vision_model.") or n == _PROJECTION}
            tensors = vision or tensors
            if _PROJECTION in tensors:
                tensors["visual_projection"] = tensors.pop(_PROJECTION)
            tensors.pop(_COUNTERS, None)
        if _POSITIONS in tensors:
            tensors[_POSITIONS] = resample_positions(tensors[_POSITIONS], self.side, f"{source}: {_POSITIONS}")
        report = load_into(self, tensors, source)
        report.log()
        return report


def _create(config: dict[str, Any], image_size: int) -> Any:
    guard_torchvision()
    transformers = require("transformers", extra="train")
    kind = _KINDS.get(config.get("model_type", ""))
    if kind is None:
        raise ConfigError(f"image tower: model_type is {config.get('model_type')!r}; known here: {', '.join(_KINDS)}")
    try:
        vision = dict(config.get("vision_config", {}))
        known = {key: vision[key] for key in _SIZES if key in vision}
        sizes = getattr(transformers, f"{kind}VisionConfig")(**known, image_size=image_size)
        return getattr(transformers, f"{kind}VisionModel")(sizes)
    except Exception as error:  # of many kinds, some of them of its own
        raise ConfigError(f"image tower of type clip with {config}: transformers says: {error}") from error
