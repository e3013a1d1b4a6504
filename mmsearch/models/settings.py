"""Settings of the match model. Defaults are a ViT-B sized model; the demo's are in `configs/train/demo.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, model_validator

from mmsearch.config import Settings
from mmsearch.data.images import Fit
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.encoders import (
    FrameTowerSettings,
    ImageTowerSettings,
    PerFrameSettings,
    TextTowerSettings,
    TimmImageSettings,
    TransformerTextSettings,
)
from mmsearch.errors import ConfigError
from mmsearch.fusion import CrossAttentionFusionSettings, FusionSettings, FusionTransformerSettings
from mmsearch.matching import CrossEncoderSettings, PolySettings


class TextLengths(Settings):
    """Tokens read of each text; the rest is cut off."""

    query: int = Field(default=16, ge=2)
    """Of a query."""
    title: int = Field(default=32, ge=2)
    """Of a title."""
    account: int = Field(default=8, ge=2)
    """Of an account name."""
    cover_ocr: int = Field(default=24, ge=2)
    """Of the text on the cover."""
    content_ocr: int = Field(default=48, ge=2)
    """Of the text on the frames."""
    asr: int = Field(default=96, ge=2)
    """Of the speech transcript."""


class DocumentTowerSettings(Settings):
    """What turns a video into codes."""

    image: ImageTowerSettings = TimmImageSettings()
    """Picture tower, shared by cover and frames."""
    text: TextTowerSettings = TransformerTextSettings(depth=2, max_length=96)
    """Text tower of titles, accounts, recognised text and transcripts; its width is the width of the fusion."""
    frames: FrameTowerSettings = PerFrameSettings()
    """Frame tower: the picture tower for every frame and a transformer over time, or a tower over whole clips."""
    fusion: FusionSettings = FusionTransformerSettings()
    """Fusion of the perception domain, and another of the same settings for the content domain."""
    cover_grid: int = Field(default=2, ge=1)
    """The fusion reads a cover as its whole and as cover_grid x cover_grid regions."""


class QueryTowerSettings(Settings):
    """What turns a query into one vector a space."""

    teacher: TextTowerSettings = TransformerTextSettings()
    """The 12-layer tower, for training only."""
    student_depth: int = Field(default=3, ge=1)
    """Layers of the student that is served, taken evenly from the teacher."""
    pool: Literal["mean", "first", "last"] = "mean"
    """What stands for a whole query: the mean of its tokens, the first (pretrained BERT towers) or the last (CLIP)."""
    tie_embeddings: bool = True
    """Let teacher and document text share token embeddings (they must have one width): words mean the same on both
    sides from the first step."""


class ModelSettings(Settings):
    """The whole match model."""

    dim: int = Field(default=256, ge=2)
    """Components of a vector, in every space."""
    lengths: TextLengths = TextLengths()
    """Tokens read of each text."""
    num_frames: int = Field(default=8, ge=1)
    """Frames of a video, as the corpus was prepared."""
    fit: Fit = "squash"
    """How pictures were made square, as the corpus was prepared."""
    document: DocumentTowerSettings = DocumentTowerSettings()
    """The document tower."""
    query: QueryTowerSettings = QueryTowerSettings()
    """The query towers."""
    poly: PolySettings = PolySettings()
    """How queries select among the codes of a video."""
    cross: CrossEncoderSettings | None = None
    """A cross-encoder over the tokens of query and video, for reranking; None = the model has none."""
    first_temperature: float = Field(default=0.07, gt=0)
    """Scores are divided by the temperature in the losses; it is learned, starting here, never below 0.01."""

    @model_validator(mode="after")
    def _fits_together(self) -> ModelSettings:
        texts = self.lengths.model_dump()
        teacher, text, frames = self.query.teacher, self.document.text, self.document.frames
        # the sizes of a pretrained tower are None until `resolve` has read them from its folder
        if self.query.tie_embeddings and None not in (teacher.width, text.width) and teacher.width != text.width:
            raise ValueError("tie_embeddings needs query.teacher.width equal to document.text.width")
        if teacher.depth is not None and self.query.student_depth > teacher.depth:
            raise ValueError("query.student_depth is larger than query.teacher.depth")
        if teacher.max_length is not None and texts.pop("query") > teacher.max_length:
            raise ValueError("lengths.query is larger than query.teacher.max_length")
        texts.pop("query", None)
        if text.max_length is not None and max(texts.values()) > text.max_length:
            raise ValueError("a text of lengths is longer than document.text.max_length")
        if isinstance(frames, PerFrameSettings) and self.num_frames > frames.max_frames:
            raise ValueError("num_frames is larger than document.frames.max_frames")
        return self

    @model_validator(mode="after")
    def _heads_divide_widths(self) -> ModelSettings:
        text, teacher, fusion = self.document.text, self.query.teacher, self.document.fusion
        widths: list[tuple[str, int, int | None]] = [
            (name, tower.heads, tower.width)
            for name, tower in (("document.text", text), ("query.teacher", teacher))
            if isinstance(tower, TransformerTextSettings)
        ]
        if isinstance(fusion, FusionTransformerSettings | CrossAttentionFusionSettings):
            widths.append(("document.fusion", fusion.heads, text.width))  # the fusion has the text tower's width
        widths += [] if self.cross is None else [("cross", self.cross.heads, text.width)]
        for name, count, width in widths:
            if width is not None and width % count:
                raise ValueError(f"{name}.heads is {count}, which does not divide its width of {width}")
        return self

    def resolve(self) -> ModelSettings:
        """Give the settings with the architectures of pretrained folders filled in, so that the model can be built.

        Raises:
            ConfigError: a folder cannot be found, or the towers do not fit together.
        """
        document, query = self.document, self.query
        found = self.model_dump()
        found["document"]["image"] = _resolved(document.image).model_dump()
        found["document"]["text"] = _resolved(document.text).model_dump()
        found["query"]["teacher"] = _resolved(query.teacher).model_dump()
        try:
            return ModelSettings.model_validate(found)
        except ValidationError as error:
            raise ConfigError(f"model: {error.errors()[0]['msg']}") from error

    def check_prepared(self, prepared: PrepareSettings, corpus: Path | str) -> None:
        """Refuse a corpus whose pictures are not what the model reads.

        Raises:
            ConfigError: number of frames, picture size or fit differ; the message says how to prepare again.
        """
        reads = {"image_size": self.document.image.image_size, "num_frames": self.num_frames, "fit": self.fit}
        found = {name: getattr(prepared, name) for name in reads}
        if found != reads:
            raise ConfigError(
                f"{corpus}: prepared with {_words(found)}; the model reads {_words(reads)}: prepare the corpus again "
                "with these, or change model.document.image.image_size, model.num_frames and model.fit"
            )


def _resolved(tower: Settings) -> Settings:
    """Fill in the architecture, where it stands in a folder."""
    resolve = getattr(tower, "resolve", None)
    return tower if resolve is None else resolve()


def _words(settings: Mapping[str, object]) -> str:
    return " ".join(f"{name}={value}" for name, value in settings.items())
