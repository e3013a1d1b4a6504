"""Which frames are chosen: against the naive definition, for any timestamps."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.data.decoders.index import VideoIndex


@given(
    start=st.integers(-(10**12), 10**12),
    gaps=st.lists(st.integers(1, 10**6), min_size=1, max_size=50),
    count=st.integers(1, 40),
)
def test_the_frame_on_screen_at_the_centre_of_each_part(start: int, gaps: list[int], count: int) -> None:
    edges = [start, *(start + sum(gaps[: n + 1]) for n in range(len(gaps)))]
    pts = np.array(edges[:-1], dtype=np.int64)
    index = VideoIndex(Path("a.mp4"), "mov", pts, pts[:1], edges[-1], Fraction(1, 90_000))
    centres = [start + Fraction(2 * i + 1, 2 * count) * (edges[-1] - start) for i in range(count)]
    naive = [max(n for n, begins in enumerate(edges[:-1]) if begins <= centre) for centre in centres]
    assert index.choose(count).tolist() == naive
    assert index.seconds(index.choose(count)).tolist() == [(edges[n] - start) * (1 / 90_000) for n in naive]
