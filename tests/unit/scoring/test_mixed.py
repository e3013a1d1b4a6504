"""Generations of two models: which query tower scores which document, in features, search and commands."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from mmsearch.cli import evaluate, score, search
from mmsearch.errors import CorruptIndexError, FingerprintError
from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.index.recall.search import ExactSearch
from mmsearch.protocols import Embedded
from mmsearch.scoring import FeatureScorer, OnnxQueryEncoder
from mmsearch.types import Space

DIM, CODES = 8, 3
DOC_IDS = [f"v{i}" for i in range(30)]
NEW = (Space("content", DIM, "new-content", CODES), Space("title", DIM, "new-title"))
#: In the overlay, v30 is new, v1 is deleted, v2 has no title.
EMBEDDED_ANEW = ["v0", "v2", "v9", "v30"]
QUERY = "red panda"

app = typer.Typer()
for verb in (evaluate, score, search):
    app.command(verb.__name__.rpartition(".")[2])(verb.run)


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    vectors = rng.standard_normal(shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


CODES_ANEW, TITLES_ANEW = unit(np.random.default_rng(3), 4, CODES, DIM), unit(np.random.default_rng(4), 4, DIM)


@pytest.fixture
def new_tower(tower: Path, table: np.ndarray, write_tower_model: Callable[..., None]) -> Path:
    """The query tower of another model: other vectors for the same tokens."""
    folder = tower.with_name("new-tower")
    shutil.copytree(tower, folder)
    write_tower_model(table[::-1].copy())
    (tower / "model.onnx").rename(folder / "model.onnx")
    write_tower_model(table)
    return folder


@pytest.fixture
def upgrade(index_dir: Path, new_tower: Path) -> Callable[..., Path]:
    """Publish an overlay of the new model on the older one; `upgrade(content={…})` tells more of that space."""

    def run(**more: Mapping[str, Any]) -> Path:
        told = [{"name": s.name, "dim": DIM, "fingerprint": s.fingerprint, "output": "query"} for s in NEW]
        told[0] |= {"num_codes": CODES, "selection": "min"} | more.get("content", {})
        (new_tower / "query_tower.json").write_text(json.dumps({"format_version": 2, "max_length": 16, "spaces": told}))
        served = ForwardIndex.open(index_dir)
        content = Embedded(CODES_ANEW.reshape(4, -1), np.ones(4, bool))
        title = Embedded(TITLES_ANEW, np.array([True, False, True, True]))
        with GenerationWriter(index_dir, NEW, dtype="float32", base=served.base or served.generation) as writer:
            writer.add(EMBEDDED_ANEW, {"content": content, "title": title})
            writer.delete(["v1"])
            writer.publish(query_tower=new_tower, source={})
        return index_dir

    return run


def test_each_document_is_scored_by_the_tower_of_its_model(upgrade, tower, new_tower, embedded):
    scorer = FeatureScorer.open(upgrade())
    assert scorer.spaces == ("content", "title", "cover"), "the new model's features, then what only the older has"
    asked = [*reversed(DOC_IDS), "v30", "nobody"]
    features = scorer.score(QUERY, asked)
    old, new = (OnnxQueryEncoder.open(folder).encode([QUERY])["content"][0] for folder in (tower, new_tower))
    assert not np.allclose(old, new)
    for doc_id, row in features.to_rows():
        if doc_id in EMBEDDED_ANEW:
            at = EMBEDDED_ANEW.index(doc_id)
            title = None if doc_id == "v2" else TITLES_ANEW[at] @ new
            expected = {"content": (CODES_ANEW[at] @ new).min(), "title": title, "cover": None}
        elif doc_id in ("v1", "nobody"):
            expected = dict.fromkeys(scorer.spaces)
        else:
            at = DOC_IDS.index(doc_id)
            there = embedded["cover"].present[at]
            values = {name: embedded[name].vectors[at] @ old if there else None for name in ("content", "cover")}
            expected = values | {"title": None}
        row.pop("content.poly")
        assert row == {name: v if v is None else pytest.approx(v, abs=1e-6) for name, v in expected.items()}, doc_id
    assert scorer.score(" ", asked).missing.all()


def test_search_finds_the_best_of_both(upgrade):
    scorer = FeatureScorer.open(upgrade())
    every = [*DOC_IDS, "v30"]
    for space in scorer.spaces:
        values, missing = scorer.score(QUERY, every).column(space)
        ranked = [every[i] for i in np.argsort(-values, kind="stable") if not missing[i]]
        found, scores = ExactSearch(scorer.index).search(space, scorer.query_vectors(QUERY, space), 10)
        assert found == ranked[:10]
        np.testing.assert_allclose(scores, np.sort(values[~missing])[::-1][:10], atol=1e-6)
    assert scorer.query_vectors(QUERY, "title")[0] is None, "the older model has no titles"
    assert ExactSearch(scorer.index).search("content", scorer.query_vectors(" ", "content"), 5)[0] == []


def test_refuse_names_both_models(upgrade):
    with pytest.raises(FingerprintError, match=r"2 models: 30 rows of cover aa11, content bb22 .* and .* new-content"):
        FeatureScorer.open(upgrade(), on_mixed="refuse")


def test_refuse_takes_an_index_of_one_model(index_dir):
    one, other = (FeatureScorer.open(index_dir, on_mixed=how).score(QUERY, DOC_IDS) for how in ("refuse", "newest"))
    np.testing.assert_array_equal(one.values, other.values)


def test_the_newest_tower_scores_all_only_where_it_was_trained_for_that(upgrade, new_tower, embedded, caplog):
    index_dir = upgrade()
    with pytest.raises(
        FingerprintError, match=r"not trained to find the documents of the older model, 30 rows of .*aa11"
    ):
        FeatureScorer.open(index_dir, on_mixed="newest")
    index_dir = upgrade(content={"compatible_with": ["zz", "bb22"]})
    scorer = FeatureScorer.open(index_dir, on_mixed="newest")
    assert "no score for older documents in cover" in caplog.text
    features = scorer.score(QUERY, DOC_IDS)
    new = OnnxQueryEncoder.open(new_tower).encode([QUERY])["content"][0]
    values, missing = features.column("content")
    for at in (3 + 1, 5, 29):
        assert values[at] == pytest.approx(embedded["content"].vectors[at] @ new, abs=1e-6)
    assert values[9] == pytest.approx((CODES_ANEW[2] @ new).min(), abs=1e-6)
    assert missing.tolist() == [at in (1, 3, 10, 17, 24) for at in range(30)]
    assert features.column("cover")[1].all()
    found, _ = ExactSearch(scorer.index).search("content", scorer.query_vectors(QUERY, "content"), 3)
    assert found[0] == DOC_IDS[int(np.argmax(np.where(missing, -9, values)))]


def test_encoders_of_the_users_own(upgrade, tower, new_tower):
    index = ForwardIndex.open(upgrade())
    old, new = OnnxQueryEncoder.open(tower), OnnxQueryEncoder.open(new_tower)
    both = FeatureScorer(index, [old, new]).score(QUERY, DOC_IDS)
    np.testing.assert_array_equal(both.values, FeatureScorer.open(upgrade()).score(QUERY, DOC_IDS).values)
    with pytest.raises(FingerprintError, match=r"'content': mine has fingerprint bb22, .* has new-content"):
        FeatureScorer(index, old, encoder_at="mine")
    with pytest.raises(FingerprintError, match="2 models, and 3 query encoders were given"):
        FeatureScorer(index, [old, old, new])


def test_a_damaged_tower_of_the_older_model_is_refused(upgrade):
    index_dir = upgrade()
    path = ForwardIndex.open(index_dir).versions[0].query_tower / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(bytes(content))
    with pytest.raises(CorruptIndexError, match=r"model\.onnx"):
        FeatureScorer.open(index_dir)


def call(*arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def test_commands_work_on_it(upgrade, tmp_path):
    index_dir = upgrade()
    scored = FeatureScorer.open(index_dir).score(QUERY, ["v0", "v4", "v1"])
    (tmp_path / "ids").write_text("v0\nv4\nv1\n")
    args = ["--index", str(index_dir), "--query", QUERY, "--docs", str(tmp_path / "ids"), "--json"]
    told = call("score", *args)["docs"]
    assert [doc["features"]["content"] for doc in told] == [row["content"] for _, row in scored.to_rows()]
    args = [QUERY, "--index", str(index_dir), "-k", "29", "--format", "json"]
    found = call("search", *args)["docs"]
    assert {"v0", "v2", "v9", "v30"} <= {doc["doc_id"] for doc in found}
    values = [doc["features"]["content"] for doc in found]
    assert values == sorted(values, reverse=True)
    rows = [{"query": QUERY, "doc_id": doc_id, "grade": n % 3} for n, doc_id in enumerate([*DOC_IDS, "v30"])]
    (tmp_path / "judgments.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    args = ["--index", str(index_dir), "--judgments", str(tmp_path / "judgments.jsonl"), "--depth", "5", "--json"]
    assert set(call("evaluate", *args)["features"]) == {"content", "title", "cover"}
    asked = [*args[:2], "--query", QUERY, "--docs", str(tmp_path / "ids")]
    for verb in (["score", *asked], ["search", QUERY, *args[:2]], ["evaluate", *args]):
        with pytest.raises(FingerprintError, match="2 models"):
            call(*verb, "--on-mixed", "refuse")
