"""Batches of stages: replayed steps among own ones, and what the settings lack."""

import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import ConfigError, DataError
from mmsearch.models import MatchModel, ModelSettings
from mmsearch.models.inputs import InputMaker
from mmsearch.text import Tokenizer
from training.batches import Share
from training.config import FitSettings
from training.loop import selected, tell_change
from training.pairs import Judged
from training.paths import RunPaths
from training.picture_batches import PictureBatches
from training.preflight import check_stages
from training.stages import Mixed, Sources
from training.tasks import GradedBatch, PairBatch
from training.validation import Validation

STILL = {"augment": {"min_crop": 1.0}}
#: The student learns from the teacher's vectors alone: it needs neither clicks nor negatives.
DISTANCES = {"teacher_weight": 0, "student_weight": 0}


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

    def make(*stages, cross=False, **data):
        files = {"corpus": str(tiny_corpus), "interactions": str(tiny_world / "interactions.jsonl")}
        files |= {"judgments": str(tiny_world / "judgments_train.jsonl"), "min_watch_s": 1.0}
        named = [{"name": f"s{n}", "steps": 9, "batch_size": 4} | stage for n, stage in enumerate(stages)]
        model = tiny_model | ({"cross": {"depth": 1, "heads": 2}} if cross else {})
        tree = {"run": {"dir": str(folder)}, "data": files | data, "model": model, "stages": named}
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


def test_fewer_data_than_a_batch_and_a_batch_without_negatives_are_told(sources, caplog):
    with caplog.at_level(logging.WARNING, "training"):
        Share(1, 4).cut(400, 27, "pairs")
        assert not caplog.records, "one process tells it"
        Share(0, 4).cut(400, 27, "pairs")
    assert "there are only 27 pairs: batches hold 24 of them, not the 400 asked for" in caplog.text
    with caplog.at_level(logging.WARNING, "training"):
        sources({"task": DISTANCES, "batch_size": 1}).batches(0)
        assert "no negatives" not in caplog.text
        sources({"task": STILL, "batch_size": 1}).batches(0)
    assert "a batch of one video has no negatives" in caplog.text
    with pytest.raises(DataError, match="no negatives"):
        sources({"task": {"type": "cross"}, "batch_size": 1}, cross=True).batches(0)


def test_spaces_that_wait_for_satisfied_clicks_in_vain_are_told(sources, caplog):
    impatient = {"min_watch_s": 1e9, "min_completion": 0}
    with caplog.at_level(logging.INFO, "training"):
        sources({"task": STILL}).batches(0)
        assert "stage 's0': 16 pairs, 16 queries, 10 pairs of satisfied clicks" in caplog.text
        sources({"task": STILL}, **impatient).batches(0)
    assert "stage 's0': no click satisfied" in caplog.text
    assert "content, frames learn nothing from clicks" in caplog.text
    for task in ({"spaces": ["content"]}, {"type": "cross"}):
        with pytest.raises(DataError, match=r"stage 's0': no click satisfied .* there is nothing to learn from"):
            sources({"task": task}, cross=True, **impatient).batches(0)
    for task in (
        {"spaces": ["content"], "satisfied_spaces": []},
        {"type": "cross", "only_satisfied": False},
        DISTANCES,
    ):
        sources({"task": task}, cross=True, **impatient).batches(0)


def test_a_rate_that_never_rises_is_told(sources, caplog, tiny_model):
    slow = sources({"task": STILL, "optim": {"warmup_steps": 90}}, {"task": STILL, "optim": {"warmup_steps": 8}})
    model = MatchModel(ModelSettings.model_validate(tiny_model), 200)
    with caplog.at_level(logging.WARNING, "training"):
        check_stages(model, slow.settings.stages, slow, slow.maker._tokenizer)
    (record,) = caplog.records
    assert record.getMessage() == (
        "stage 's0': 9 steps are no more than optim.warmup_steps (90): the rate ends at 10 % of optim.lr"
    )


