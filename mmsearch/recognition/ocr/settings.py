"""The settings of reading text in pictures."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from mmsearch.config import Settings


class OcrSettings(Settings):
    """How text in covers and frames is read; `ocr: rapidocr` is short for `ocr: {reader: rapidocr}`."""

    reader: Literal["none", "rapidocr"] = "none"
    """`rapidocr`: PP-OCR for Chinese and English in ONNX Runtime, models in its package; `none`: nothing is read."""
    min_confidence: float = Field(0.7, ge=0, le=1)
    """Text that the reader is less sure of is dropped."""
    min_height: float = Field(0.02, ge=0, le=1)
    """Letters lower than this share of the picture's shorter side are dropped."""
    min_side: int = Field(480, ge=32, le=4096)
    """A picture whose shorter side has fewer pixels is enlarged to it before it is read."""
    max_side: int = Field(960, ge=64, le=8192)
    """A picture whose longer side has more pixels is shrunk to it before it is read; none is enlarged beyond."""
    max_frames: int = Field(4, ge=1, le=1024)
    """Frames of a video that are read, evenly spaced among those that are stored; repeated ones are read once."""
    max_boxes: int = Field(200, ge=1, le=1000)
    """Pieces of text that are looked for in one picture."""
    max_chars: int = Field(2000, ge=1, le=1_000_000)
    """Characters that are kept of one cover, and of all frames of a video."""
    extra_wall_s: float = Field(300.0, ge=0, le=86_400, allow_inf_nan=False)
    """Seconds that a video may take longer than `limits.max_wall_s` because it is read."""
    extra_memory_bytes: int = Field(1 << 30, ge=0, le=1 << 40)
    """Memory that a worker may use beyond `limits.max_memory_bytes` because it holds a reader."""

    @property
    def is_on(self) -> bool:
        """Whether anything is read."""
        return self.reader != "none"

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"reader": value} if isinstance(value, str) else value
