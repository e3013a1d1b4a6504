"""The text half of CLIP, as open_clip builds it: causal, the end token stands for the whole text.

Letters: B batch, L tokens, W width, P components of the joint space.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import Field
from torch import Tensor, nn

from mmsearch.config import Settings
from mmsearch.encoders.text.layers import pick_layers, set_recomputing
from mmsearch.encoders.text.sources import load_tower
from mmsearch.encoders.weights import LoadReport
from mmsearch.errors import ConfigError, MissingExtraError
from mmsearch.extras import require
from mmsearch.files import read_json
from mmsearch.torchvision_guard import guard_torchvision

#: Settings of open_clip's text towers whose other values make a tower that is not CLIP's causal one, and why not.
_CAUSAL_ONLY = {
    "no_causal_mask": "its tokens look at padding, or need another mask",
    "embed_cls": "it pools a token of its own (CoCa)",
    "proj_bias": "its projection has a bias",
    "final_ln_after_pool": "its norm comes after pooling",
}
_PARTS = {"token_embedding": "embed", "positional_embedding": "position", "ln_final": "norm"}


class OpenClipTextSettings(Settings):
    """The causal text transformer of a CLIP by its open_clip name; sizes may be changed."""

    type: Literal["open_clip"] = "open_clip"
    """open_clip's CLIP, not its towers from transformers: those are of type `bert`."""
    name: str = "ViT-B-32"
    """open_clip's name; OpenAI's own weights belong to the names that end in `-quickgelu`."""
    text: dict[str, Any] = {}
    """Replaces entries of the model's `text_cfg`: `width`, `heads`, `layers`, `context_length`, `vocab_size` …"""
    embed_dim: int | None = Field(default=None, ge=1)
    """P; None = as the name has it."""
    weights: str | None = None
    """Weights to start from: an open_clip safetensors file or folder, a hub name, or a model trained here."""

    @property
    def architecture(self) -> dict[str, Any]:
        """`embed_dim`, `quick_gelu` and the whole `text_cfg`, from open_clip's own list and the replaced entries.

        Raises:
            ConfigError: there is no such name, or it is not a causal CLIP text transformer.
        """
        model = _read_model(self.name)
        text = model.get("text_cfg", {}) | self.text
        if hf := text.get("hf_model_name"):
            raise ConfigError(f"text tower '{self.name}': is made of {hf}; take type 'bert' with folder '{hf}'")
        for key, why in _CAUSAL_ONLY.items():
            if text.get(key):
                raise ConfigError(f"text tower '{self.name}': {key} is set: {why}; take a causal CLIP such as ViT-B-32")
        if text.get("pool_type", "argmax") not in ("argmax", "eos"):
            raise ConfigError(f"text tower '{self.name}': pools '{text['pool_type']}', not the end token of a text")
        embed_dim = self.embed_dim or model["embed_dim"]
        return {"embed_dim": embed_dim, "quick_gelu": model.get("quick_gelu", False), "text_cfg": text}

    @property
    def width(self) -> int:
        """W."""
        return int(self.architecture["text_cfg"].get("width", 512))

    @property
    def depth(self) -> int:
        """Number of layers."""
        return int(self.architecture["text_cfg"].get("layers", 12))

    @property
    def max_length(self) -> int:
        """Longest text in tokens."""
        return int(self.architecture["text_cfg"].get("context_length", 77))

    def build(self, vocab_size: int) -> OpenClipTextTower:
        """Make the tower with random weights.

        Raises:
            ConfigError: the tokenizer is not the one of this tower, or open_clip refuses an entry of `text`.
        """
        expected = self.architecture["text_cfg"].get("vocab_size", 49408)
        if vocab_size != expected:
            raise ConfigError(
                f"the tokenizer has {vocab_size} ids, the text tower '{self.name}' {expected}: they do not belong "
                f"together; take tokenizer.kind=open_clip, or set text.vocab_size for a tower with random weights"
            )
        try:
            return OpenClipTextTower(**self.architecture)
        except (TypeError, AssertionError, RuntimeError) as error:
            raise ConfigError(f"text tower '{self.name}' with {self.text}: open_clip says: {error}") from error


