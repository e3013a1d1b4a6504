"""Stages of tiny runs: what is trained, what is frozen, where each starts from, and what is written down."""

import json
import logging

import pytest
import torch

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import ConfigError
from mmsearch.files import hash_file
from mmsearch.models import MatchModel, ModelSettings, load_model
from mmsearch.text import Tokenizer
from training.checkpoints import read_tensors
from training.config import FitSettings
from training.fit import fit
from training.weights import unique_tensors

STILL = {"min_crop": 1.0}
COVERS = {"type": "contrastive", "spaces": ["cover"], "augment": STILL}
RESNET = {"name": "resnet10t", "image_size": 16, "args": {"channels": [4, 4, 8, 8], "stem_width": 4}}


def run(tree):
    return fit(FitSettings.model_validate(tree))


def left(folder, steps):
    """Give the weights that were left at the end of a stage."""
    return read_tensors(folder / "checkpoints" / f"{steps:08d}", "model")


def moved(before, after):
    assert before.keys() == after.keys()
    return {name.removeprefix("model.") for name, tensor in before.items() if not torch.equal(tensor, after[name])}


def test_what_is_frozen_stays_to_the_bit_with_its_statistics(tiny_run, tiny_model, tmp_path):
    model = tiny_model | {"document": tiny_model["document"] | {"image": RESNET}}
    frozen = {"freeze": ["document.image", "teacher"]}
    folder = run(tiny_run(tmp_path / "run", [{}, frozen], run={"keep": "last"}, model=model))
    names = moved(left(folder, 4), left(folder, 8))
    assert not any(name.startswith(("document.image", "teacher")) for name in names)
    assert "student.heads.cover.weight" in names
    first = left(folder, 4)
    assert first["model.document.image.vit.bn1.num_batches_tracked"] == 4, "the first stage did take statistics"


def test_only_what_is_named_is_trained(tiny_run, tmp_path):
    stages = [{}, {"train": ["student.heads", "log_scale.cover"]}]
    folder = run(tiny_run(tmp_path / "run", stages, run={"keep": "last"}))
    assert moved(left(folder, 4), left(folder, 8)) == {"student.heads.cover.weight", "log_scale.cover"}


def test_two_stage_distillation_trains_one_tower_after_the_other(tiny_run, tmp_path):
    stages = [{"task": COVERS | {"pairs": "titles"}}, {}, {"task": {"type": "graded", "spaces": ["cover"]}}]
    rest = {"distillation": "two_stage", "student_steps": 3}
    folder = run(tiny_run(tmp_path / "run", stages, run={"keep": "last"}, **rest))
    record = json.loads((folder / "lineage.json").read_text())["stages"]
    assert [stage["name"] for stage in record] == ["stage0", "stage1", "stage2", "stage1-student"]
    names = moved(left(folder, 12), left(folder, 15))
    assert all(name.startswith("student.") for name in names)
    assert "student.text.transformer.norm.weight" in names
    model, _ = load_model(folder)
    teacher = left(folder, 12)
    assert torch.equal(model.teacher.text.position, teacher["model.teacher.text.position"])


def test_the_student_waits_while_the_teacher_learns(tiny_run, tiny_model, tmp_path):
    rest = {"distillation": "two_stage", "student_steps": 1}
    folder = run(tiny_run(tmp_path / "run", [{}, {}], run={"keep": "last"}, **rest))
    torch.manual_seed(0)
    fresh = MatchModel(ModelSettings.model_validate(tiny_model), Tokenizer.load(folder / "tokenizer").vocab_size)
    names = moved({f"model.{name}": tensor for name, tensor in unique_tensors(fresh).items()}, left(folder, 8))
    assert names
    assert not any(name.startswith("student.") for name in names)


def test_a_new_student_is_made_of_the_teacher_as_it_is(tiny_run, tmp_path):
    still = {"student_from_teacher": True, "train": ["log_scale"], "steps": 1}
    folder = run(tiny_run(tmp_path / "run", [{}, still], run={"keep": "last"}))
    found = left(folder, 5)
    for student, teacher in ((0, 1), (1, 3)):  # 2 of 4 layers, evenly, ending with the last
        names = [name for name in found if f"teacher.text.transformer.blocks.{teacher}." in name]
        assert names
        for name in names:
            own = name.replace("teacher", "student").replace(f"blocks.{teacher}.", f"blocks.{student}.")
            assert torch.equal(found[own], found[name])
    assert torch.equal(found["model.student.heads.cover.weight"], found["model.teacher.heads.cover.weight"])


@pytest.fixture(scope="module")
def earlier(tiny_run, tmp_path_factory):
    return run(tiny_run(tmp_path_factory.mktemp("earlier") / "run", [{}], run={"seed": 5}))


def test_a_stage_starts_from_parts_of_another_run(tiny_run, earlier, tmp_path):
    still = {"train": ["log_scale"], "steps": 1}
    start = {"start_from": {"run": str(earlier), "parts": ["teacher", "document.image"]}}
    tree = tiny_run(tmp_path / "run", [still | start], tokenizer={"folder": str(earlier / "tokenizer")})
    mine, theirs = load_model(run(tree))[0].state_dict(), load_model(earlier)[0].state_dict()
    same = {name for name in mine if torch.equal(mine[name], theirs[name])}
    taken = {name for name in mine if name.startswith(("teacher.", "document.image."))}
    assert taken <= same, "the teacher's embeddings too, which are tied and stored under the document tower's name"
    assert "student.text.position" not in same
    record = json.loads((tmp_path / "run" / "lineage.json").read_text())["stages"][0]["parent"]
    assert record["run"] == str(earlier)
    assert record["parts"] == ["teacher", "document.image"]
    assert record["hash"] == hash_file(earlier / "model.safetensors")


