"""Text towers: token ids to contextual tokens."""

from typing import Annotated

from pydantic import Tag

from mmsearch.config import by_type
from mmsearch.encoders.text.bert import BertTextSettings, BertTextTower
from mmsearch.encoders.text.open_clip_text import OpenClipTextSettings, OpenClipTextTower
from mmsearch.encoders.text.transformer import TransformerTextSettings, TransformerTextTower

TextTower = TransformerTextTower | BertTextTower | OpenClipTextTower
TextTowerSettings = Annotated[
    Annotated[TransformerTextSettings, Tag("transformer")]
    | Annotated[BertTextSettings, Tag("bert")]
    | Annotated[OpenClipTextSettings, Tag("open_clip")],
    by_type("transformer"),
]

__all__ = [
    "BertTextSettings",
    "BertTextTower",
    "OpenClipTextSettings",
    "OpenClipTextTower",
    "TextTower",
    "TextTowerSettings",
    "TransformerTextSettings",
    "TransformerTextTower",
]
