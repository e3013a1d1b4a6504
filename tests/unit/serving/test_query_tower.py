"""A served model gets its query tower in another precision, over the same vectors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from typer.testing import CliRunner

from mmsearch.errors import DataError, FingerprintError
from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.index.query_tower import read_query_tower
from mmsearch.models import MatchModel, ModelSettings, export_query_tower, save_model
from mmsearch.models.quantise import quantise_query_tower, write_model
from mmsearch.protocols import Embedded
from mmsearch.scoring import FeatureScorer, OnnxQueryEncoder
from mmsearch.text import Tokenizer
from mmsearch.types import Space
from serving.__main__ import app
from serving.query_tower import publish_tower

IDS = [f"v{i}" for i in range(30)]
QUERIES = ["red panda", "大熊猫 at home", "noodle soup"]
SPACES = (Space("cover", 32, "aa11"), Space("content", 32, "bb22"))
WIDTH, HIDDEN = 128, 512


def write_graph(path: Path) -> None:
    """Write a model without torch: the mean of embeddings, two products of matrices, the length 1."""
    rng = np.random.default_rng(0)
    held = {
        "table": rng.standard_normal((400, WIDTH)).astype(np.float32),
        "first": rng.standard_normal((WIDTH, HIDDEN)).astype(np.float32),
        "second": rng.standard_normal((HIDDEN, 32)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["tokens"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["weights"]),
        helper.make_node("Mul", ["tokens", "weights"], ["real"]),
        helper.make_node("ReduceSum", ["real", "middle"], ["sum"], keepdims=0),
        helper.make_node("MatMul", ["sum", "first"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["rectified"]),
        helper.make_node("MatMul", ["rectified", "second"], ["long"]),
        helper.make_node("LpNormalization", ["long"], ["query"], axis=-1, p=2),
    ]
    held |= {"last": np.array([-1]), "middle": np.array([1])}
    shape = ["batch", "length"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")]
    outputs = [helper.make_tensor_value_info("query", TensorProto.FLOAT, ["batch", 32])]
    kept = [numpy_helper.from_array(value, name) for name, value in held.items()]
    graph = helper.make_graph(nodes, "tower", inputs, outputs, kept)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


@pytest.fixture(scope="module")
def towers(tmp_path_factory):
    """A folder that holds one query tower in both precisions."""
    folder = tmp_path_factory.mktemp("towers")
    write_graph(folder / "model.onnx")
    write_model(folder / "model.onnx", folder / "fp32")
    Tokenizer.train([*QUERIES, "another title"] * 2, vocab_size=300, min_count=1).save(folder / "fp32" / "tokenizer")
    rows = [{"name": s.name, "dim": s.dim, "fingerprint": s.fingerprint, "output": "query"} for s in SPACES]
    told = {"format_version": 3, "precision": "fp32", "max_length": 16, "spaces": rows}
    (folder / "fp32" / "query_tower.json").write_text(json.dumps(told))
    quantise_query_tower(folder / "fp32", folder / "int8")
    return folder


@pytest.fixture
def index_dir(towers, tmp_path):
    """An index of random vectors of this model, half floats, with hashes of contents."""
    rng = np.random.default_rng(0)
    embedded = {}
    for space in SPACES:
        vectors = rng.standard_normal((len(IDS), space.dim)).astype(np.float32)
        embedded[space.name] = Embedded(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), rng.random(30) > 0.2)
    with GenerationWriter(tmp_path / "index", SPACES) as writer:
        writer.add(IDS, embedded, rng.integers(1, 9, (30, 8)).astype(np.uint64))
        writer.publish(query_tower=towers / "fp32", source={"corpus_hash": "x"})
    return tmp_path / "index"


def test_int8_and_float32_name_themselves_and_give_nearly_the_same_vectors(towers):
    exact, quantised = towers / "fp32", towers / "int8"
    assert [read_query_tower(one).precision for one in (exact, quantised)] == ["fp32", "int8"]
    assert read_query_tower(exact).spaces == read_query_tower(quantised).spaces
    assert (exact / "model.onnx").stat().st_size < 80_000 < (exact / "model.weights").stat().st_size
    sizes = [sum(file.stat().st_size for file in one.glob("model.*")) for one in (exact, quantised)]
    assert sizes[1] < 0.7 * sizes[0], "embeddings stay as they are"
    one, other = (OnnxQueryEncoder.open(place).encode(QUERIES)["content"] for place in (exact, quantised))
    assert (one * other).sum(axis=1).min() > 0.999
    assert (one != other).any(), "it is another model"
    with pytest.raises(DataError, match="is int8 already"):
        quantise_query_tower(quantised, towers / "again")


@pytest.mark.slow
def test_a_trained_model_is_exported_in_either_precision(tiny_model, towers, index_dir, tmp_path):
    torch.manual_seed(0)
    tokenizer = Tokenizer.train([*QUERIES, "another title"] * 2, vocab_size=300, min_count=1)
    tree = json.loads(json.dumps(tiny_model))
    tree["query"] |= {"teacher": {"width": 128, "depth": 2, "heads": 2, "max_length": 16}, "tie_embeddings": False}
    model = MatchModel(ModelSettings.model_validate(tree), tokenizer.vocab_size).eval()
    save_model(tmp_path / "run", model, tokenizer)
    export_query_tower(tmp_path / "run", tmp_path / "fp32")
    export_query_tower(tmp_path / "run", tmp_path / "int8", precision="int8")
    quantise_query_tower(tmp_path / "fp32", tmp_path / "quantised")
    for name in ("model.onnx", "query_tower.json"):
        assert (tmp_path / "int8" / name).read_bytes() == (tmp_path / "quantised" / name).read_bytes(), name
    one, other = (OnnxQueryEncoder.open(tmp_path / place).encode(QUERIES) for place in ("fp32", "int8"))
    for name, vectors in one.items():
        assert (vectors * other[name]).sum(axis=1).min() > 0.99, name
    publish_tower(index_dir, "int8")
    with pytest.raises(FingerprintError, match="cover"):
        publish_tower(index_dir, "fp32", tmp_path / "run")


def test_a_served_tower_is_replaced_and_every_vector_stays(index_dir):
    before = ForwardIndex.open(index_dir)
    done = CliRunner().invoke(app, ["tower", "--index", str(index_dir), "--precision", "int8"])
    assert done.exit_code == 0, done.exception
    served = ForwardIndex.open(index_dir, verify="full")
    assert served.generation == done.stdout.strip() != before.generation
    assert read_query_tower(served.query_tower).precision == "int8"
    assert (list(served.doc_ids), served.source, served.dtypes) == (list(before.doc_ids), before.source, before.dtypes)
    rows = np.arange(30)
    np.testing.assert_array_equal(served.contents(rows), before.contents(rows))
    for space in served.spaces:
        ours, theirs = served.raw(space.name, rows), before.raw(space.name, rows)
        np.testing.assert_array_equal(ours.vectors, theirs.vectors)
        np.testing.assert_array_equal(ours.present, theirs.present)
    scores = [FeatureScorer(index, OnnxQueryEncoder.open(index.query_tower)).score("red panda", IDS).values
              for index in (before, served)]  # fmt: skip
    np.testing.assert_allclose(*scores, atol=0.03)

    assert publish_tower(index_dir, "int8") == served.generation, "nothing is published twice"
    with pytest.raises(DataError, match="give the --model"):
        publish_tower(index_dir, "fp32")


def test_an_overlay_asks_for_a_refresh(index_dir):
    base = ForwardIndex.open(index_dir)
    with GenerationWriter(index_dir, base.spaces, base=base.generation) as writer:
        writer.delete(IDS[:1])
        writer.publish(query_tower=None, source={})
    with pytest.raises(DataError, match="query_tower_precision=int8"):
        publish_tower(index_dir, "int8")
