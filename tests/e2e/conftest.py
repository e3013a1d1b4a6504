"""A small index, corpus and run folder whose every text is hostile, and a browser."""

import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from mean_tower import write_mean_tower

from mmsearch.data.prepare import prepare
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.index import GenerationWriter
from mmsearch.protocols import Embedded
from mmsearch.types import Space

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-sync",
    "--no-first-run",
]
ATTACK = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"><svg onload=alert(1)>"
QUERIES = (
    f"red panda {ATTACK}",
    "大熊猫吃竹子",
    '\u202egnitirw esrever\u202c & "quotes" </title></style>',
    "noodles at home",
)
SPACES = ("cover", "frames", "perception", "content", "content.title", "content.asr")
DIM = 8


def write_index(
    folder: Path, tower: Path, doc_ids: list[str], corpus_hash: str, names: tuple[str, ...] = SPACES, seed: int = 7
) -> None:
    """Publish random vectors; some videos lack some spaces."""
    rng = np.random.default_rng(seed)
    embedded = {}
    for number, name in enumerate(names):
        vectors = rng.standard_normal((len(doc_ids), DIM)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        present = (np.arange(len(doc_ids)) + number) % 5 != 0 if name != "content" else np.ones(len(doc_ids), bool)
        embedded[name] = Embedded(vectors, present)
    spaces = [Space(name, DIM, f"f-{name}") for name in names]
    with GenerationWriter(folder, spaces, dtype="float16") as writer:
        writer.add(doc_ids, embedded)
        writer.publish(query_tower=tower, source={"corpus_hash": corpus_hash})


def write_run(folder: Path, corpus: Path) -> None:
    """Write what `training fit` and `training diagnose` leave in a run's folder."""
    folder.mkdir()
    settings = {"run": {"dir": ATTACK}, "data": {"corpus": str(corpus)}}
    (folder / "config.yaml").write_text(json.dumps(settings), encoding="utf-8")  # JSON is YAML
    prints = {"run_hash": "abc", "spaces": {name: f"f-{name}" for name in SPACES[:4]}}
    (folder / "fingerprints.json").write_text(json.dumps(prints))
    lines = []
    for step in range(10, 101, 10):
        stage = f"first {ATTACK}" if step <= 40 else "second"
        lines.append(
            {"kind": "train", "stage": stage, "total_steps": step, "loss": 5 / step, "distil/content": 1 / step}
        )
        pnr = {"teacher/content": 1 + step / 100, "student/content": 1 + step / 120}
        lines.append({"kind": "validation", "stage": stage, "total_steps": step, "pnr": pnr})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"half a li')
    one = {"value": 1.5, "low": 1.2, "high": 1.9}
    change = {"pnr": one, "change": {"value": -0.2, "low": -0.4, "high": None}, "num_videos": 9}
    share = {"share": {"value": 0.4, "low": 0.3, "high": 0.6}, "even": 0.2, "by_tokens": 0.5, "num_videos": 9}
    weights = {"method": ATTACK, "shares": {"title": share, "asr": share}}
    parts = {"whole": one, "left_out": {"title": change}, "shuffled": {"asr": change}}
    found = {
        "format_version": 2,
        "run_hash": "abc",
        "corpus_hash": "c",
        "judgments_hash": "j",
        "num_queries": 4,
        "num_judged": 80,
        "num_shuffles": 3,
        "spaces": {
            "perception": parts | {"weights": weights},
            "content": parts | {"weights": weights | {"method": "transformer"}},
        },
        "towers": {f"content{ATTACK}": {"teacher": one, "student": one, "change": one}},
    }
    (folder / "diagnostics.json").write_text(json.dumps(found))


@pytest.fixture(scope="session")
def hostile(tiny_world, tmp_path_factory):
    """A folder with `run`, `index`, `corpus`, `judgments.jsonl` and `videos.jsonl`; titles, ids and queries attack."""
    out = tmp_path_factory.mktemp("hostile")
    rows = [json.loads(line) for line in (tiny_world / "videos.jsonl").read_text(encoding="utf-8").splitlines()]
    for number, row in enumerate(rows):
        row["doc_id"] = f"v{number}\"><b onmouseover='x'>{number}"
        row["title"] = ATTACK + "长标题" * 40 if number % 3 else "红色小球 red ball " + "W" * 200
        row["asr"] = f"</bdi></small>{ATTACK}"
        for name in ("cover",):
            if name in row:
                row[name] = str(tiny_world / row[name])
        if "frames" in row:
            row["frames"] = [str(tiny_world / frame) for frame in row["frames"]]
    (out / "videos.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    settings = PrepareSettings(num_frames=2, image_size=16, shard_size=8, row_group_size=4, num_workers=1)
    prepare(out / "videos.jsonl", out / "corpus", settings)
    from mmsearch.data.prepared import PreparedCorpus

    corpus = PreparedCorpus.open(out / "corpus")
    table = np.random.default_rng(3).standard_normal((400, DIM)).astype(np.float32)
    write_mean_tower(out / "tower", QUERIES, [Space(name, DIM, f"f-{name}") for name in SPACES], table)
    write_index(out / "index", out / "tower", list(corpus.doc_ids), corpus.content_hash)
    write_run(out / "run", out / "corpus")
    rng = np.random.default_rng(1)
    judgments = [
        {"query": query, "doc_id": doc_id, "grade": int(rng.integers(4))}
        for query in QUERIES
        for doc_id in corpus.doc_ids
    ]
    judgments.append({"query": QUERIES[0], "doc_id": "gone", "grade": 2})
    (out / "judgments.jsonl").write_text("".join(json.dumps(row) + "\n" for row in judgments), encoding="utf-8")
    return out


@pytest.fixture(scope="session")
def other_index(hostile, tmp_path_factory):
    """An index of another model: two spaces, and without three of the judged videos."""
    rows = (hostile / "videos.jsonl").read_text(encoding="utf-8").splitlines()
    doc_ids = [json.loads(row)["doc_id"] for row in rows]
    out = tmp_path_factory.mktemp("other") / "index"
    write_index(out, hostile / "tower", doc_ids[3:], "c", ("perception", "content"), seed=8)
    return out


class Browser:
    """A WebDriver session: Chromium through chromedriver, WebDriver and the DevTools protocol over HTTP."""

    def __init__(self, port, profile):
        self._port, self._session = port, ""
        options = {"binary": CHROMIUM, "args": [*ARGUMENTS, f"--user-data-dir={profile}"]}
        wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"}}
        made = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self._session = f"/session/{made['sessionId']}"

    def _call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, self._session + path, json.dumps(body) if body is not None else None)
            answer = json.loads(connection.getresponse().read())["value"]
        assert not (isinstance(answer, dict) and "error" in answer), answer
        return answer

    def open(self, page, size=(1200, 900), **features):
        """Open a file or an address in a window of a size; a narrow one is a phone's."""
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 600}
        self.devtools("Emulation.setDeviceMetricsOverride", metrics)
        media = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.devtools("Emulation.setEmulatedMedia", {"features": media})
        self.logs("performance")
        self.logs("browser")
        self._call("POST", "/url", {"url": page if isinstance(page, str) else page.as_uri()})

    def press(self, *keys):
        """Press and release keys of a keyboard, one after another."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def run(self, script):
        return self._call("POST", "/execute/sync", {"script": script, "args": []})

    def devtools(self, name, params=None):
        return self._call("POST", "/goog/cdp/execute", {"cmd": name, "params": params or {}})

    def logs(self, kind):
        return self._call("POST", "/se/log", {"type": kind})

    def requests(self):
        """Give the addresses that were asked for, and those of them that the policy refused."""
        events = [json.loads(entry["message"])["message"] for entry in self.logs("performance")]
        asked, refused = {}, []
        for event in events:
            told = event["params"]
            if event["method"] == "Network.requestWillBeSent" and not told["request"]["url"].startswith("data:"):
                asked[told["requestId"]] = told["request"]["url"]
            if event["method"] == "Network.loadingFailed" and told.get("blockedReason") == "csp":
                refused.append(asked[told["requestId"]])
        return list(asked.values()), refused

    def close(self):
        self._call("DELETE", "")


def wait_for(port):
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    pytest.fail("chromedriver does not answer")


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no browser: install the packages chromium and chromium-driver to run these tests")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen([DRIVER, f"--port={port}", "--silent"], stdout=subprocess.DEVNULL) as driver:
        try:
            wait_for(port)
            session = Browser(port, tmp_path_factory.mktemp("profile"))
            yield session
            session.close()
        finally:
            driver.terminate()