class OpenClipTextTower(nn.Module):
    """Encode texts as CLIP does (arXiv:2103.00020): a token sees itself and those before it.

    Padding on the right is therefore seen by no real token; the mask is not needed.

    Args:
        embed_dim: P.
        quick_gelu: take OpenAI's approximation of GELU.
        text_cfg: open_clip's settings of a text tower.
    """

    causal: Tensor
    text_projection: Tensor | None

    def __init__(self, embed_dim: int, *, quick_gelu: bool, text_cfg: Mapping[str, Any]) -> None:
        super().__init__()
        guard_torchvision()
        build = require("open_clip.model", extra="train")._build_text_tower  # the one place that knows every option
        tower: Any = build(embed_dim, dict(text_cfg), quick_gelu)
        self.width: int = tower.width
        self.max_length: int = tower.context_length
        # Its parts, not the whole: our own forward gives all tokens, for any length.
        self.embed: nn.Embedding = tower.token_embedding
        self.position: nn.Parameter = tower.positional_embedding
        self.transformer: Any = tower.transformer
        self.norm: nn.Module = tower.ln_final
        self.register_buffer("causal", tower.build_causal_mask(), persistent=False)
        # A buffer: heads start from it and are what is trained; an optimizer must not see it.
        start = tower.text_projection
        self.register_buffer("text_projection", None if start is None else start.detach().t().contiguous())

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.transformer.resblocks)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:  # noqa: ARG002 - the face of all text towers
        """Give contextual tokens after the final norm: ids [B, L], real ones first, to [B, L, W]."""
        length = ids.shape[1]
        tokens = self.embed(ids) + self.position[:length]
        normed: Tensor = self.norm(self.transformer(tokens, attn_mask=self.causal[:length, :length]))
        return normed

    def evenly_spaced(self, depth: int) -> OpenClipTextTower:
        """Give a copy with `depth` of the layers, taken at even distances and ending with the last (arXiv:1908.09355).

        Raises:
            ConfigError: more layers are asked for than there are.
        """
        student = copy.deepcopy(self)
        student.transformer.resblocks = pick_layers(student.transformer.resblocks, depth)
        return student

    def projection(self) -> Tensor | None:
        """Give CLIP's projection of the last real token into the joint space, [P, W]."""
        return self.text_projection

    def set_checkpointing(self, on: bool) -> None:
        """Keep the inputs of layers alone while training, and recompute the rest in the backward pass."""
        set_recomputing(self.transformer.resblocks, on)

    def load(self, source: str) -> LoadReport:
        """Fill in weights from a file, folder or hub name of open_clip, or a model trained here (its teacher's tower).

        Raises:
            ConfigError: there is nothing, or shapes do not fit.
        """
        return load_tower(self, source, _own_names)


@cache
def _read_model(name: str) -> dict[str, Any]:
    """Read open_clip's description of a model without importing open_clip, which takes seconds."""
    spec = importlib.util.find_spec("open_clip")
    if spec is None or spec.origin is None:
        raise MissingExtraError("text towers of type 'open_clip' need: pip install 'mmsearch[train]'")
    folder = Path(spec.origin).parent / "model_configs"
    known = {path.stem: path for path in folder.glob("*.json")}
    if name not in known:
        raise ConfigError(f"text tower '{name}': open_clip has no such model; it has {', '.join(sorted(known))}")
    model: dict[str, Any] = read_json(known[name])
    return model


def _own_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give a CLIP's text tensors our names; those of its picture half and its scale are left out."""
    custom = any(name.startswith("text.") for name in tensors)  # a CustomTextCLIP keeps its text half under `text.`
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.startswith("visual.") or name in ("logit_scale", "logit_bias"):
            continue
        part, dot, rest = (name.removeprefix("text.") if custom else name).partition(".")
        named[_PARTS.get(part, part) + dot + rest] = tensor.t().contiguous() if part == "text_projection" else tensor
    return named