def test_masked_pictures_are_validated_on_what_is_held_out(sources, tiny_world, caplog):
    task = {"type": "mae", "decoder_depth": 1, "decoder_width": 16, "decoder_heads": 2, "sources": ["cover"]}
    rows = {}

    def of(corpus, few, *rest, **more):
        rows[len(rows)] = {corpus.doc_ids[row] for row in few}
        return PictureBatches(corpus, few, *rest, **more)

    with pytest.MonkeyPatch.context() as patch, caplog.at_level(logging.INFO, "training"):
        patch.setattr("training.masked_validation.PictureBatches", of)
        held = sources({"task": task}, val_judgments=str(tiny_world / "judgments_val.jsonl"))
        held.validation(held.settings.stages[0])
        assert not caplog.records
        none = sources({"task": task})
        none.validation(none.settings.stages[0])
        assert "nothing is held out; its validation is on pictures that it learns from" in caplog.text
        held.batches(0)
    assert rows[0] == {f"d{n}" for n in (16, 17, 18, 19, 21, 22, 23)}
    assert len(rows[1]) == 19
    assert "12 videos with pictures used; left out: 7 of held-out videos" in caplog.text


def test_pairs_to_validate_on_that_are_learned_from_are_told(sources, tiny_world, caplog):
    clicks = str(tiny_world / "interactions.jsonl")
    one = sources(
        {"task": STILL}, val_interactions=clicks, val_videos="some", holdout=[str(tiny_world / "judgments_val.jsonl")]
    )
    both = replace(one, val_corpus=one.corpus)
    with caplog.at_level(logging.WARNING, "training"):
        both.validation(both.settings.stages[0])
    assert "interactions.jsonl: 16 of its 16 videos are in the corpus that is learned from, too" in caplog.text
    caplog.clear()
    held = {**both.settings.data.model_dump(), "holdout": [tiny_world / "judgments_train.jsonl"]}
    apart = replace(both, settings=both.settings.model_copy(update={"data": type(both.settings.data)(**held)}))
    with caplog.at_level(logging.WARNING, "training"):
        apart.validation(apart.settings.stages[0])
    assert not caplog.records


def test_a_space_that_no_judged_video_has_is_not_validated(sources, tiny_model, caplog):
    one = sources({"task": STILL})
    pictureless = [row for row in range(24) if row % 5 == 0]
    judged = Judged(["red ball"], [np.array(pictureless)], [np.arange(len(pictureless))])
    torch.manual_seed(0)
    model = MatchModel(ModelSettings.model_validate(tiny_model), 200)
    validation = Validation(one.corpus, judged, one.maker)
    with caplog.at_level(logging.WARNING, "training"):
        found = [validation(model)["pnr"] for _ in range(2)]
    assert {name.partition("/")[2] for name in found[0]} == {"perception", "content"}
    assert found[0] == found[1]
    (record,) = caplog.records
    assert sorted(record.getMessage().removesuffix(": no PNR there").split(" in ")[1].split(", ")) == [
        "cover",
        "frames",
    ]


def test_a_stage_that_made_it_worse_is_told(caplog):
    def figures(value):
        return {"pnr": {"student/cover": value}}

    with caplog.at_level(logging.INFO, "training"):
        tell_change("grades", "student/cover", figures(1.5), figures(1.25))
        tell_change("grades", "student/cover", figures(1.5), figures(1.375))
        tell_change("mae", "loss", {"rebuild": {"loss": 0.5}}, {"rebuild": {"loss": 0.75}})
        tell_change("grades", "student/cover", {}, figures(1.5))
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "WARNING",
            "grades: student/cover was 1.5 before the stage and is 1.25 after it, "
            "which is worse; lower its optim.lr, or do without the stage",
        ),
        ("INFO", "grades: student/cover was 1.5 before the stage and is 1.375 after it"),
        (
            "WARNING",
            "mae: loss was 0.5 before the stage and is 0.75 after it, "
            "which is worse; lower its optim.lr, or do without the stage",
        ),
    ]


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
