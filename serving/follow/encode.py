"""From a prepared video to its row in the index: key sentences as `mmsearch prepare` chooses them, and vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mmsearch.data.contents import contents_of
from mmsearch.data.key_sentences import hash_of
from mmsearch.index.vectors import NORM_TOLERANCE
from mmsearch.protocols import DocumentEncoder, Embedded, PreparedVideo
from mmsearch.sentences import KeySentenceExtractor, SpokenVideo
from mmsearch.types import Modality, Space
from serving.follow.events import Encoded, Failed, Row
from serving.follow.ledger import Ticket


def with_sentences(video: PreparedVideo, extractor: KeySentenceExtractor) -> PreparedVideo:
    """Give a video with its key sentences, as `mmsearch prepare` would."""
    transcript = video.texts.get(Modality.ASR)
    if not transcript:
        return video
    spoken = SpokenVideo(video.doc_id, video.texts.get(Modality.TITLE), transcript)
    text = extractor.extract_one(spoken).text
    if not text:
        return video
    return replace(video, key_sentences=text, hashes={**video.hashes, Modality.ASR: hash_of(text)})


def encode(batch: Sequence[tuple[Ticket, PreparedVideo]], encoder: DocumentEncoder) -> list[Encoded | Failed]:
    """Embed a batch; halve it until those stand alone that cannot be embedded, be it for memory or for an error."""
    if not batch:
        return []
    embedded: Mapping[str, Embedded] | None
    try:
        embedded = encoder.encode([video for _, video in batch])
    except Exception as error:  # whatever a tower raises belongs to these videos alone
        if len(batch) == 1:
            return [Failed(batch[0][0], "raised", f"{type(error).__name__}: {error}")]
        embedded = None
    if embedded is None:  # out of the handler: the traceback would keep the tensors of the batch
        middle = len(batch) // 2
        return encode(batch[:middle], encoder) + encode(batch[middle:], encoder)
    bad = _unusable(embedded, encoder.spaces)
    found: list[Encoded | Failed] = []
    for at, (ticket, video) in enumerate(batch):
        if at in bad:
            found.append(Failed(ticket, "not_finite", bad[at]))
            continue
        own = {name: Embedded(one.vectors[at : at + 1], one.present[at : at + 1]) for name, one in embedded.items()}
        found.append(Encoded(ticket, Row(own, contents_of([video]))))
    return found


def _unusable(embedded: Mapping[str, Embedded], spaces: Sequence[Space]) -> dict[int, str]:
    """Give the places of videos whose vectors the index would refuse, and why."""
    bad: dict[int, str] = {}
    for space in spaces:
        found = embedded[space.name]
        codes = found.vectors.reshape(len(found.vectors), space.num_codes, space.dim)
        with np.errstate(over="ignore", invalid="ignore"):
            lengths = np.linalg.norm(codes.astype(np.float64), axis=2)
            off = found.present & ~(np.abs(lengths - 1) <= NORM_TOLERANCE).all(axis=1)
        bad |= {int(at): f"its vector in {space.name} is not finite, or not of length 1" for at in np.flatnonzero(off)}
    return bad
