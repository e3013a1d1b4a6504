"""Which videos of what is served lie in damaged blocks, found out before a refresh relies on them."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from mmsearch.index import ForwardIndex
from mmsearch.protocols import Bool

log = logging.getLogger(__name__)

#: Bytes of vectors that are mapped at a time; some hundred blocks, so that those cut in two do not count.
_WINDOW = 1 << 26


def find_damaged(index_dir: Path, served: ForwardIndex, asked: Bool) -> Bool | None:
    """Compare the blocks of some rows with their checksums; tell which rows are damaged.

    The generation is opened anew for every 64 MiB and let go after them: pages of a mapped file count as memory of the
    process for as long as it is mapped, and all of an index may be more than the machine has.

    Args:
        index_dir: the index.
        served: one of its generations, held open, so that it stays.
        asked: which rows of `served` to compare, [num_rows].

    Returns:
        Which of these rows are damaged, [num_rows]; None = none is.

    Raises:
        CorruptIndexError: the generation cannot be opened any more.
    """
    damaged = np.zeros(served.num_rows, np.bool_)
    for space in served.spaces:
        height = max(1, _WINDOW // (4 * space.row_dim))
        for start in range(0, served.num_rows, height):
            some = start + np.flatnonzero(asked[start : start + height])
            if len(some):
                opened = ForwardIndex.open(index_dir, served.generation)
                damaged[some[~opened.sound(space.name, some)]] = True
                del opened
    if not damaged.any():
        return None
    log.warning("%d videos lie in damaged blocks of %s and are embedded anew", damaged.sum(), served.generation)
    return damaged
