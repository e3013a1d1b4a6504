"""What a plan says it costs, beside what it does cost."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest

from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.protocols import Embedded
from mmsearch.types import Modality, Space
from serving.check import draw
from serving.compare import Counts
from serving.items import PlannedItem, Videos
from serving.plan import EMBED, LEAVE_OUT, RefreshPlan
from serving.plan_report import bytes_per_video, cost_of, to_json, to_table

SPACES = (Space("cover", 32, "a"), Space("content", 16, "b", 3))


def publish(index, dtype, num, **source):
    """Publish so many documents; give the generation and the bytes of its arrays."""
    rng = np.random.default_rng(0)
    codes = {s.name: rng.standard_normal((num, s.num_codes, s.dim)).astype(np.float32) for s in SPACES}
    with GenerationWriter(index, SPACES, dtype=dtype) as writer:
        embedded = {
            name: Embedded((c / np.linalg.norm(c, axis=2, keepdims=True)).reshape(num, -1), np.ones(num, bool))
            for name, c in codes.items()
        }
        writer.add([f"a-video-with-an-id-{n:05d}" for n in range(num)], embedded, np.ones((num, 8), np.uint64))
        tower = index.parent / f"tower-{dtype}"
        tower.mkdir()
        rows = [asdict(space) | {"output": space.name} for space in SPACES]
        (tower / "query_tower.json").write_text(json.dumps({"format_version": 2, "max_length": 8, "spaces": rows}))
        writer.publish(query_tower=tower, source=source)
    served = ForwardIndex.open(index)
    folder = index / "generations" / served.generation
    return served, sum(path.stat().st_size for path in folder.glob("*.npy"))


def planned(served, sources):
    rows = np.flatnonzero(sources == EMBED)
    num = len(rows)
    videos = Videos(rows, np.arange(num, dtype=np.uint64), np.ones((num, 8), np.uint64), np.ones((num, 1), bool))
    counts = Counts(new=1, changed=num - 1, unchanged=int((sources >= 0).sum()), deleted=4)
    counts.changed_by[Modality.TITLE] = num - 1
    return RefreshPlan(served, counts, None, sources, (PlannedItem("r", videos, (Modality.COVER,)),))


@pytest.mark.parametrize("dtype", ["float32", "float16", "int8"])
def test_the_estimate_is_what_a_generation_takes(tmp_path, dtype):
    _, size = publish(tmp_path / "index", dtype, 3000)
    assert 3000 * bytes_per_video(SPACES, dtype) == pytest.approx(size, rel=0.03)


def test_a_plan_is_told_with_its_cost(tmp_path):
    served, _ = publish(tmp_path / "index", "float16", 10, videos_per_s=2.0)
    plan = planned(served, np.array([0, 1, 2, EMBED, EMBED, EMBED, LEAVE_OUT, 9]))
    cost = cost_of(plan, SPACES, "float16")
    assert cost.seconds == 1.5
    assert cost.bytes == 7 * bytes_per_video(SPACES, "float16"), "copies are written too"
    told = to_json(plan, cost)
    assert (told["new"], told["changed"], told["changed_by"]) == (1, 2, {"title": 2})
    assert (told["embed"], told["copy"], told["towers_reused"]) == (3, 4, {"cover": 3})
    json.dumps(told)
    cells = [cell for column in to_table(plan, cost).columns for cell in column.cells]
    assert {"changed (title 2)", "about 0 min 02 s", "1.9 kB to write"} <= set(cells)


def test_half_of_the_sample_are_copies_where_there_are_both_and_none_is_left_out(tmp_path):
    served, _ = publish(tmp_path / "index", "float16", 100)
    sources = np.concatenate([np.arange(90), np.full(20, EMBED), np.full(50, LEAVE_OUT)])
    rows = draw(planned(served, sources), 16, "seed")
    assert rows.tolist() == sorted(set(rows.tolist())) == draw(planned(served, sources), 16, "seed").tolist()
    assert sorted(np.sign(sources[rows] + 0.5).tolist()) == [-1] * 8 + [1] * 8
    few = np.concatenate([np.arange(90), np.full(3, EMBED)])
    assert (few[draw(planned(served, few), 16, "seed")] == EMBED).sum() == 3
    assert len(draw(planned(served, few), 16, "seed")) == 16
    assert len(draw(planned(served, few[:5]), 16, "seed")) == 5
    assert len(draw(planned(served, few), 0, "seed")) == 0
