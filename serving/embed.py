"""Embed one shard of a corpus."""

from __future__ import annotations

import numpy as np

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.logs import ProgressBar
from mmsearch.protocols import DocumentEncoder, Embedded
from serving.plan import ShardPlan


def embed_shard(
    corpus: PreparedCorpus, shard: ShardPlan, encoder: DocumentEncoder, batch_size: int, bar: ProgressBar
) -> dict[str, Embedded]:
    """Give the vectors of a shard's videos in every space, in the order of their rows.

    Batches begin with the shard, so that the same shard makes the same batches whatever was done before it.
    """
    parts: list[dict[str, Embedded]] = []
    for start in range(shard.rows.start, shard.rows.stop, batch_size):
        rows = range(start, min(start + batch_size, shard.rows.stop))
        parts.append(encoder.encode(corpus.read(rows)))
        bar.advance(len(rows))
    return {space.name: _join([part[space.name] for part in parts]) for space in encoder.spaces}


def _join(parts: list[Embedded]) -> Embedded:
    return Embedded(np.concatenate([p.vectors for p in parts]), np.concatenate([p.present for p in parts]))
