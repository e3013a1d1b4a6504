"""The lent real clips: every decoder reads all of them, and picks the frames that reading from the start picks."""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np
import pytest

from mmsearch.data.decoders.index import read_index
from mmsearch.data.media import MediaLimits
from mmsearch.data.prepare import prepare
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.video import decode_frames

DATA = Path(os.environ.get("MMSEARCH_DATA", Path(__file__).parents[3] / "shared" / "data"))
CLIPS = DATA / "clips"
pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not CLIPS.is_dir(), reason="the lent clips are not here"),
]


def all_frames(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_frames_are_those_of_reading_from_the_start(decoder: str) -> None:
    if decoder == "decord":
        pytest.importorskip("decord")
    paths = sorted((CLIPS / "video").iterdir())
    for path in paths:
        naive = all_frames(path)
        chosen = read_index(str(path), MediaLimits()).choose(5)
        got = decode_frames(str(path), 5, decoder=decoder)
        for number, frame in zip(chosen, got.frames, strict=True):
            assert np.abs(naive[number].astype(int) - frame).max() <= 3, (path, number)
    assert len(paths) == 17


def test_the_clips_become_a_corpus(tmp_path: Path) -> None:
    settings = PrepareSettings(num_frames=4, image_size=64, num_workers=2)
    summary = prepare(CLIPS / "videos.jsonl", tmp_path, settings)
    assert (summary.num_videos, summary.rejected) == (17, {})
    corpus = PreparedCorpus.open(tmp_path)
    corpus.verify()
    assert all(len(video.frames) == 4 for video in corpus.read(range(17)))
