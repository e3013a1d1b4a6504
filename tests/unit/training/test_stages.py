"""Batches of stages: replayed steps among own ones, and what the settings lack."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import ConfigError, DataError
from mmsearch.models import ModelSettings
from mmsearch.models.inputs import InputMaker
from mmsearch.text import Tokenizer
from training.batches import Share
from training.config import FitSettings
from training.loop import selected
from training.paths import RunPaths
from training.stages import Mixed, Sources
from training.tasks import GradedBatch, PairBatch

STILL = {"augment": {"min_crop": 1.0}}


@given(st.floats(0.001, 0.999), st.integers(1, 400))
def test_replayed_steps_are_spread_evenly_and_no_batch_is_passed_over(share, steps):
    mixed = Mixed(lambda step: ("own", step), lambda step: ("replayed", step), share)
    found = [mixed(step) for step in range(steps)]
    for kind in ("own", "replayed"):
        numbers = [number for which, number in found if which == kind]
        assert numbers == list(range(len(numbers))), "every batch once, in order"
    replayed = 0
    for step, (which, _) in enumerate(found):
        replayed += which == "replayed"
        assert abs(replayed - share * (step + 1)) <= 1 + 1e-9
    assert sum(which == "replayed" for which, _ in found) == math.floor(steps * share)


@pytest.fixture(scope="module")
def sources(tiny_world, tiny_corpus, tiny_model, tmp_path_factory):
    """Give the sources of a run of some stages."""
    corpus = PreparedCorpus.open(tiny_corpus)
    tokenizer = Tokenizer.train(
        [text for video in corpus.read(range(24)) for text in video.texts.values()], vocab_size=150
    )
    folder = tmp_path_factory.mktemp("sources")

    def make(*stages, **data):
        files = {"corpus": str(tiny_corpus), "interactions": str(tiny_world / "interactions.jsonl")}
        files["judgments"] = str(tiny_world / "judgments_train.jsonl")
        named = [{"name": f"s{n}", "steps": 9, "batch_size": 4} | stage for n, stage in enumerate(stages)]
        tree = {"run": {"dir": str(folder)}, "data": files | data, "model": tiny_model, "stages": named}
        settings = FitSettings.model_validate(tree)
        maker = InputMaker(ModelSettings.model_validate(tiny_model), tokenizer)
        return Sources(settings, corpus, None, maker, RunPaths(folder))

    return make


def test_a_stage_that_replays_takes_the_steps_of_the_other(sources):
    clicks, grades = {"task": STILL}, {"task": {"type": "graded", **STILL}}
    both = sources(clicks, grades | {"replay": {"stage": "s0", "share": 0.4}})
    mixed, own = both.batches(1), sources(clicks, grades).batches(1)
    kinds = [type(mixed(step)) for step in range(10)]
    assert kinds.count(PairBatch) == 4
    assert set(kinds) == {PairBatch, GradedBatch}
    graded = [mixed(step) for step, kind in enumerate(kinds) if kind is GradedBatch]
    for number, batch in enumerate(graded):
        assert batch.names == own(number).names, "its own batches are those that it has without replay, each once"
        assert torch.equal(batch.grades, own(number).grades)


def test_batches_are_the_same_whenever_they_are_made(sources):
    one, other = (sources({"task": STILL}).batches(0) for _ in range(2))
    later = [one(step).names for step in (7, 2, 5)]
    assert later == [other(step).names for step in range(8)][7:] + [other(step).names for step in (2, 5)]


def test_what_settings_lack_is_told(sources):
    graded = {"task": {"type": "graded"}}
    with pytest.raises(ConfigError, match=r"stage 's0' learns from grades: give data\.judgments"):
        sources(graded, judgments=None).batches(0)
    with pytest.raises(ConfigError, match=r"give data\.interactions"):
        sources({"task": {}}, interactions=None).batches(0)


def test_a_share_is_a_part_of_the_same_batch():
    parts = [Share(rank, 4).cut(12, 100, "pairs") for rank in range(4)]
    assert [size for size, _ in parts] == [12] * 4
    assert [list(range(12))[part] for _, part in parts] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]
    assert Share(0, 4).cut(400, 27, "pairs")[0] == 24, "in whole parts"
    with pytest.raises(ConfigError, match="batch_size 10 cannot be shared by 4 processes; give a multiple"):
        Share(0, 4).cut(10, 100, "pairs")
    with pytest.raises(DataError, match="3 pairs cannot be shared by 4 processes; start fewer"):
        Share(0, 4).cut(4, 3, "pairs")
    with pytest.raises(DataError, match="there are no pairs to learn from"):
        Share().cut(4, 0, "pairs")


def test_the_figure_that_decides(sources):
    found = {"pnr": {"student/cover": 1.5, "teacher/cover": 2.0}, "pair_pnr": {"student/cover": 9.0}}
    assert selected(found, "student/cover") == 1.5
    assert selected({"pair_pnr": found["pair_pnr"]}, "student/cover") == 9
    assert selected({"rebuild": {"loss": 0.25}}, "loss") == -0.25
    assert selected(found, "loss") is None
    stages = [{"task": {"spaces": spaces}} for spaces in (["cover", "frames"], ["content"], ["frames", "cover"])]
    one = sources(*stages)
    assert [one.select(stage) for stage in one.settings.stages] == [
        "student/frames",
        "student/content",
        "student/frames",
    ]
    wished = one.settings.model_copy(update={"run": one.settings.run.model_copy(update={"select": "cover"})})
    other = Sources(wished, one.corpus, None, one.maker, one.paths)
    assert [other.select(stage) for stage in wished.stages] == ["student/cover", "student/content", "student/cover"]
    teacher = sources({"task": {"spaces": ["cover"], "student_weight": 0, "distil_weight": 0}})
    assert teacher.select(teacher.settings.stages[0]) == "teacher/cover"
