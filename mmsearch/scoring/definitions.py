"""What each feature is, in words."""

from __future__ import annotations

from collections.abc import Mapping

from mmsearch.index.query_tower import TowerSpace
from mmsearch.scoring.scorer import FeatureScorer
from mmsearch.types import Modality

_SPACES = {
    "cover": "the cover picture",
    "frames": "the frames",
    "perception": "what a searcher sees before the click (title, account, cover and the text on it)",
    "content": "all that the video is (also its frames, the text in them and the speech)",
}
_MODALITIES = {
    Modality.TITLE: "the title",
    Modality.ACCOUNT: "the name of the account",
    Modality.COVER: "the cover picture",
    Modality.COVER_OCR: "the text on the cover",
    Modality.FRAMES: "the frames",
    Modality.CONTENT_OCR: "the text in the frames",
    Modality.ASR: "the speech",
}
_COUNTED = {
    "max": "the closest of {} codes",
    "min": "the furthest of {} codes",
    "weighted": "a softmax-weighted sum over {} codes (sharpness {:g})",
    "mean": "the mean of {} codes",
}


def feature_definitions(scorer: FeatureScorer) -> Mapping[str, str]:
    """Give a sentence for every feature of a scorer, by name, in the order of its names.

    Where an index holds vectors of two models, what is said of codes is said of the newest that has the space.
    """
    told: dict[str, TowerSpace] = {}
    for version in scorer.versions:
        told |= version.spaces
    found = {name: _of_space(name, told.get(name)) for name in scorer.spaces}
    found |= {name: _of_poly(space, told[space]) for space, name in scorer.poly.items()}
    return found | {feature.name: feature.definition for feature in scorer.derived}


def _of_space(name: str, space: TowerSpace | None) -> str:
    domain, _, modality = name.partition(".")
    known = _SPACES.get(name, f"the space '{name}'")
    if modality in set(Modality):
        known = f"what the {domain} tower makes of {_MODALITIES[Modality(modality)]} alone"
    if space is None or space.num_codes == 1:
        return f"Cosine of the query with {known}."
    counted = _COUNTED[space.selection].format(space.num_codes, space.sharpness)
    return f"Cosine of the query with {known}: {counted}."


def _of_poly(name: str, space: TowerSpace) -> str:
    weighted = _COUNTED["weighted"].format(space.num_codes, space.sharpness)
    return f"As {name}, by another selection: {weighted}, as in poly-encoders (arXiv:1905.01969)."
