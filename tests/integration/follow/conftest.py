"""An index whose vectors can be foretold, a follower that is stepped by hand, and one in a process of its own."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mmsearch.data.contents import contents_of
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.data.prepare_video import VideoPreparer
from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.logs import progress
from mmsearch.protocols import Embedded, PreparedVideo
from mmsearch.types import Modality, Space, Video
from serving.follow.bookmark import folder_of
from serving.follow.change import ChangeReader
from serving.follow.encode import encode
from serving.follow.events import Dropped, Prepared
from serving.follow.follower import Follower
from serving.follow.ledger import Ledger
from serving.follow.rejects import Rejects
from serving.follow.settings import FollowSettings
from serving.follow.status import Status
from serving.follow.stream import Stream, open_stream

PREPARE = PrepareSettings(num_frames=1, image_size=8)


def vector_of(title: str, space: Space) -> np.ndarray:
    seed = hashlib.sha256(f"{space.name} {space.fingerprint} {title}".encode()).digest()
    vector = np.random.default_rng(list(seed)).standard_normal(space.row_dim)
    return (vector / np.linalg.norm(vector)).astype(np.float32)


class Encoder:
    """Vectors by hash of the title; `boom` raises, `nan` gives NaN."""

    def __init__(self, weights: str = "1") -> None:
        self.spaces = (Space("cover", 4, f"cover-{weights}"), Space("content", 8, f"content-{weights}"))

    def encode(self, videos: Sequence[PreparedVideo]) -> dict[str, Embedded]:
        titles = [video.texts.get(Modality.TITLE, "") for video in videos]
        if "boom" in titles:
            raise RuntimeError("boom")
        present = np.array([title != "" for title in titles])
        found = {s.name: Embedded(np.stack([vector_of(t, s) for t in titles]), present) for s in self.spaces}
        found["content"].vectors[[title == "nan" for title in titles]] = np.nan
        return found

    def export(self, folder: Path) -> Path:
        """Write the part of a query tower that the index reads."""
        folder.mkdir(parents=True, exist_ok=True)
        rows = [asdict(space) | {"output": space.name} for space in self.spaces]
        (folder / "query_tower.json").write_text(json.dumps({"format_version": 2, "max_length": 8, "spaces": rows}))
        return folder


def publish_base(index_dir: Path, titles: Mapping[str, str], weights: str = "1") -> str:
    """Publish a whole generation of videos with titles, as a refresh would; float32."""
    encoder, preparer = Encoder(weights), VideoPreparer(PREPARE)
    prepared = [preparer(Video(doc_id, title=title)).video for doc_id, title in titles.items()]
    tower = encoder.export(index_dir.parent / f"tower-{weights}")
    with GenerationWriter(index_dir, encoder.spaces, dtype="float32") as writer:
        writer.add(list(titles), encoder.encode(prepared), contents_of(prepared))
        return writer.publish(query_tower=tower, source={"corpus_hash": "x", "num_videos": len(titles)})


def check_served(index_dir: Path, expected: Mapping[str, str], gone: Sequence[str] = ()) -> None:
    """Check that exactly these titles are served, by their vectors, and others are not."""
    index = ForwardIndex.open(index_dir, verify="full")
    rows = index.rows([*expected, *gone])
    assert (rows[: len(expected)] >= 0).all()
    assert (rows[len(expected) :] == -1).all()
    assert index.num_docs == len(expected)
    for space in Encoder().spaces:
        vectors, present = index.vectors(space.name, rows[: len(expected)])
        assert present.all()
        np.testing.assert_array_equal(vectors, np.stack([vector_of(title, space) for title in expected.values()]))


class Inline:
    """A pipeline without threads: what is asked for is done at once, but for videos that are held."""

    def __init__(self, encoder: Encoder, ledger: Ledger) -> None:
        self.encoder, self.ledger, self.preparer = encoder, ledger, VideoPreparer(PREPARE)
        self.held: set[str] = set()
        self.embedded: list[str] = []
        self.waiting: list = []
        self.happened: list = []

    def prepare(self, ticket, video) -> None:
        self.waiting.append((ticket, video))

    def embed(self, ticket, video) -> None:
        self.embedded.append(video.doc_id)
        self.happened += encode([(ticket, video)], self.encoder)

    def events(self) -> list:
        free = [row for row in self.waiting if row[1].doc_id not in self.held]
        self.waiting = [row for row in self.waiting if row[1].doc_id in self.held]
        for ticket, video in free:
            if not self.ledger.counts(ticket):
                self.happened.append(Dropped(ticket))
                continue
            done = self.preparer(video)
            self.happened.append(Prepared(ticket, done.video, done.rejections))
        happened, self.happened = self.happened, []
        return happened


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Stepped:
    """A follower by hand: `append` lines, `step`, look."""

    def __init__(self, index_dir: Path, source: str, settings: FollowSettings, clock: Clock) -> None:
        encoder, ledger, self.clock = Encoder(), Ledger(), clock
        self.stream: Stream = open_stream(source, settings)
        self.folder = folder_of(index_dir, self.stream.name)
        self.pipeline = Inline(encoder, ledger)
        self.rejects = Rejects(self.folder / "rejected.jsonl")
        with progress("follow", None) as bar:
            status = Status(settings.status_every_s, bar, clock)
        self.follower: Follower
        try:
            self._follow(index_dir, source, settings, status, encoder, ledger)
        except BaseException:
            self.close()
            raise

    def _follow(self, index_dir, source, settings, status, encoder, ledger) -> None:
        reader = ChangeReader(Path(source) if "://" not in source else Path())
        self.follower = Follower(
            index_dir,
            self.folder,
            encoder.spaces,
            self.stream,
            reader,
            self.pipeline,  # type: ignore[arg-type]
            ledger,
            self.rejects,
            settings,
            status,
            self.clock,
        )

    def steps(self, count: int = 3) -> None:
        for _ in range(count):
            self.follower.step()

    def settle(self) -> None:
        """Let everything that was written become visible."""
        self.steps()
        self.clock.now += 7
        self.steps()

    def close(self) -> None:
        self.stream.close()
        self.rejects.__exit__(None, None, None)


def upsert(doc_id: str, title: str) -> str:
    return json.dumps({"doc_id": doc_id, "title": title}) + "\n"


def delete(doc_id: str) -> str:
    return json.dumps({"op": "delete", "doc_id": doc_id}) + "\n"


@pytest.fixture
def lab() -> SimpleNamespace:
    """The functions and classes above."""
    return SimpleNamespace(**globals())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def follow(tmp_path: Path, clock: Clock) -> Iterator[Callable[..., Stepped]]:
    """Start a follower of `tmp_path/stream` into `tmp_path/index`."""
    (tmp_path / "stream").mkdir()
    opened: list[Stepped] = []

    def start(source: str | None = None, **settings: object) -> Stepped:
        chosen = FollowSettings(**{"max_delay_s": 10.0, "compact_above": None, **settings})
        opened.append(Stepped(tmp_path / "index", source or str(tmp_path / "stream"), chosen, clock))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


@pytest.fixture
def append(tmp_path: Path) -> Callable[..., None]:
    """Append lines to the stream."""

    def write(*lines: str, file: str = "1.jsonl") -> None:
        with (tmp_path / "stream" / file).open("a") as opened:
            opened.write("".join(lines))

    return write


@pytest.fixture
def real_follower(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Start a follower with the foretold encoder in a process of its own, and wait until it is at work."""
    started: list[subprocess.Popen] = []

    def start(source: str, *settings: str) -> subprocess.Popen:
        script = Path(__file__).with_name("follower_process.py")
        command = [sys.executable, str(script), str(tmp_path / "index"), source, *settings]
        log = (tmp_path / "follower.log").open("a")
        process = subprocess.Popen(command, stderr=log, stdout=subprocess.PIPE, text=True)
        log.close()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def wait_until(what: Callable[[], bool], seconds: float = 60.0) -> float:
    """Wait for something, and give the seconds that it took."""
    start = time.monotonic()
    while not what():
        assert time.monotonic() - start < seconds, "it did not happen"
        time.sleep(0.01)
    return time.monotonic() - start
