"""What a refresh has to do: which shards, under which keys, and whether there is anything to do at all."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import DataError, IntegrityError
from mmsearch.files import hash_bytes
from mmsearch.index import ForwardIndex
from mmsearch.types import Space

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ShardPlan:
    """A shard, and the key of its vectors: hash of the shard's content, the spaces' fingerprints, and the storage."""

    name: str
    rows: range
    key: str


def plan_shards(corpus: PreparedCorpus, spaces: Sequence[Space], dtype: str, batch_size: int) -> list[ShardPlan]:
    """Give the work on every shard, in the order of the rows.

    The batch size is part of the key: the sums of a tower may differ in the last bit with the shape of its batch, and
    a resumed refresh gives the very bytes of an undisturbed one.
    """
    made_by = json.dumps([[space.name, space.dim, space.fingerprint, space.num_codes] for space in spaces])
    plans, start = [], 0
    for shard in corpus.shards:
        key = _key(shard.key, made_by, dtype, str(batch_size))
        plans.append(ShardPlan(shard.name, range(start, start + shard.rows), key))
        start += shard.rows
    return plans


def _key(*parts: str) -> str:
    return hash_bytes(*(part.encode() for part in parts))


def served_already(index_dir: Path, corpus: PreparedCorpus, spaces: Sequence[Space], dtype: str) -> str | None:
    """Give the served generation when it holds just this corpus in just these spaces; else None."""
    try:
        index = ForwardIndex.open(index_dir)
    except IntegrityError as error:
        log.warning("what is served cannot be read, and will be replaced: %s", error)
        return None
    except DataError:  # nothing was published yet
        return None
    same = index.source.get("corpus_hash") == corpus.content_hash and index.spaces == tuple(spaces)
    return index.generation if same and set(index.dtypes.values()) == {dtype} else None
