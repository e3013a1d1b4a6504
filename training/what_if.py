"""Videos as they would be without a modality, or with that of another video."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mmsearch.protocols import PreparedVideo
from mmsearch.types import Modality


def altered(video: PreparedVideo, modality: Modality, lender: PreparedVideo | None) -> PreparedVideo:
    """Give a video with a modality of another one in place of its own; None = without it."""
    hashes = _exchanged(video.hashes, modality, None if lender is None else lender.hashes.get(modality))
    if modality is Modality.COVER:
        return replace(video, cover=None if lender is None else lender.cover, hashes=hashes)
    if modality is Modality.FRAMES:
        return replace(video, frames=() if lender is None else lender.frames, hashes=hashes)
    texts = _exchanged(video.texts, modality, None if lender is None else lender.texts.get(modality))
    altered = replace(video, texts=texts, hashes=hashes)
    if modality is not Modality.ASR:
        return altered
    return replace(altered, key_sentences=None if lender is None else lender.key_sentences)


def _exchanged(values: Mapping[Modality, str], modality: Modality, value: str | None) -> dict[Modality, str]:
    kept = {key: own for key, own in values.items() if key is not modality}
    return kept if value is None else kept | {modality: value}


def lenders(has: npt.NDArray[np.bool_], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Draw who lends a modality to whom.

    Args:
        has: which videos have it, [V].
        rng: of random numbers.

    Returns:
        For each video the number of its lender, [V]. Those that have the modality lend it in one random ring, so that
        every one is used once and none keeps its own (but for a single one); the others are their own lenders: they
        stay without it.
    """
    found = np.arange(len(has))
    ring = rng.permutation(np.flatnonzero(has))
    found[ring] = np.roll(ring, 1)
    return found
