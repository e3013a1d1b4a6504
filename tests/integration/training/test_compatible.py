"""A run that is compatible with the index of an older model: what it records, and that a stop changes nothing."""

import json

import numpy as np
import pytest

from mmsearch.errors import ConfigError, DataError
from mmsearch.files import hash_file
from mmsearch.index import ForwardIndex
from mmsearch.models import export_query_tower
from training.config import FitSettings
from training.fit import fit
from training.tracking import Tracker

STILL = {"min_crop": 1.0}
COVERS = {"type": "contrastive", "spaces": ["cover"], "augment": STILL}


def tree(tiny_run, folder, old, **told):
    compatible = {"index": str(old), "old_queries": True} | told
    stages = [
        {"steps": 4, "task": COVERS | {"compatible": compatible}},
        {
            "steps": 4,
            "batch_size": 3,
            "task": {"type": "graded", "spaces": ["cover"], "augment": STILL, "compatible": compatible},
        },
    ]
    return tiny_run(folder, stages, run={"seed": 5, "validate_every": 2, "save_every": 1})


@pytest.fixture(scope="module")
def undisturbed(tiny_run, old_index, tmp_path_factory):
    return fit(FitSettings.model_validate(tree(tiny_run, tmp_path_factory.mktemp("new") / "run", old_index)))


def test_it_records_what_it_is_compatible_with(undisturbed, old_index, lines_of, tmp_path):
    index = ForwardIndex.open(old_index)
    expected = {"cover": index.spaces[0].fingerprint}
    record = json.loads((undisturbed / "fingerprints.json").read_text())
    assert record["compatible_with"] == expected
    assert record["spaces"]["cover"] != expected["cover"]
    stages = json.loads((undisturbed / "lineage.json").read_text())["stages"]
    assert [stage["data"]["compatible_with"] for stage in stages] == [index.generation] * 2
    assert set(stages[1]["after"]["old_pnr"]) == {"teacher/cover", "student/cover", "old/cover"}
    bars = {line["old_pnr"]["old/cover"] for line in lines_of(undisturbed, "validation")}
    assert len(bars) == 1, "the old model does not learn"
    assert all("compatible/documents/cover" in line for line in lines_of(undisturbed, "train"))
    export_query_tower(undisturbed, tmp_path / "tower")
    told = json.loads((tmp_path / "tower" / "query_tower.json").read_text())
    assert told["spaces"][0]["compatible_with"] == [expected["cover"]]


def test_stopped_in_both_stages_it_ends_with_the_same_bytes(undisturbed, old_index, tiny_run, lines_of, tmp_path):
    settings = FitSettings.model_validate(tree(tiny_run, tmp_path / "run", old_index))
    for steps in (2, 6):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Tracker, "append", stop_after(steps))
            with pytest.raises(KeyboardInterrupt):
                fit(settings)
    folder = fit(settings)
    for name in ("model.safetensors", "fingerprints.json", "lineage.json"):
        assert hash_file(folder / name) == hash_file(undisturbed / name), name
    assert lines_of(folder, "validation")[-1] == lines_of(undisturbed, "validation")[-1]


def stop_after(steps):
    """Interrupt a run in the step after so many, as Ctrl-C would."""

    def append(self, kind, stage, total_steps, values):
        del self, kind, stage, values
        if total_steps > steps:
            raise KeyboardInterrupt

    return append


def test_where_the_index_lies_does_not_count_but_its_generation_does(undisturbed, old_index, tiny_run, tmp_path):
    moved = tmp_path / "moved"
    old_index.rename(moved)
    try:
        fit(FitSettings.model_validate(tree(tiny_run, undisturbed, moved)))  # has ended: nothing is done
    finally:
        moved.rename(old_index)
    with pytest.raises(DataError, match="there is no generation 'g000009-0123456789abcdef'"):
        fit(FitSettings.model_validate(tree(tiny_run, undisturbed, old_index, generation="g000009-0123456789abcdef")))
    with pytest.raises(ConfigError, match=r"give another run\.dir"):
        fit(FitSettings.model_validate(tree(tiny_run, undisturbed, old_index, weight=2.0)))
    wrong = tree(tiny_run, tmp_path / "run", old_index, spaces=["frames"])
    for stage in wrong["stages"]:
        stage["task"]["spaces"] = ["cover", "frames"]
    with pytest.raises(ConfigError, match=r"stage 'stage0': .* has no vectors of frames; it has: content, cover"):
        fit(FitSettings.model_validate(wrong))


def test_only_the_last_stage_of_a_space_counts_and_weight_0_only_measures(old_index, tiny_run, lines_of, tmp_path):
    compatible = {"index": str(old_index)}
    stages = [{"steps": 1, "task": COVERS | {"compatible": compatible}}, {"steps": 1}]
    undone = fit(FitSettings.model_validate(tiny_run(tmp_path / "undone", stages)))
    assert "compatible_with" not in json.loads((undone / "fingerprints.json").read_text())
    stages[1] |= {"replay": {"stage": "stage0", "share": 0.5}}
    replayed = fit(FitSettings.model_validate(tiny_run(tmp_path / "replayed", stages)))
    assert "compatible_with" in json.loads((replayed / "fingerprints.json").read_text())
    stages = [{"steps": 2, "task": COVERS | {"compatible": compatible | {"weight": 0}}}]
    measured = fit(FitSettings.model_validate(tiny_run(tmp_path / "measured", stages)))
    plain = fit(FitSettings.model_validate(tiny_run(tmp_path / "plain", [{"steps": 2}])))
    assert "compatible_with" not in json.loads((measured / "fingerprints.json").read_text())
    assert np.isfinite(lines_of(measured, "validation")[-1]["old_pnr"]["student/cover"])
    assert hash_file(measured / "model.safetensors") == hash_file(plain / "model.safetensors")