def test_parts_that_read_text_need_the_same_tokenizer(tiny_run, earlier, tmp_path):
    Tokenizer.train(["red ball", "red ball"], vocab_size=200).save(tmp_path / "other")
    other = {"tokenizer": {"folder": str(tmp_path / "other")}}
    for parts, refused in ((["student"], True), ([], True), (["document.image"], False)):
        start = {"steps": 1, "start_from": {"run": str(earlier), "parts": parts}}
        tree = tiny_run(tmp_path / f"run{len(parts)}{refused}", [{"steps": 1}, start], **other)
        if refused:
            with pytest.raises(ConfigError, match=r"stage 'stage1': .*another tokenizer.*set tokenizer\.folder"):
                run(tree)
            assert not (tmp_path / f"run{len(parts)}{refused}" / "checkpoints").exists()
        else:
            run(tree)


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ({"freeze": ["document.imgae"]}, "begins with 'document.imgae'; did you mean 'document.image'"),
        ({"train": ["document.fusions"]}, "no parameter is left to train"),  # the task is about covers alone
        ({"optim": {"rates": {"teachr": 0.1}}}, "no parameter's name begins with 'teachr'"),
        ({"start_from": {"run": "absent/of/all"}}, "no such file or folder"),
        ({"start_from": {"run": "{earlier}", "parts": ["documents"]}}, "no weights whose names begin with documents"),
        ({"task": {"type": "mae", "decoder_width": 16, "decoder_heads": 2}}, "needs a plain vision transformer"),
    ],
)
def test_what_a_later_stage_stumbles_over_is_told_before_the_first_step(
    tiny_run, tiny_model, earlier, tmp_path, stage, message
):
    rest = {}
    if "task" in stage:
        rest["model"] = tiny_model | {"document": tiny_model["document"] | {"image": RESNET}}
    if "start_from" in stage:
        stage = {"start_from": stage["start_from"] | {"run": stage["start_from"]["run"].format(earlier=earlier)}}
    with pytest.raises(ConfigError, match=rf"stage 'stage1': (?s:.*){message}"):
        run(tiny_run(tmp_path / "run", [{}, stage], **rest))
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_chunks_change_nothing_but_the_memory(tiny_run, tiny_model, lines_of, tmp_path):
    no_chance = tiny_model["document"] | {"fusion": {"depth": 1, "heads": 2, "num_codes": 3, "modality_dropout": 0.0}}
    model = tiny_model | {"document": no_chance}
    graded = {"type": "graded", "videos_per_query": 3}
    tasks = [{"type": "contrastive", "frame_weight": 0.5}, graded, graded | {"loss": "listwise"}]
    stages = [
        {"steps": 2, "batch_size": 4, "task": task | {"augment": STILL, "spaces": ["frames", "content"]}}
        for task in tasks
    ]
    whole = run(tiny_run(tmp_path / "whole", stages, model=model))
    cut = run(tiny_run(tmp_path / "cut", [stage | {"chunk_size": 3} for stage in stages], model=model))
    for one, other in zip(lines_of(whole, "train"), lines_of(cut, "train"), strict=True):
        assert set(one) == set(other)
        numbers = [key for key, value in one.items() if isinstance(value, float)]
        assert [other[key] for key in numbers] == pytest.approx([one[key] for key in numbers], abs=3e-4)
    mine, theirs = load_model(whole)[0].state_dict(), load_model(cut)[0].state_dict()
    for name, tensor in mine.items():
        torch.testing.assert_close(theirs[name], tensor, atol=2e-3, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}")


def test_lineage_tells_data_settings_parents_and_figures(tiny_run, tiny_world, tiny_corpus, lines_of, tmp_path):
    stages = [{"task": COVERS | {"pairs": "titles"}}, {}, {"task": {"type": "graded", "spaces": ["cover"]}}]
    folder = run(tiny_run(tmp_path / "run", stages, run={"validate_every": 2}))
    told = json.loads((folder / "lineage.json").read_text())["stages"]
    corpus = PreparedCorpus.open(tiny_corpus).content_hash
    files = [[], ["interactions.jsonl"], ["judgments_train.jsonl"]]
    assert [stage["data"] for stage in told] == [
        {"corpus": corpus} | {name: hash_file(tiny_world / name) for name in names} for names in files
    ]
    parents = [{"weights": "random or pretrained"}, {"stage": "stage0"}, {"stage": "stage1"}]
    assert [stage["parent"] for stage in told] == parents
    assert [stage["settings"]["task"]["type"] for stage in told] == ["contrastive", "contrastive", "graded"]
    assert len({stage["settings_hash"] for stage in told}) == 3
    for number, stage in enumerate(told):
        mine = [line for line in lines_of(folder, "validation") if line["stage"] == f"stage{number}"]
        best = max(mine, key=lambda line: line["pnr"]["student/cover"])
        assert stage["after"]["pnr"]["student/cover"] == best["pnr"]["student/cover"]
        if number:
            assert stage["before"] == told[number - 1]["after"]
    assert set(told[0]["before"]["pnr"]) == {"teacher/cover", "student/cover"}


def test_tied_weights_are_not_told_as_missing(tiny_run, earlier, tmp_path, caplog):
    start = {"steps": 1, "start_from": {"run": str(earlier)}}
    with caplog.at_level(logging.WARNING):
        run(tiny_run(tmp_path / "run", [start], tokenizer={"folder": str(earlier / "tokenizer")}))
    assert "left random" not in caplog.text
