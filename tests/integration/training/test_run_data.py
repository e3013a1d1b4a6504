"""What a run reads and what it says of it: tables it prepares itself, pairs to validate on, numbers that are none."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.tables import read_interactions
from mmsearch.errors import ConfigError, DataError
from mmsearch.models import load_model
from mmsearch.models.inputs import InputMaker
from mmsearch.text import Tokenizer
from training.checkpoints import latest_checkpoint, read_position, read_tensors
from training.config import FitSettings
from training.fit import fit
from training.retrieval import PairValidation

STILL = {"min_crop": 1.0}
COVERS = {"type": "contrastive", "spaces": ["cover"], "augment": STILL}
PREPARE = {"num_frames": 2, "image_size": 16, "shard_size": 8, "row_group_size": 4, "num_workers": 1}


def run(tree):
    return fit(FitSettings.model_validate(tree))


def test_a_run_prepares_its_tables_itself_and_validates_on_pairs(tiny_run, tiny_world, lines_of, tmp_path):
    data = {
        "root": str(tiny_world),
        "corpus": None,
        "videos": "videos.jsonl",
        "prepare": PREPARE,
        "interactions": "interactions.jsonl",
        "val_videos": "videos.jsonl",
        "val_interactions": "interactions.jsonl",
        "judgments": None,
        "val_judgments": None,
    }
    tree = tiny_run(tmp_path / "run", [{}, {}], data=data, run={"select": "cover", "validate_every": 2})
    folder = run(tree)
    assert PreparedCorpus.open(folder / "corpus").num_videos == 24
    corpus = PreparedCorpus.open(folder / "val_corpus")
    model, tokenizer = load_model(folder)
    pairs = [(row.query, row.doc_id) for row in read_interactions(tiny_world / "interactions.jsonl")]
    figures = PairValidation(corpus, pairs, InputMaker(model.settings, tokenizer))(model)
    told = [line for line in lines_of(folder, "validation") if line["stage"] == "stage1" and line.get("best")][-1]
    for kind in ("pair_pnr", "recall@10"):
        assert figures[kind] == pytest.approx(told[kind]), "the weights that were left have the figures of the best"
    assert told["pair_pnr"]["student/cover"] == max(
        line["pair_pnr"]["student/cover"] for line in lines_of(folder, "validation") if line["stage"] == "stage1"
    )
    before = (folder / "model.safetensors").stat().st_mtime_ns
    run(tree)
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_a_run_goes_on_without_bad_rows_and_comes_to_the_same(tiny_run, tiny_world, tmp_path, caplog):
    clicks = tmp_path / "clicks.jsonl"
    good = (tiny_world / "interactions.jsonl").read_text()
    weights = []
    for name, bad, how in (
        ("a", "", "stop"),
        ("b", '{"query": "red ball", "doc_id": "d00", "watch_s": -1}\n', "quarantine"),
    ):
        clicks.write_text(bad + good)
        data = {"interactions": str(clicks), "on_error": how}
        stage = {"task": COVERS | {"pairs": "clicks"}, "steps": 1}
        weights.append((run(tiny_run(tmp_path / name, [stage], data=data)) / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]
    (row,) = map(json.loads, (tmp_path / "b" / "rejected_rows" / "clicks.jsonl").read_text().splitlines())
    assert (row["where"], row["column"]) == (f"{clicks}:1", "watch_s")
    assert f"{clicks}: bad rows left out: 1; they are listed in {tmp_path}/b/rejected_rows/clicks.jsonl" in caplog.text


def test_tables_to_prepare_must_fit_the_model(tiny_run, tiny_world, tmp_path):
    data = {"corpus": None, "videos": str(tiny_world / "videos.jsonl"), "prepare": PREPARE | {"image_size": 24}}
    with pytest.raises(ConfigError, match=r"data\.prepare: prepared with .*image_size=24.*reads.*image_size=16"):
        run(tiny_run(tmp_path / "run", [{}], data=data))
    assert not (tmp_path / "run" / "corpus").exists()


def test_without_a_corpus_the_command_that_makes_it_is_told(tiny_run, tmp_path):
    absent = str(tmp_path / "absent")
    with pytest.raises(
        DataError, match=r"absent: no prepared corpus is there; `mmsearch prepare VIDEOS --out \S+absent`"
    ):
        run(tiny_run(tmp_path / "run", [{}], data={"corpus": absent}))


def test_pairs_of_other_videos_are_told_before_the_first_step(tiny_run, tiny_corpus, tmp_path):
    pairs = tmp_path / "pairs.jsonl"
    pairs.write_text(json.dumps({"query": "red ball", "doc_id": "elsewhere"}) + "\n")
    data = {"val_corpus": str(tiny_corpus), "val_interactions": str(pairs)}
    with pytest.raises(
        DataError,
        match=r"pairs\.jsonl: no clicks can be used, all are left out: 1 of videos that are not in the corpus",
    ):
        run(tiny_run(tmp_path / "run", [{}], data=data))
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_queries_of_a_stage_of_its_own_are_in_the_tokenizer(tiny_run, tiny_world, tmp_path):
    own = tmp_path / "own.jsonl"
    own.write_text((tiny_world / "interactions.jsonl").read_text().replace("red ball", "красный мяч"), encoding="utf-8")
    folder = run(tiny_run(tmp_path / "run", [{"steps": 1, "data": {"interactions": str(own)}}]))
    ids = Tokenizer.load(folder / "tokenizer").encode_batch(["красный мяч"], 8)[0][0, 1:]
    assert 1 not in ids.tolist()
    data = json.loads((folder / "lineage.json").read_text())["stages"][0]["data"]
    assert "own.jsonl" in data


@pytest.fixture(scope="module")
def poisoned(tiny_run, tmp_path_factory):
    """A model folder in which the embedding of the word `yellow` holds no numbers."""
    folder = tmp_path_factory.mktemp("poisoned") / "run"
    run(tiny_run(folder, [{"steps": 1}]))
    tokenizer = Tokenizer.load(folder / "tokenizer")
    (word,) = (
        set(tokenizer.encode_batch(["yellow"], 8)[0][0].tolist())
        - set(tokenizer.encode_batch(["red ball"], 8)[0][0].tolist())
        - {0}
    )
    tensors = load_file(folder / "model.safetensors")
    tensors["student.text.embed.weight"][word] = float("nan")
    save_file(tensors, folder / "model.safetensors")
    return folder


def test_numbers_that_are_none_name_their_rows_and_leave_the_last_checkpoint(tiny_run, tiny_world, poisoned, tmp_path):
    rows = [json.loads(line) for line in (tiny_world / "interactions.jsonl").read_text().splitlines()]
    rows = [row | {"query": row["query"].replace("blue", "yellow")} if row["doc_id"] == "d14" else row for row in rows]
    log = tmp_path / "interactions.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    stages = [
        {"steps": 3},
        {
            "steps": 8,
            "batch_size": 16,
            "start_from": {"run": str(poisoned), "parts": ["student"]},
            "data": {"interactions": str(log)},
        },
    ]
    tree = tiny_run(tmp_path / "run", stages, tokenizer={"folder": str(poisoned / "tokenizer")})
    with pytest.raises(DataError, match=r"stage 'stage1', step 0: .*no numbers come from d14 for 'yellow \w+' \(all"):
        run(tree)
    told = json.loads((tmp_path / "run" / "bad_batch-0.json").read_text())
    assert told["stage"] == "stage1"
    assert told["suspects"] == [name for name in told["batch"] if "yellow" in name]
    assert sorted(name.split()[0] for name in told["batch"]) == sorted({row["doc_id"] for row in rows})
    checkpoints = tmp_path / "run" / "checkpoints"
    (last,) = [path for path in checkpoints.iterdir() if path.name.isdigit()]
    assert read_position(last).ended
    assert all(tensor.isfinite().all() for tensor in read_tensors(last, "model").values())
    assert latest_checkpoint(checkpoints, read_position(last).run_hash) is not None


def test_odd_batches_learn_something_finite(tiny_run, tiny_world, lines_of, tmp_path):
    rows = [json.loads(line) for line in (tiny_world / "interactions.jsonl").read_text().splitlines()]
    coverless = [row for row in rows if int(row["doc_id"][1:]) % 5 == 0]
    logs = {"coverless": coverless, "one": rows[:1], "same": [row | {"query": "one query"} for row in rows]}
    for name, some in logs.items():
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some))
    stages = [
        {"name": name, "steps": 2, "batch_size": 500, "data": {"interactions": str(tmp_path / f"{name}.jsonl")}}
        for name in logs
    ]
    stages[0]["task"] = COVERS | {"spaces": ["cover", "frames"], "frame_weight": 1.0}
    folder = run(tiny_run(tmp_path / "run", stages))
    lines = lines_of(folder, "train")
    assert len(lines) == 6
    losses = {line["stage"]: line for line in lines}
    assert losses["coverless"]["student/cover"] == losses["coverless"]["student/frames"] == 0
    assert losses["one"]["student/cover"] == 0, "a single pair has nothing to be told from"
    assert all(torch.tensor(line["loss"]).isfinite() for line in lines)
    assert all(tensor.isfinite().all() for tensor in load_model(folder)[0].state_dict().values())


def test_an_average_in_bf16(tiny_run, lines_of, tmp_path):
    tree = tiny_run(tmp_path / "run", [{}], run={"precision": "bf16", "ema_decay": 0.9, "keep": "last"})
    folder = run(tree)
    dtypes = {tensor.dtype for tensor in load_file(folder / "model.safetensors").values() if tensor.is_floating_point()}
    assert dtypes == {torch.float32}
    assert len(lines_of(folder, "train")) == 4
