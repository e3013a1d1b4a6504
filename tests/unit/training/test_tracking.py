"""What is told is what is read back: from the JSON lines, and from TensorBoard's own files by its own reader."""

import json

import numpy as np
import pytest
from PIL import Image

from training.tracking import MetricsLog, Tracker, flat, read_metrics


def told(folder):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = event_accumulator.EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    return events.Reload()


def test_scalars_come_back_by_name(tmp_path):
    with Tracker(tmp_path, 0, tensorboard=True) as tracker:
        tracker.append("train", "clicks", 10, {"loss": 2.5, "teacher/cover": 1.25, "lr": 1e-3})
        values = {"pnr": {"student/content": 1.5}, "recall@10": {"student/cover": 0.5}}
        tracker.append("validation", "clicks", 10, values)
    events = told(tmp_path)
    found = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    assert found == {
        "train/loss": [(10, 2.5)],
        "train/teacher/cover": [(10, 1.25)],
        "train/lr": [(10, pytest.approx(1e-3))],
        "validation/student/content": [(10, 1.5)],
        "validation/recall@10/student/cover": [(10, 0.5)],
    }
    assert read_metrics(tmp_path / "metrics.jsonl") == [
        {"kind": "train", "stage": "clicks", "total_steps": 10, "loss": 2.5, "teacher/cover": 1.25, "lr": 1e-3},
        {"kind": "validation", "stage": "clicks", "total_steps": 10} | values,
    ]


def test_a_run_that_goes_on_tells_no_step_twice(tmp_path):
    killed = Tracker(tmp_path, 0, tensorboard=True)
    for step in (10, 20, 30):
        killed.append("train", "clicks", step, {"loss": step / 10})
    with Tracker(tmp_path, 20, tensorboard=True) as resumed:  # its last checkpoint is of step 20
        resumed.append("train", "clicks", 30, {"loss": 7.0})
    killed.close()
    assert [(e.step, e.value) for e in told(tmp_path).Scalars("train/loss")] == [(10, 1.0), (20, 2.0), (30, 7.0)]
    assert [line["loss"] for line in read_metrics(tmp_path / "metrics.jsonl")] == [1.0, 2.0, 7.0]


def test_what_a_kill_leaves_was_told(tmp_path):
    tracker = Tracker(tmp_path, 0, tensorboard=True)
    tracker.append("train", "clicks", 10, {"loss": 1.0})
    assert [e.step for e in told(tmp_path).Scalars("train/loss")] == [10]  # read before anything was closed
    tracker.close()


def test_pictures(tmp_path):
    pixels = np.zeros((6, 9, 3), np.uint8)
    pixels[:, :, 0] = 200
    Image.fromarray(pixels).save(tmp_path / "rebuilt.png")
    with Tracker(tmp_path, 0, tensorboard=True) as tracker:
        tracker.picture("mae/rebuilt", tmp_path / "rebuilt.png", 5)
    (image,) = told(tmp_path).Images("mae/rebuilt")
    assert (image.step, image.width, image.height) == (5, 9, 6)


def test_without_tensorboard_there_is_only_the_file(tmp_path):
    with Tracker(tmp_path, 0) as tracker:
        tracker.append("train", "clicks", 1, {"loss": 1.0})
        tracker.picture("none", tmp_path / "absent.png", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_other_ranks_tell_nothing(tmp_path):
    with Tracker(tmp_path, 0, tensorboard=True, rank=1) as tracker:
        tracker.append("train", "clicks", 1, {"loss": 1.0})
    assert list(tmp_path.iterdir()) == []


def test_half_lines_of_a_killed_writer_are_dropped(tmp_path):
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"kind": "train", "stage": "a", "total_steps": n, "loss": n}) for n in (1, 2, 3)]
    path.write_bytes("\n".join([*lines, '{"kind": "tr']).encode() + b"\n17\n\xff\xfe")
    log = MetricsLog(path, 2)
    log.append("train", "a", 3, {"loss": 30})
    assert [line["loss"] for line in map(json.loads, path.read_text().splitlines())] == [1, 2, 30]


def test_flat_takes_numbers_alone():
    values = {"pnr": {"a/b": 1.0}, "ndcg": {"a/b": 0.5, "deep": {"c": 2}}, "loss": 3, "ok": True, "note": "text"}
    assert flat(values) == {"a/b": 1.0, "ndcg/a/b": 0.5, "ndcg/deep/c": 2.0, "loss": 3.0}
