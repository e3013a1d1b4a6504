"""Running a tower over batches: order, reading ahead, halving where memory lacks, reusing what towers gave."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from mmsearch.protocols import Embedded, PreparedVideo, SteppedEncoder
from mmsearch.types import Modality, Space
from serving.batches import BatchRunner

COVER = Modality.COVER


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


def read(places):
    return [PreparedVideo(f"v{place}", {}, None, (), {}) for place in places]


class Plain:
    """Gives each video its number; has memory for so many at once."""

    spaces = (Space("number", 1, "f"),)

    def __init__(self, room=100, error=MemoryError):
        self.room, self.error, self.asked = room, error, []

    def encode(self, videos):
        self.asked.append(len(videos))
        if len(videos) > self.room:
            raise self.error("no room")
        numbers = np.array([[float(video.doc_id[1:])] for video in videos], np.float32)
        return {"number": Embedded(numbers, np.ones(len(videos), np.bool_))}


class Stepped(Plain):
    """In steps; notes in which thread videos are read, and what was known of them."""

    towers = {COVER: "c"}

    def __init__(self, room=100):
        super().__init__(room)
        self.readers, self.known = set(), []

    def read(self, videos, reused=None):
        self.readers.add(threading.get_ident())
        self.known.append({videos[at].doc_id: float(x[0]) for at, x in (reused or {}).get(COVER, {}).items()})
        return list(videos)

    def run_towers(self, inputs):
        return inputs

    def fuse(self, outputs):
        return self.encode(outputs)

    def kept(self, outputs):
        return {COVER: {at: np.array([2.0], np.float32) for at in range(len(outputs))}, Modality.FRAMES: {}}


def numbers(batches):
    return [float(x) for batch in batches for x in batch.embedded["number"].vectors[:, 0]]


@pytest.mark.parametrize("size", [1, 3, 10, 11])
def test_every_video_comes_in_its_place(size):
    places = [9, 3, 4, 0, 1, 2, 8, 7, 6, 5]
    encoder = Plain()
    batches = list(BatchRunner(encoder, read, {}, ()).run(places, size))
    assert numbers(batches) == places
    assert [doc_id for batch in batches for doc_id in batch.doc_ids] == [f"v{place}" for place in places]
    assert encoder.asked == [min(size, 10 - at) for at in range(0, 10, size)]
    assert list(BatchRunner(encoder, read, {}, ()).run([], size)) == []


@pytest.mark.parametrize("error", [MemoryError, OutOfMemoryError, lambda _: RuntimeError("DefaultCPUAllocator: ...")])
def test_what_is_too_large_is_halved_and_stays_so(error):
    encoder = Plain(room=3, error=error)
    assert numbers(BatchRunner(encoder, read, {}, ()).run(range(20), 8)) == list(range(20))
    assert encoder.asked == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2]


def test_no_memory_for_one_video_is_an_error_and_others_pass():
    with pytest.raises(MemoryError, match="MemoryError: no room"):
        list(BatchRunner(Plain(room=0), read, {}, ()).run(range(4), 2))
    with pytest.raises(RuntimeError, match="cuda is broken"):
        list(BatchRunner(Plain(0, lambda _: RuntimeError("cuda is broken")), read, {}, ()).run(range(4), 2))


def test_a_stepped_tower_reads_ahead_and_reuses_what_is_known():
    encoder = Stepped(room=3)
    assert isinstance(encoder, SteppedEncoder)
    known = {COVER: {place: np.array([place * 10.0], np.float32) for place in (0, 5, 6)}}
    batches = list(BatchRunner(encoder, read, known, (COVER,)).run([0, 1, 4, 5, 6, 7], 4))
    assert numbers(batches) == [0, 1, 4, 5, 6, 7]
    assert {"v0": 0.0, "v5": 50.0} in encoder.known
    assert {"v0": 0.0} in encoder.known, "the first half of it"
    assert {"v6": 60.0} in encoder.known
    assert [sorted(batch.towers[COVER]) for batch in batches] == [[0, 1], [0, 1], [0, 1]]
    assert not encoder.readers <= {threading.get_ident()}


def test_one_batch_is_read_while_another_is_computed():
    """The first computation ends only when the second batch was read."""
    second = threading.Event()

    def watched(places):
        if 2 in places:
            second.set()
        return read(places)

    class Waits(Plain):
        def encode(self, videos):
            assert second.wait(20)
            return super().encode(videos)

    assert numbers(BatchRunner(Waits(), watched, {}, ()).run(range(4), 2)) == [0, 1, 2, 3]


def test_an_error_of_reading_comes_out_and_no_thread_stays():
    def broken(places):
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        list(BatchRunner(Plain(), broken, {}, ()).run(range(4), 2))
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("read")] == []
