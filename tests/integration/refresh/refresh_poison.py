"""An encoder that some videos break, importable in worker processes; and a driver that embeds a corpus with it.

A vector depends on the whole batch that it was made in: equal bytes mean equal batches.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import time
from functools import partial
from pathlib import Path

import numpy as np
from pydantic import TypeAdapter

from mmsearch.protocols import Embedded
from mmsearch.types import Space
from serving.embed import EmbedJob
from serving.executors import ExecutorSettings
from serving.work_item import WorkItem

BATCH_SIZE = 4


class Encoder:
    """Vectors by hash of the batch's ids; does what `poison` says for an id."""

    spaces = (Space("content", 8, "f1"), Space("cover", 4, "f2", 2))

    def __init__(self, poison, log, pause_s):
        self.poison, self.log, self.pause_s = poison, os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT), pause_s

    def encode(self, videos):
        os.write(self.log, "".join(f"{video.doc_id}\n" for video in videos).encode())
        time.sleep(self.pause_s)
        embedded = {space.name: self._vectors(videos, space) for space in self.spaces}
        for row, video in enumerate(videos):
            kind = self.poison.get(video.doc_id)
            if kind is not None:
                getattr(self, f"_{kind}")(embedded, row)
        return embedded

    def _vectors(self, videos, space):
        batch = " ".join(video.doc_id for video in videos)
        seeds = [hashlib.sha256(f"{space.name} {video.doc_id} of {batch}".encode()).digest() for video in videos]
        codes = np.stack([np.random.default_rng(list(s)).standard_normal((space.num_codes, space.dim)) for s in seeds])
        codes /= np.linalg.norm(codes, axis=2, keepdims=True)
        present = np.array([space.name == "content" or int(video.doc_id[1:]) % 5 != 0 for video in videos])
        return Embedded(codes.astype(np.float32).reshape(len(videos), -1), present)

    def _crash(self, embedded, row):
        ctypes.string_at(0)

    def _timeout(self, embedded, row):
        ctypes.PyDLL(None).sleep(600)  # holds the interpreter: no other thread runs

    def _memory(self, embedded, row):
        np.ones(8 << 30, np.uint8)

    def _raised(self, embedded, row):
        raise ValueError("no such thing")

    def _not_finite(self, embedded, row):
        embedded["content"].vectors[row, 3] = np.nan


def new_job(folder, poison, pause_s=0.0):
    load = partial(Encoder, poison, str(folder / "log"), pause_s)
    return EmbedJob(folder / "corpus", load, BATCH_SIZE, "float16", (), folder / "work")


def cut(num_videos, size):
    return [WorkItem(f"k{at}", tuple(range(at, min(at + size, num_videos)))) for at in range(0, num_videos, size)]


def main(folder, executor, poison):
    """Embed the corpus in a folder; settings of the executor and poison as JSON."""
    settings = json.loads(executor)
    num_videos, size, pause_s = settings.pop("num_videos"), settings.pop("size"), settings.pop("pause_s")
    built = TypeAdapter(ExecutorSettings).validate_python(settings).build()
    done = [done.key for done in built.run(cut(num_videos, size), new_job(Path(folder), json.loads(poison), pause_s))]
    print(*sorted(done))
