"""BERT, RoBERTa and the text half of Chinese-CLIP, through transformers.

The three compute the same; RoBERTa counts positions from `pad_token_id + 1` on, Chinese-CLIP adds a projection.

Letters: B batch, L tokens, W width, P components of a joint space.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any, Literal, Self

import torch
from pydantic import Field
from torch import Tensor, nn

from mmsearch.config import Settings
from mmsearch.encoders.text.layers import pick_layers, set_recomputing
from mmsearch.encoders.text.sources import load_tower
from mmsearch.encoders.weights import LoadReport, locate
from mmsearch.errors import ConfigError
from mmsearch.extras import require
from mmsearch.files import read_json
from mmsearch.torchvision_guard import guard_torchvision

_TYPES = ("bert", "roberta", "xlm-roberta", "chinese_clip")
#: What decides the numbers; the rest of a config.json is about generation, training or other heads.
_KEYS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "max_position_embeddings",
    "type_vocab_size",
    "layer_norm_eps",
    "pad_token_id",
)


class BertTextSettings(Settings):
    """A pretrained BERT-like tower by its folder or hub name, such as `hfl/chinese-roberta-wwm-ext`."""

    type: Literal["bert"] = "bert"
    """BERT, RoBERTa, XLM-RoBERTa, or the text half of Chinese-CLIP."""
    folder: str | None = None
    """A transformers folder with `config.json`, or a hub name."""
    config: dict[str, Any] = {}
    """The architecture; filled in from `folder`, so that a trained model can be rebuilt without it."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout inside the layers and of the attention weights, whatever the folder says."""
    weights: str | None = None
    """Weights to start from: `folder`, where nothing else is given."""

    @property
    def width(self) -> int | None:
        """W; None before `resolve`."""
        return self.config.get("hidden_size")

    @property
    def depth(self) -> int | None:
        """Number of layers; None before `resolve`."""
        return self.config.get("num_hidden_layers")

    @property
    def max_length(self) -> int | None:
        """Longest text in tokens; None before `resolve`."""
        return _max_length(self.config) if self.config else None

    def resolve(self) -> Self:
        """Give the settings with the architecture, and the weights, of the folder filled in.

        Raises:
            ConfigError: there is neither folder nor config, or it is of another kind of model.
        """
        if self.config or self.folder is None:
            if not self.config:
                raise ConfigError("a text tower of type 'bert' needs `folder`: a transformers folder or a hub name")
            return self
        return self.model_copy(
            update={"config": read_architecture(self.folder), "weights": self.weights or self.folder}
        )

    def build(self, vocab_size: int) -> BertTextTower:
        """Make the tower with random weights.

        Raises:
            ConfigError: the architecture is not known yet, or the tokenizer is not the one of these weights.
        """
        if not self.config:
            raise ConfigError("a text tower of type 'bert' has no `config` yet; give `folder`, and call resolve()")
        expected = self.config.get("vocab_size")
        if vocab_size != expected:
            raise ConfigError(
                f"the tokenizer has {vocab_size} ids, the text tower of '{self.folder or 'config'}' {expected}: they "
                f"do not belong together; set tokenizer.folder to the tower's own folder"
            )
        return BertTextTower(self.config, dropout=self.dropout)


