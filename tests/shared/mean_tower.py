"""A query tower without torch: the L2-normalised mean of the embeddings of the real tokens, one for all its spaces."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from mmsearch.text import Tokenizer
from mmsearch.types import Space

Float32 = npt.NDArray[np.float32]


def write_mean_tower(
    folder: Path, texts: Iterable[str], spaces: Iterable[Space], table: Float32, **of_spaces: Any
) -> Path:
    """Write a query tower; its tokenizer learns from `texts`, each seen three times.

    Args:
        folder: made when it is not there.
        texts: what queries are made of.
        spaces: the spaces of the vectors that it is for.
        table: `[tokens, dim]`, the embeddings.
        of_spaces: what `query_tower.json` says of each space besides.
    """
    folder.mkdir(parents=True, exist_ok=True)
    Tokenizer.train([*texts] * 3, vocab_size=min(len(table), 400), min_count=1).save(folder / "tokenizer")
    write_mean_model(folder / "model.onnx", table)
    rows = [{"name": s.name, "dim": s.dim, "fingerprint": s.fingerprint, "output": "query"} | of_spaces for s in spaces]
    told = {"format_version": 2 if of_spaces else 1, "max_length": 16, "spaces": rows}
    (folder / "query_tower.json").write_text(json.dumps(told))
    return folder


def write_mean_model(path: Path, table: Float32, outputs: Sequence[str] = ("query",)) -> None:
    """Write its ONNX model, which gives the same under each output name."""
    nodes = [
        helper.make_node("Gather", ["table", "input_ids"], ["tokens"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["mask", "last"], ["weights"]),
        helper.make_node("Mul", ["tokens", "weights"], ["real"]),
        helper.make_node("ReduceSum", ["real", "middle"], ["sum"], keepdims=0),
        *(helper.make_node("LpNormalization", ["sum"], [name], axis=-1, p=2) for name in outputs),
    ]
    shape = ["batch", "length"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name in ("input_ids", "attention_mask")]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", table.shape[1]]) for name in outputs]
    held = {"table": table, "last": np.array([-1]), "middle": np.array([1])}
    weights = [numpy_helper.from_array(value, name) for name, value in held.items()]
    graph = helper.make_graph(nodes, "tower", inputs, made, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, path)
