"""Children that are forked from a process which scores. Each test is a process of its own: here are other threads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mmsearch.index import ForwardIndex

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")

HEAD = """
import os, sys, threading, time
from mmsearch.scoring import FeatureScorer, LiveScorer
from mmsearch.index.layout import write_current
folder, num_threads = sys.argv[1], int(sys.argv[2])
ids = [f"v{i}" for i in range(30)]

def ended(child):
    end = time.monotonic() + 30
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.kill(child, 9)
            os.waitpid(child, 0)
            return "hangs"
        time.sleep(0.005)
"""

SCORING = """
scorer = FeatureScorer.open(folder, num_threads=num_threads, cache_size=2)
expected = scorer.score("red panda", ids).values.tobytes()
stop = threading.Event()

def ask():
    number = 0
    while not stop.is_set():
        scorer.score(f"tree {number}", ids)
        number += 1

threads = [threading.Thread(target=ask) for _ in range(2)]
for thread in threads:
    thread.start()
codes = []
for number in range(6):
    child = os.fork()
    if child == 0:
        known = scorer.score("red panda", ids).values.tobytes() == expected
        new = scorer.score(f"noodles at home {number}", ids)
        sys.exit(0 if known and not new.missing.all() else 3)  # the whole interpreter ends, with all destructors
    codes.append(ended(child))
stop.set()
assert codes == [0] * 6, codes
"""

FOLLOWING = """
live = LiveScorer(folder, check_every_s=0.01)
first = live.generation
child = os.fork()
if child == 0:
    end = time.monotonic() + 30
    while live.current.index.generation == first and time.monotonic() < end:
        time.sleep(0.01)
    changed = live.current.score("red panda", ids).generation != first
    live.close()
    sys.exit(0 if changed else 3)
write_current(__import__("pathlib").Path(folder), sys.argv[3])
assert ended(child) == 0
live.close()
child = os.fork()
if child == 0:
    live.current
    sys.exit(threading.active_count() - 1)  # what was closed stays so
assert ended(child) == 0
"""

LOCKS = """
from mmsearch.forks import ForkSafeLock
lock, held, go = ForkSafeLock(), threading.Event(), threading.Event()

def hold():
    with lock:
        held.set()
        go.wait()

thread = threading.Thread(target=hold)
thread.start()
held.wait()
child = os.fork()
if child == 0:
    with lock:
        os._exit(0)
assert ended(child) == 0
go.set()
"""

CHANGED = """
from mmsearch.errors import CorruptIndexError
from mmsearch.scoring import OnnxQueryEncoder
encoder = OnnxQueryEncoder.open(folder)
model = os.path.join(folder, "model.onnx")
with open(model, "ab") as file:
    file.write(b" ")
child = os.fork()
if child == 0:
    try:
        encoder.encode(["red panda"])
    except CorruptIndexError as error:
        sys.exit(0 if "was changed since it was opened" in str(error) else 3)
    sys.exit(4)
assert ended(child) == 0
assert encoder.encode(["red panda"])["cover"].any()
"""


def run(script: str, *arguments: object) -> None:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", HEAD + script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, "no library complains of the fork"


@pytest.mark.parametrize("num_threads", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_a_child_scores_as_its_parent_does_and_ends(publish_wide, num_threads):
    run(SCORING, publish_wide(), num_threads)


def test_a_child_follows_the_index_by_itself(publish_wide):
    folder = publish_wide()
    first = ForwardIndex.open(folder)
    publish_wide(seed=9)
    second = ForwardIndex.open(folder).generation
    (folder / "CURRENT").write_text(f"{first.generation}\n")
    run(FOLLOWING, folder, 1, second)


def test_a_lock_that_a_thread_of_the_parent_holds_is_free_in_the_child():
    run(LOCKS, "", 1)


def test_a_child_does_not_load_another_model_than_its_parent_has(tower):
    run(CHANGED, tower, 1)


def test_no_process_that_scores_reports_to_the_makers_of_its_libraries(tmp_path):
    code = "import os, mmsearch.scoring; print(os.environ['ORT_DISABLE_TELEMETRY'], len(os.listdir('/proc/self/task')))"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(tmp_path), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    environment.pop("XDG_CACHE_HOME", None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split() == ["1", "1"], "no thread was started by the import"
    assert not list(tmp_path.rglob("*")), "and no identifier was written"
