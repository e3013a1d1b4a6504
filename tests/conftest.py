"""What several folders of tests share: a tiny corpus, a tiny model's settings, and the lent data."""

import io
import json
import logging
import os
import socket
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from PIL import Image

# the first call of a fast path loads it, and machines are shared: an example may take its time; the test has a limit
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 60), "blue": (40, 60, 220), "yellow": (230, 220, 40)}
THINGS = ("ball", "kite", "car", "fish", "cup", "boat")
PLACES = ("beach", "forest", "kitchen")

TINY_MODEL = {
    "dim": 16,
    "num_frames": 2,
    "lengths": {"query": 8, "title": 8, "account": 4, "cover_ocr": 4, "content_ocr": 4, "asr": 12},
    "document": {
        "image": {
            "image_size": 16,
            "args": {"patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2},
        },
        "text": {"width": 16, "depth": 1, "heads": 2, "max_length": 12},
        "frames": {"depth": 1, "heads": 2, "max_frames": 2},
        "fusion": {"depth": 1, "heads": 2, "num_codes": 3},
    },
    "query": {"teacher": {"width": 16, "depth": 4, "heads": 2, "max_length": 8}, "student_depth": 2},
}


def jpeg(colour, size=16):
    """A picture of one colour, as JPEG bytes."""
    out = io.BytesIO()
    Image.fromarray(np.full((size, size, 3), colour, np.uint8)).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture(scope="session")
def tiny_model():
    """Settings of a model that trains in milliseconds a step, as a plain tree."""
    return TINY_MODEL


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory):
    """A folder with tables and pictures: every colour with every thing; some modalities missing."""
    folder = tmp_path_factory.mktemp("world")
    videos, clicks, judgments = [], [], []
    for number, (colour, thing) in enumerate((c, t) for c in COLOURS for t in THINGS):
        doc_id = f"d{number:02d}"
        row = {
            "doc_id": doc_id,
            "title": f"the {colour} {thing}",
            "asr": f"here is a {thing} on the {PLACES[number % 3]}",
        }
        if number % 5:
            (folder / f"{doc_id}.jpg").write_bytes(jpeg(COLOURS[colour]))
            row |= {"cover": f"{doc_id}.jpg", "frames": [f"{doc_id}.jpg"] * 2}
        if number % 7 == 3:
            del row["title"]
        videos.append(row | {"duration_s": 4.0})
        if number < 16:
            clicks.append({"query": f"{colour} {thing}", "doc_id": doc_id, "watch_s": 4.0 if number % 3 else 0.5})
    for query in ("red ball", "blue fish", "yellow kite", "green cup"):
        colour, thing = query.split()
        for number, (c, t) in enumerate((c, t) for c in COLOURS for t in THINGS):
            judgments.append({"query": query, "doc_id": f"d{number:02d}", "grade": (c == colour) + (t == thing)})
    for name, rows in (
        ("videos", videos),
        ("interactions", clicks),
        ("judgments_train", [row for row in judgments if row["doc_id"] < "d16"]),
        ("judgments_val", [row for row in judgments if row["doc_id"] >= "d16"]),
    ):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def tiny_corpus(tiny_world, tmp_path_factory):
    """The prepared corpus of the tiny world."""
    from mmsearch.data.prepare import prepare
    from mmsearch.data.prepare_settings import PrepareSettings

    out = tmp_path_factory.mktemp("corpus") / "corpus"
    settings = PrepareSettings(num_frames=2, image_size=16, shard_size=8, row_group_size=4, num_workers=1)
    prepare(tiny_world / "videos.jsonl", out, settings)
    return out


@pytest.fixture(scope="session")
def real_data():
    """The folder of the lent data; the test skips where it is absent."""
    folder = Path(os.environ.get("MMSEARCH_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("the lent data is not here; set MMSEARCH_DATA to its folder")
    return folder


@pytest.fixture(autouse=True)
def ordinary_priority():
    """No test leaves its process with a real-time priority, which everything that it starts later would have too."""
    yield
    if hasattr(os, "sched_getscheduler") and os.sched_getscheduler(0) not in (os.SCHED_OTHER, os.SCHED_BATCH):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        pytest.fail("the test left its process with a real-time priority: every other process would starve")


@pytest.fixture(autouse=True)
def own_logging():
    """What a command, or a fixture of a module, set up for the logs in this process does not reach a test.

    pytest gives its handler to the root and to loggers that do not propagate; a test that lets such a one propagate
    would see every record twice.
    """
    _forget_logging()
    yield
    _forget_logging()


def _forget_logging():
    for name in ("mmsearch", "training", "serving"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        logger.setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch):
    """No test reaches the network: connections leave this process for loopback addresses and local sockets only."""
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise PermissionError(f"a test tried to connect to {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
