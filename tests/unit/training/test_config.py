"""Settings of a run: what contradicts itself is refused, and what stages two_stage makes of them."""

import pytest
from pydantic import ValidationError

from mmsearch.data.prepared import PreparedCorpus
from training.config import FitSettings
from training.engines.zero_settings import DeepSpeedSettings
from training.identity import run_hash_of
from training.stages import trained_spaces

GRADED = {"type": "graded"}


def settings(stages, **rest):
    named = [{"name": f"s{n}", "steps": 10, "task": {}} | stage for n, stage in enumerate(stages)]
    tree = {"run": {"dir": "runs/x"}, "data": {"corpus": "corpus"}, "stages": named}
    return FitSettings.model_validate(tree | rest)


@pytest.mark.parametrize(
    ("stages", "rest", "message"),
    [
        ([], {}, "at least 1 item"),
        ([{"name": "a"}, {"name": "a"}], {}, "two stages are named 'a'"),
        ([{"steps": 0}], {}, "greater than or equal to 1"),
        ([{"task": {"type": "mae"}, "chunk_size": 4}], {}, "chunk_size is for contrastive and graded"),
        ([{"replay": {"stage": "s1", "share": 0.1}}, {}], {}, "which is no earlier stage"),
        ([{}, {"replay": {"stage": "s0", "share": 1.0}}], {}, "less than 1"),
        ([{"task": {"type": "mae"}}, {"replay": {"stage": "s0", "share": 0.1}}], {}, "a mae stage cannot be replayed"),
        ([{}, {"task": {"type": "mae"}, "replay": {"stage": "s0", "share": 0.1}}], {}, "a mae stage cannot replay"),
        ([{"task": {"type": "cross"}}], {}, r"stage 's0' trains a cross-encoder: give model\.cross"),
        ([{"task": {"type": "cross"}, "chunk_size": 4}], {}, "chunk_size is for contrastive and graded"),
        ([{"task": {"type": "cross"}, "replay": {"stage": "s1", "share": 0.1}}, {}], {}, "which is no earlier stage"),
        ([{}, {"task": {"type": "cross"}, "replay": {"stage": "s0", "share": 0.1}}], {}, "a cross stage cannot replay"),
        (
            [{"task": {"type": "cross"}, "patience": 2}],
            {"model": {"cross": {}}, "data": {"corpus": "c", "val_corpus": "c", "val_interactions": "v"}},
            r"patience of a cross stage needs data\.val_judgments",
        ),
        ([{"patience": 2}], {}, r"stage 's0': patience needs data\.val_judgments or data\.val_interactions"),
        ([{"task": GRADED}], {"distillation": "two_stage"}, "two_stage needs a contrastive stage"),
        ([{}], {"data": {"interactions": "log"}}, r"give data\.corpus .* or data\.videos"),
        ([{}], {"data": {"corpus": "c", "val_interactions": "v"}}, "val_interactions needs val_corpus or val_videos"),
        ([{"task": {"type": "ranking"}}], {}, "ranking"),
        ([{}], {"run": {"dir": "x", "ema_decay": 1.0}}, "less than 1"),
        ([{}], {"run": {"dir": "x", "select": "covers"}}, "'cover', 'frames', 'perception' or 'content'"),
        ([{}], {"run": {"dir": "x", "engine": {"type": "deepspeed"}, "ema_decay": 0.9}}, "ema_decay is for the plain"),
        ([{"task": {"spaces": ["cover"], "teacher_weight": 0, "student_weight": 0, "distil_weight": 0}}], {}, "all 0"),
    ],
)
def test_what_contradicts_itself_is_refused(stages, rest, message):
    with pytest.raises(ValidationError, match=message):
        settings(stages, **rest)