class BertTextTower(nn.Module):
    """Encode texts with a post-norm BERT (arXiv:1810.04805); segments are all 0, there is no pooling layer.

    Args:
        config: `model_type`, and the settings of transformers' BertConfig; `projection_dim` for Chinese-CLIP.
        dropout: inside the layers and of the attention weights.

    Raises:
        ConfigError: the config makes no sense.
    """

    text_projection: Tensor | None

    def __init__(self, config: Mapping[str, Any], *, dropout: float = 0.0) -> None:
        super().__init__()
        self.max_length, self._first_position = _max_length(config), _first_position(config)
        bert = _create(config, dropout)
        self.width: int = bert.config.hidden_size
        # The tower owns the embeddings, so that another one can be put in their place. They are listed before the
        # layers: rates by layer take them for what is below all of them.
        self.embed: nn.Embedding = bert.get_input_embeddings()
        bert.set_input_embeddings(None)
        self.bert = bert
        # A buffer: heads start from it and are what is trained; an optimizer must not see it.
        size = config.get("projection_dim")
        start = None if size is None else torch.randn(size, self.width) * self.width**-0.5
        self.register_buffer("text_projection", start)

    @property
    def depth(self) -> int:
        """Number of layers."""
        return len(self.bert.encoder.layer)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Give contextual tokens: ids [B, L] and mask (True = real, at least one a row) to [B, L, W]."""
        places = torch.arange(ids.shape[1], device=ids.device).unsqueeze(0) + self._first_position
        tokens: Tensor = self.bert(
            inputs_embeds=self.embed(ids), attention_mask=mask, position_ids=places
        ).last_hidden_state
        return tokens

    def evenly_spaced(self, depth: int) -> BertTextTower:
        """Give a copy with `depth` of the layers, taken at even distances and ending with the last (arXiv:1908.09355).

        Raises:
            ConfigError: more layers are asked for than there are.
        """
        student = copy.deepcopy(self)
        student.bert.encoder.layer = pick_layers(student.bert.encoder.layer, depth)
        return student

    def projection(self) -> Tensor | None:
        """Give Chinese-CLIP's projection of the first token into the joint space [P, W]; None for the others."""
        return self.text_projection

    def set_checkpointing(self, on: bool) -> None:
        """Keep the inputs of layers alone while training, and recompute the rest in the backward pass."""
        set_recomputing(self.bert.encoder.layer, on)

    def load(self, source: str) -> LoadReport:
        """Fill in weights from a transformers folder or hub name, or from a model trained here (its teacher's tower).

        Raises:
            ConfigError: there is nothing, or shapes do not fit.
        """
        return load_tower(self, source, _own_names)


def read_architecture(folder: str) -> dict[str, Any]:
    """Give what decides the numbers of a text tower, from the config.json of a folder or hub name.

    Raises:
        ConfigError: it is another kind of model, or has relative positions.
    """
    path = locate(folder) / "config.json"
    raw = read_json(path)
    kind = raw.get("model_type") if isinstance(raw, dict) else None
    if kind not in _TYPES:
        raise ConfigError(f"{path}: model_type is {kind!r}; a text tower of type 'bert' is one of {', '.join(_TYPES)}")
    guard_torchvision()
    transformers = require("transformers", extra="train")
    try:
        known: Any = transformers.AutoConfig.for_model(**raw)  # fills in what was left out
    except Exception as error:  # of many kinds, some of them of its own
        raise ConfigError(f"{path}: transformers says: {error}") from error
    text = known.text_config if kind == "chinese_clip" else known
    if getattr(text, "position_embedding_type", "absolute") != "absolute":
        raise ConfigError(f"{path}: relative positions are not supported; take a model with absolute ones")
    config = {"model_type": kind} | {key: getattr(text, key) for key in _KEYS}
    return config | ({"projection_dim": known.projection_dim} if kind == "chinese_clip" else {})


def _create(config: Mapping[str, Any], dropout: float) -> Any:
    guard_torchvision()
    transformers = require("transformers", extra="train")
    try:
        sizes = transformers.BertConfig(
            **{key: config[key] for key in _KEYS if key in config},
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            attn_implementation="sdpa",
        )
        return transformers.BertModel(sizes, add_pooling_layer=False)
    except Exception as error:  # of many kinds, some of them of its own
        raise ConfigError(f"text tower of type 'bert' with {dict(config)}: transformers says: {error}") from error


def _first_position(config: Mapping[str, Any]) -> int:
    return _whole(config, "pad_token_id") + 1 if "roberta" in str(config.get("model_type")) else 0


def _max_length(config: Mapping[str, Any]) -> int:
    return _whole(config, "max_position_embeddings") - _first_position(config)


def _whole(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    if not isinstance(value, int):
        raise ConfigError(f"text tower of type 'bert': {key} of its config is {value!r}, not a whole number")
    return value


def _own_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the tensors of a published model our names; Chinese-CLIP's picture half and scale are left out."""
    both = any(name.startswith("text_model.") for name in tensors)
    named: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith("position_ids") or (both and not name.startswith("text_")):
            continue
        short = re.sub(r"^(text_model|bert|roberta|base_model)\.", "", name)
        # as TensorFlow called them: old BERTs still do
        short = re.sub(r"LayerNorm\.(gamma|beta)$", _of_tensorflow, short)
        named[_own_name(short)] = tensor
    return named


def _of_tensorflow(found: re.Match[str]) -> str:
    return "LayerNorm.weight" if found[1] == "gamma" else "LayerNorm.bias"


def _own_name(name: str) -> str:
    if name == "embeddings.word_embeddings.weight":
        return "embed.weight"
    if name == "text_projection.weight":
        return "text_projection"
    return f"bert.{name}" if name.startswith(("embeddings.", "encoder.")) else name
