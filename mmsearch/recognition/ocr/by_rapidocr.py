"""RapidOCR: the PP-OCR models (Chinese, English, digits; detector and recogniser) in ONNX Runtime.

The models of its default settings come inside its package: nothing is fetched. Its door takes paths and URLs as well,
and its detector enlarges a long thin picture without bound; it is only ever given arrays of a bounded size here.
"""

from __future__ import annotations

from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Self

import numpy as np
from PIL import Image

from mmsearch.extras import require
from mmsearch.protocols import TextBox, UInt8
from mmsearch.recognition.ocr.settings import OcrSettings

_LEAST_PIXELS = 8
_THINNEST = 32


class RapidOcrReader:
    """Reads pictures by RapidOCR, on one thread; its models are loaded with the first picture.

    Args:
        min_side: a picture whose shorter side is below is enlarged.
        max_side: bound of the longer side.
        max_boxes: pieces of text that are looked for.
    """

    def __init__(self, *, min_side: int, max_side: int, max_boxes: int) -> None:
        self._min_side, self._max_side, self._max_boxes = min_side, max_side, max_boxes

    @classmethod
    def of(cls, settings: OcrSettings) -> Self:
        """Give the reader of some settings."""
        return cls(min_side=settings.min_side, max_side=settings.max_side, max_boxes=settings.max_boxes)

    @property
    def recipe(self) -> str:
        """Give all that its boxes depend on, but for the picture; the models are those of the package."""
        try:
            package = version("rapidocr")
        except PackageNotFoundError:
            package = ""
        return f"rapidocr {package} {self._min_side} {self._max_side} {self._max_boxes}"

    def read(self, picture: UInt8) -> list[TextBox]:
        """Give the pieces of text in an RGB picture, [H, W, 3]; corners are in its own pixels.

        Raises:
            MissingExtraError: RapidOCR is not installed.
            ValueError: this is no such picture.
        """
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"a picture is uint8 [H, W, 3], not {picture.dtype} {picture.shape}")
        if min(picture.shape[:2]) < _LEAST_PIXELS:
            return []
        scaled, scale = self._scaled(picture)
        found = self._engine(np.ascontiguousarray(scaled[..., ::-1]))  # it takes BGR
        if found.boxes is None or found.txts is None or found.scores is None:
            return []
        return [
            TextBox((np.asarray(corners, np.float32) / scale), str(text), float(sure))
            for corners, text, sure in zip(found.boxes, found.txts, found.scores, strict=True)
        ]

    def _scaled(self, picture: UInt8) -> tuple[UInt8, float]:
        """Give the picture with sides within bounds (black is added to a thin one), and the scale."""
        height, width = picture.shape[:2]
        scale = min(max(1.0, self._min_side / min(height, width)), self._max_side / max(height, width))
        if scale != 1.0:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            picture = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0))
        missing = [max(0, _THINNEST - side) for side in picture.shape[:2]]
        return np.pad(picture, ((0, missing[0]), (0, missing[1]), (0, 0))), scale

    @cached_property
    def _engine(self) -> Any:
        rapidocr = require("rapidocr", extra="ocr")
        return rapidocr.RapidOCR(
            params={
                "EngineConfig.onnxruntime.intra_op_num_threads": 1,
                "EngineConfig.onnxruntime.inter_op_num_threads": 1,
                "Global.log_level": "error",
                "Global.use_cls": False,  # letters that stand on their heads
                "Global.use_preprocess_img": False,  # sizes are bounded above
                "Global.text_score": 0.0,
                "Det.limit_type": "max",
                "Det.limit_side_len": self._max_side + _THINNEST,
                "Det.max_candidates": self._max_boxes,
            }
        )
