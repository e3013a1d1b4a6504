"""A run that goes on: what its log says, and what it makes of a folder that lost something."""

import json
import logging

import pytest

from mmsearch.errors import ConfigError
from training.config import FitSettings
from training.fit import fit
from training.tracking import Tracker


def run(tree):
    return fit(FitSettings.model_validate(tree))


@pytest.fixture
def half_way(tiny_run, tmp_path):
    """The settings of a run that was interrupted after its sixth step, with best weights."""
    tree = tiny_run(tmp_path / "run", [{"steps": 8}], run={"validate_every": 1, "save_every": 1})
    append = Tracker.append

    def until(self, kind, stage, total_steps, values):
        if total_steps > 6:
            raise KeyboardInterrupt
        append(self, kind, stage, total_steps, values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tracker, "append", until)
        with pytest.raises(KeyboardInterrupt):
            run(tree)
    return tree


def test_without_its_best_weights_it_goes_on_and_steps_of_before_are_in_no_rate(
    half_way, tmp_path, caplog, monkeypatch
):
    best = tmp_path / "run" / "checkpoints" / "best" / "model.safetensors"
    best.unlink()
    monkeypatch.setattr("mmsearch.logs.LINE_EVERY_S", 0.0)
    with caplog.at_level(logging.INFO):
        folder = run(half_way)
    assert best.is_file()
    assert (folder / "fingerprints.json").is_file()
    assert "keeps the best weights of the validations to come" in caplog.text
    done = [record.fields["done"] for record in caplog.records if hasattr(record, "fields")]
    assert done == [7, 8], "no line says that the steps of before were done now"


def test_what_differs_from_the_run_in_the_folder_is_named(half_way, tiny_world, tmp_path):
    other = half_way | {"run": half_way["run"] | {"seed": 3, "log_every": 9}}
    with pytest.raises(ConfigError, match=r"holds checkpoints .* What differs: run.seed: 0 there, 3 here$"):
        run(other)
    grown = tmp_path / "grown.jsonl"
    grown.write_text((tiny_world / "interactions.jsonl").read_text() * 2)
    moved = half_way | {"data": half_way["data"] | {"interactions": str(grown)}}
    with pytest.raises(ConfigError, match=r"What differs: data.interactions: \S+ there, \S*grown.jsonl here$"):
        run(moved)


def test_a_run_that_is_refused_leaves_the_corpus_that_it_prepared(half_way, tiny_world, tmp_path):
    videos = tmp_path / "videos.jsonl"
    rows = [json.loads(line) for line in (tiny_world / "videos.jsonl").read_text().splitlines()]
    for row in rows:  # paths may not leave the folder of the table
        row |= {"cover": str(tiny_world / row["cover"])} if "cover" in row else {}
        row |= {"frames": [str(tiny_world / name) for name in row["frames"]]} if "frames" in row else {}
    videos.write_text("".join(json.dumps(row) + "\n" for row in rows))
    prepare = {"num_frames": 2, "image_size": 16, "shard_size": 8, "row_group_size": 4, "num_workers": 1}
    tree = half_way | {"data": half_way["data"] | {"corpus": None, "videos": str(videos), "prepare": prepare}}
    tree["run"] = half_way["run"] | {"dir": str(tmp_path / "own")}
    corpus = run(tree) / "corpus" / "corpus.json"
    before = corpus.read_bytes()
    changed = tree | {"data": tree["data"] | {"prepare": prepare | {"jpeg_quality": 50}}}
    with pytest.raises(ConfigError, match=r"What differs: data.prepare.jpeg_quality: 90 there, 50 here$"):
        run(changed)
    assert corpus.read_bytes() == before
    videos.write_text("".join(json.dumps(row) + "\n" for row in rows[:-1]))
    with pytest.raises(ConfigError, match="what was read from tables"):
        run(tree)
    assert corpus.read_bytes() == before