@pytest.mark.parametrize("graded", [{"task": GRADED}, {"replay": {"stage": "earlier", "share": 0.5}}])
def test_graded_chunks_are_refused_under_deepspeed_alone(graded):
    stages = [{"name": "earlier", "task": GRADED}, {"chunk_size": 4} | graded]
    settings(stages)
    with pytest.raises(ValidationError, match="graded steps have no chunk_size under DeepSpeed"):
        settings(stages, run={"dir": "x", "engine": {"type": "deepspeed"}})
    settings([{"chunk_size": 4}], run={"dir": "x", "engine": DeepSpeedSettings()})


def test_masked_pictures_may_end_early_without_judgments():
    assert settings([{"task": {"type": "mae"}, "patience": 2}]).stages[0].patience == 2


def test_joint_runs_have_the_stages_that_are_written():
    found = settings([{"task": {"type": "mae"}}, {}, {"task": GRADED}])
    assert found.all_stages == found.stages


def test_two_stage_runs_train_the_teacher_then_the_student():
    stages = [
        {"task": {"type": "mae"}},
        {"task": {"pairs": "titles"}},
        {"freeze": ["document.image"], "patience": None, "batch_size": 32, "task": {"spaces": ["cover"]}},
        {"task": GRADED | {"spaces": ["content"]}, "replay": {"stage": "s1", "share": 0.2}},
    ]
    found = settings(stages, distillation="two_stage", student_steps=7)
    *teachers, student = found.all_stages
    assert [stage.name for stage in teachers] == ["s0", "s1", "s2", "s3"]
    assert teachers[0] == found.stages[0]
    for stage, own in zip(teachers[1:], found.stages[1:], strict=True):
        assert stage.task.towers == ("teacher",)
        assert stage.task.spaces == own.task.spaces
        assert (stage.steps, stage.freeze, stage.replay) == (own.steps, own.freeze, own.replay)
    assert (student.name, student.steps, student.batch_size) == ("s2-student", 7, 32)
    assert student.task.towers == ("teacher", "student")
    assert student.task.teacher_weight == 0
    assert (student.train, student.freeze, student.replay, student.student_from_teacher) == (
        ["student"],
        [],
        None,
        True,
    )
    assert settings(stages, distillation="two_stage").all_stages[-1].steps == 10


def test_spaces_that_are_trained_are_those_of_all_stages():
    tasks = [{"type": "mae"}, {"spaces": ["content", "cover"]}, GRADED | {"spaces": ["frames"]}]
    assert trained_spaces(settings([{"task": task} for task in tasks])) == ("cover", "frames", "content")
    assert trained_spaces(settings([{"task": {"type": "mae"}}])) == ()


@pytest.fixture(scope="module")
def corpus(tiny_corpus):
    return PreparedCorpus.open(tiny_corpus)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"run": {"dir": "runs/y"}}, True),
        ({"run": {"dir": "runs/x", "save_every": 7, "log_every": 3, "tensorboard": True}}, True),
        ({"run": {"dir": "runs/x", "engine": {"type": "deepspeed"}, "device": "cuda"}}, True),
        ({"run": {"dir": "runs/x", "activation_checkpointing": True, "peak_tflops": 9.0}}, True),
        ({"stages": [{"chunk_size": 4}]}, True),
        ({"run": {"dir": "runs/x", "seed": 1}}, False),
        ({"run": {"dir": "runs/x", "validate_every": 7}}, False),
        ({"stages": [{"steps": 11}]}, False),
        ({"stages": [{"batch_size": 8}]}, False),
        ({"model": {"dim": 8}}, False),
    ],
)
def test_what_may_change_when_a_run_goes_on(corpus, change, same):
    trees = ({"stages": [{}]}, {"stages": [{}]} | change)
    one, other = (run_hash_of(settings(**tree), corpus, None) for tree in trees)
    assert (one == other) is same


def test_how_often_is_validated_decides_nothing_where_the_last_weights_are_kept(corpus):
    runs = ({"dir": "x", "keep": "last", "validate_every": n} for n in (3, 5))
    assert len({run_hash_of(settings([{}], run=run), corpus, None) for run in runs}) == 1
