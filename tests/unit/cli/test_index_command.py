"""The verbs of `mmsearch index` on real indexes, and `mmsearch search --ann`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mmsearch.cli.index import app
from mmsearch.cli.index_print import size
from mmsearch.errors import CorruptIndexError, DataError
from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.protocols import Embedded
from mmsearch.types import Space

SPACES = (Space("cover", 8, "aa11"), Space("content", 8, "bb22"))
IDS = [f"v[b]{i}" for i in range(40)]


def call(*arguments: object) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def publish(tmp_path: Path) -> Callable[..., str]:
    tower = tmp_path / "tower"
    tower.mkdir()
    rows = [{"name": s.name, "dim": s.dim, "fingerprint": s.fingerprint, "output": s.name} for s in SPACES]
    (tower / "query_tower.json").write_text(json.dumps({"format_version": 1, "max_length": 8, "spaces": rows}))

    def run(ids: list[str], seed: int = 0, title: int = 1) -> str:
        rng = np.random.default_rng(seed)
        embedded = {}
        for space in SPACES:
            vectors = rng.standard_normal((len(ids), space.dim)).astype(np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            embedded[space.name] = Embedded(vectors, np.arange(len(ids)) % 4 != 1)
        with GenerationWriter(tmp_path / "index", SPACES) as writer:
            writer.add(ids, embedded, np.full((len(ids), 8), title, np.uint64))
            return writer.publish(query_tower=tower, source={"corpus_hash": "[red]abc\x1b[2J"})

    return run


@pytest.fixture
def index_dir(publish, tmp_path) -> Path:
    publish(IDS)
    publish([*IDS[2:], "late"], seed=1, title=2)
    return tmp_path / "index"


def test_inspect_tells_of_generations_and_of_what_one_holds(index_dir):
    shown = call("inspect", index_dir)
    current = ForwardIndex.open(index_dir).generation
    assert next(line for line in shown.splitlines() if "served" in line).split()[:2] == [current, "39"]
    assert "[red]abc [2J" in shown
    assert "\x1b" not in shown
    told = json.loads(call("inspect", index_dir, "--generation", 1, "--json"))
    assert told["generation"].startswith("g000001-")
    assert [info["number"] for info in told["generations"]] == [1, 2]
    assert [(space["name"], space["num_vectors"], space["dtype"]) for space in told["spaces"]] == [
        ("cover", 30, "float16"),
        ("content", 30, "float16"),
    ]


def test_verify_ends_with_the_code_of_damage_and_names_it(index_dir):
    assert call("verify", index_dir, "--all").count("sound") == 2
    current = ForwardIndex.open(index_dir).generation
    path = index_dir / "generations" / current / "vectors.cover.npy"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptIndexError, match="1 damaged files") as caught:
        call("verify", index_dir)
    assert caught.value.exit_code == 4
    result = CliRunner().invoke(app, ["verify", str(index_dir), "--json"])
    damaged = [damage for done in json.loads(result.stdout) for damage in done["damaged"]]
    assert [(damage["file"], damage["num_vectors"]) for damage in damaged] == [
        (f"generations/{current}/vectors.cover.npy", 29)
    ]
    assert "sound" in call("verify", index_dir, "--generation", 1)


def test_diff_takes_the_generation_before_unless_two_are_named(index_dir, publish):
    told = json.loads(call("diff", index_dir, "--json"))
    assert (told["num_added"], told["num_removed"]) == (1, 2)
    assert (told["added"], told["removed"]) == (["late"], IDS[:2])
    assert told["content"]["any"] == told["content"]["asr"] == 38
    shown = call("diff", index_dir)
    assert "39 videos, 1 added, 2 removed" in shown
    assert "removed: v[b]0, v[b]1" in shown
    publish(IDS, seed=0)
    backwards = json.loads(call("diff", index_dir, 3, "g000002", "--json"))
    assert (backwards["num_added"], backwards["num_removed"]) == (1, 2)


def test_the_first_generation_has_none_before_it(publish, tmp_path):
    publish(IDS)
    with pytest.raises(DataError, match=r"g000001-.* is the first generation"):
        call("diff", tmp_path / "index")


def test_export_says_what_it_wrote(index_dir, tmp_path):
    out = tmp_path / "vectors.parquet"
    lines = call("export", index_dir, "--out", out).splitlines()
    assert lines == [f"{out}\t{name}\t29 of 39 videos" for name in ("cover", "content")]
    folder = tmp_path / "npy"
    call("export", index_dir, "--out", folder, "--format", "npy", "--spaces", "content", "--dtype", "float16")
    assert np.load(folder / "content.npy").dtype == np.float16


def test_ann_shows_recall_and_inspect_shows_ann(index_dir):
    told = json.loads(call("ann", index_dir, "structure.type=flat", "spaces=[content]", "num_queries=5", "--json"))
    assert [(ann["space"], ann["structure"]["type"], ann["recall"]["value"]) for ann in told] == [
        ("content", "flat", 1)
    ]
    assert "flat" in call("inspect", index_dir)
    assert "29, for 10 documents" in call("ann", index_dir, "spaces=[cover]", "num_queries=10")


def test_a_folder_without_an_index_is_told(tmp_path):
    for verb in ("inspect", "verify", "diff", "ann"):
        with pytest.raises(DataError, match="no index here"):
            call(verb, tmp_path)


@pytest.mark.parametrize(("value", "shown"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (2.5e12, "2.5 TB")])
def test_sizes_are_short(value, shown):
    assert size(value) == shown
