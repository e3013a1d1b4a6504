"""A Redis stream, on a real server."""

import json
import shutil
import signal
import subprocess
import time

import pytest

from mmsearch.data.lines import Unreadable
from mmsearch.errors import ConfigError, DataError
from mmsearch.index import ForwardIndex
from serving.follow import redis_stream
from serving.follow.redis_stream import RedisStream

redis = pytest.importorskip("redis")
if shutil.which("redis-server") is None:
    pytest.skip("redis-server is not installed", allow_module_level=True)

TITLES = {f"v{number}": f"title {number}" for number in range(20)}


class Server:
    """A server on a socket, which can be stopped and started again with its data."""

    def __init__(self, folder):
        self.folder, self.socket = folder, folder / "redis.sock"
        self.url = f"unix://{self.socket}?db=0&stream=videos"
        self.start()

    def start(self):
        command = ["redis-server", "--port", "0", "--unixsocket", str(self.socket), "--dir", str(self.folder)]
        command += ["--save", "", "--appendonly", "yes", "--appendfsync", "always", "--logfile", "redis.log"]
        self.process = subprocess.Popen(command)
        self.client = redis.Redis(unix_socket_path=str(self.socket))
        until = time.monotonic() + 30
        while True:
            try:
                self.client.ping()
                return
            except redis.ConnectionError:
                assert time.monotonic() < until, (self.folder / "redis.log").read_text()
                time.sleep(0.02)

    def stop(self):
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def add(self, *lines):
        return [self.client.xadd("videos", {"json": line}).decode() for line in lines]


@pytest.fixture
def server(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


def numbers(entries):
    return [int(entry.cells["doc_id"][1:]) for entry in entries]


def line(number):
    return json.dumps({"doc_id": f"v{number}", "title": "熊猫"})


@pytest.fixture
def open_stream(server):
    opened = []

    def start(url=server.url):
        opened.append(RedisStream(url))
        return opened[-1]

    yield start
    for one in opened:
        one.close()


def test_entries_come_once_and_in_order_and_again_after_a_seek(server, open_stream):
    stream = open_stream()
    stream.seek(None)
    server.add(*map(line, range(5)))
    first = stream.read(3)
    assert numbers(first) == [0, 1, 2]
    assert numbers(stream.read(9)) == [3, 4]
    assert stream.read(9) == []
    stream.done(first[1].position)
    assert server.client.xpending("videos", "mmsearch")["pending"] == 3
    again = open_stream()  # as after a kill: what was delivered and not published comes again
    again.seek(json.loads(json.dumps(first[1].position)))
    assert numbers(again.read(9)) == [2, 3, 4]
    again.seek(None)
    assert numbers(again.read(9)) == [0, 1, 2, 3, 4], "an index that was rolled back"
    assert abs(first[0].arrived - time.time()) < 60


def test_cells_may_be_fields_and_bad_entries_are_told(server, open_stream, monkeypatch):
    monkeypatch.setattr(redis_stream, "MAX_LINE_BYTES", 100)
    stream = open_stream()
    stream.seek(None)
    server.client.xadd("videos", {"doc_id": "v1", "title": "t", "frames": '["a.jpg"]'})
    server.client.xadd("videos", {"doc_id": b"\xff"})
    server.client.xadd("videos", {"json": "nonsense"})
    server.client.xadd("videos", {"title": b"x" * 100})
    cells = [entry.cells for entry in stream.read(9)]
    assert cells[0] == {"doc_id": "v1", "title": "t", "frames": '["a.jpg"]'}
    assert all(isinstance(cell, Unreadable) for cell in cells[1:])


def test_a_stream_that_was_cut_is_told(server, open_stream, caplog):
    stream = open_stream()
    ids = server.add(*map(line, range(5)))
    server.client.xtrim("videos", minid=ids[2], approximate=False)
    stream.seek({"id": ids[2]})
    server.client.xtrim("videos", maxlen=1, approximate=False)
    stream.seek({"id": ids[4]})
    assert "removed" not in caplog.text
    stream.seek({"id": ids[2]})
    assert f"entries behind {ids[2]} may have been removed" in caplog.text
    assert numbers(stream.read(9)) == [4]


def test_a_server_that_goes_away_is_waited_for(server, open_stream):
    stream = open_stream()
    stream.seek(None)
    server.add(*map(line, range(3)))
    assert numbers(stream.read(1)) == [0]
    server.stop()
    assert stream.read(1) == []
    stream.wait(0.01)
    server.start()
    assert numbers(stream.read(9)) == [1, 2]


def test_the_password_is_in_no_message_and_in_no_name(open_stream):
    with pytest.raises(DataError) as told:
        RedisStream("redis://me:hunter2@127.0.0.1:1/0?stream=videos")
    assert "hunter2" not in str(told.value)
    assert "redis://127.0.0.1:1/0?stream=videos" in str(told.value)
    with pytest.raises(ConfigError, match="names no stream"):
        RedisStream("redis://127.0.0.1:1/0")


def test_it_is_followed_into_an_index(server, lab, tmp_path, follow):
    lab.publish_base(tmp_path / "index", TITLES)
    follower = follow(server.url)
    ids = server.add(lab.upsert("v1", "one"), lab.delete("v2"), "nonsense", lab.upsert("w1", "new"))
    follower.settle()
    expected = {k: v for k, v in TITLES.items() if k != "v2"} | {"v1": "one", "w1": "new"}
    lab.check_served(tmp_path / "index", expected, gone=["v2"])
    (group,) = server.client.xinfo_groups("videos")
    assert (group["last-delivered-id"].decode(), group["pending"]) == (ids[-1], 0)
    served = ForwardIndex.open(tmp_path / "index")
    assert served.source["streams"][f"unix://{server.socket}?stream=videos"]["position"] == {"id": ids[-1]}


@pytest.mark.nightly
def test_a_real_process_makes_it_visible_in_time(server, lab, tmp_path, real_follower):
    lab.publish_base(tmp_path / "index", TITLES)
    process = real_follower(server.url, "max_delay_s=6")
    lab.wait_until(lambda: bool(server.client.exists("videos")))
    server.add(lab.upsert("v0", "warm"))
    index = tmp_path / "index"
    lab.wait_until(lambda: ForwardIndex.open(index).base is not None)
    server.add(lab.upsert("w1", "new"))
    took = lab.wait_until(lambda: ForwardIndex.open(index).rows(["w1"])[0] >= 0)
    server.add(lab.delete("v5"))
    delete = lab.wait_until(lambda: ForwardIndex.open(index).rows(["v5"])[0] < 0)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    lab.check_served(index, {k: v for k, v in TITLES.items() if k != "v5"} | {"v0": "warm", "w1": "new"}, gone=["v5"])
    assert took < 6
    assert delete < 3
