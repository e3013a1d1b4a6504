"""A query tower of the usual size with random weights: 3 layers, 768 wide, bytes for weights. Used by service.py."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from mmsearch.index.query_tower import FORMAT_VERSION
from mmsearch.models.quantise import quantise_model
from mmsearch.text import Tokenizer
from mmsearch.types import Space

NUM_WORDS, WIDTH, INNER, LAYERS, MAX_LENGTH = 32_000, 768, 3072, 3, 16


class _Graph:
    """Nodes and weights of a graph under way."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(3)

    def weight(self, name: str, *shape: int) -> str:
        scale = 1 / np.sqrt(shape[0])
        values = self._rng.standard_normal(shape).astype(np.float32) * np.float32(scale)
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def add(self, op: str, *inputs: str, **attributes: object) -> str:
        out = f"{op}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], **attributes))
        return out

    def layer(self, x: str, n: int) -> str:
        """Add attention of one head and a feed-forward network, each with its residual and norm."""
        q, k, v = (self.add("MatMul", x, self.weight(f"{part}{n}", WIDTH, WIDTH)) for part in "qkv")
        scores = self.add("MatMul", q, self.add("Transpose", k, perm=[0, 2, 1]))
        mixed = self.add("MatMul", self.add("Softmax", self.add("Div", scores, "root"), axis=-1), v)
        x = self.norm(self.add("Add", x, self.add("MatMul", mixed, self.weight(f"o{n}", WIDTH, WIDTH))))
        inner = self.add("Gelu", self.add("MatMul", x, self.weight(f"up{n}", WIDTH, INNER)))
        return self.norm(self.add("Add", x, self.add("MatMul", inner, self.weight(f"down{n}", INNER, WIDTH))))

    def norm(self, x: str) -> str:
        return self.add("LayerNormalization", x, "ones", axis=-1)


def write_student(folder: Path, spaces: Sequence[Space]) -> None:
    """Write a query tower that gives one vector for all of the spaces."""
    graph = _Graph()
    graph.weight("words", NUM_WORDS, WIDTH)
    for name, value in (("ones", np.ones(WIDTH, np.float32)), ("root", np.float32(np.sqrt(WIDTH)))):
        graph.weights.append(numpy_helper.from_array(np.asarray(value), name))
    graph.weights.append(numpy_helper.from_array(np.array([1], np.int64), "middle"))
    x = graph.add("Gather", "words", "input_ids")
    for n in range(LAYERS):
        x = graph.layer(x, n)
    mean = graph.add("ReduceMean", x, "middle", keepdims=0)
    vector = graph.add("MatMul", mean, graph.weight("project", WIDTH, spaces[0].dim))
    # the mask is read, as every exported tower does; there is no padding
    some = graph.add("ReduceMax", graph.add("Cast", "attention_mask", to=TensorProto.FLOAT), "middle", keepdims=1)
    graph.nodes.append(helper.make_node("LpNormalization", [graph.add("Mul", vector, some)], ["query"], axis=-1, p=2))
    names = ("input_ids", "attention_mask")
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"]) for name in names]
    output = helper.make_tensor_value_info("query", TensorProto.FLOAT, ["batch", spaces[0].dim])
    made = helper.make_graph(graph.nodes, "student", inputs, [output], graph.weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    Tokenizer.train(["red panda climbs a tree"] * 3, vocab_size=400, min_count=1).save(folder / "tokenizer")
    quantise_to(folder, model)
    rows = [{"name": s.name, "dim": s.dim, "fingerprint": s.fingerprint, "output": "query"} for s in spaces]
    told = {"format_version": FORMAT_VERSION, "max_length": MAX_LENGTH, "precision": "int8", "spaces": rows}
    (folder / "query_tower.json").write_text(json.dumps(told))


def quantise_to(folder: Path, model: onnx.ModelProto) -> None:
    """Write a model as bytes, with its large arrays beside it, as an export does."""
    with tempfile.TemporaryDirectory() as scratch:
        onnx.save(model, Path(scratch) / "model.onnx")
        quantise_model(Path(scratch) / "model.onnx", folder)
