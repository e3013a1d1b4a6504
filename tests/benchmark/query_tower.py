"""How long one query takes: our exported student beside sentence-transformers on ONNX Runtime and OpenVINO.

    python tests/benchmark/query_tower.py [--rounds 300] [--depth 3] [--width 768]

All have the same random weights (a BERT of 3 layers, 768 wide, 21,128 ids), read queries of 16 tokens, one at a time,
on one thread, from text to normalised vectors. Ours gives four spaces of 256 components, theirs one. Every round asks
each of them, in turn, for ten queries in a row that none has seen, as a process does that serves one model: p50 and p99
are of the last eight, in ms of the clock and of all threads of the process. The first of a row finds the caches full of
the weights of others; its p50 stands beside them. The cosine is the lowest of a model's vectors with those of our model
in float32.

sentence-transformers is left out where it is absent, and that is said:
`pip install "sentence-transformers[onnx,openvino]"`, best in an environment of its own, with the checkout in
PYTHONPATH. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from tokenizers import BertWordPieceTokenizer

from mmsearch.models import MatchModel, ModelSettings, export_query_tower, save_model
from mmsearch.models.quantise import quantise_query_tower
from mmsearch.protocols import Float32
from mmsearch.scoring import OnnxQueryEncoder
from mmsearch.text import Tokenizer
from mmsearch.torchvision_guard import guard_torchvision

NUM_WORDS, LENGTH, DIM, WARM_UP = 21_128, 16, 256, 10
#: Queries in a row, and how many of them bring a model's weights back into the caches.
ROW, SETTLING = 10, 2
TARGET_MS = 2.5
SPACE = "content"

#: A query to its vector, [D].
Encode = Callable[[str], Float32]
#: Milliseconds of the clock and of the process's threads.
Time = tuple[float, float]


def write_bert(folder: Path, width: int, depth: int) -> None:
    """Write a BERT with random weights, and a vocabulary of Chinese characters."""
    guard_torchvision()
    transformers = importlib.import_module("transformers")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=NUM_WORDS,
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=width // 64,
        intermediate_size=4 * width,
    )
    transformers.BertModel(config, add_pooling_layer=False).eval().save_pretrained(folder)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *(chr(0x4E00 + i) for i in range(NUM_WORDS - len(special)))]
    rust = BertWordPieceTokenizer({word: i for i, word in enumerate(words)})
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=rust._tokenizer, **names).save_pretrained(folder)


def queries(num: int) -> list[str]:
    """Give texts of so many characters that they are 16 tokens long."""
    drawn = np.random.default_rng(3).integers(0x4E00, 0x4E00 + 20_000, (num, LENGTH - 2))
    return ["".join(map(chr, row)) for row in drawn.tolist()]


def export(bert: Path, folder: Path, width: int, depth: int) -> torch.Tensor:
    """Export our student with these weights, in float32 and int8; gives the projection of the space, [D, W]."""
    text = {"width": 64, "depth": 1, "heads": 1, "max_length": 96}
    tree = {
        "dim": DIM,
        "document": {
            "image": {"image_size": 16, "args": {"patch_size": 16, "embed_dim": 32, "depth": 1, "num_heads": 1}},
            "text": text,
            "fusion": {"depth": 1, "heads": 1},
            "frames": {"depth": 1},
        },
        "query": {"teacher": {"type": "bert", "folder": str(bert)}, "student_depth": depth, "tie_embeddings": False},
    }
    settings = ModelSettings.model_validate(tree).resolve()
    model = MatchModel(settings, NUM_WORDS).eval()
    model.student.text.load(str(bert))
    save_model(folder / "run", model, Tokenizer.load(bert))
    export_query_tower(folder / "run", folder / "fp32")
    quantise_query_tower(folder / "fp32", folder / "int8")
    head: Any = model.student.heads[SPACE]
    return head.weight.detach()


def ours(folder: Path) -> Encode:
    """Open a query tower as serving does, without its cache."""
    encoder = OnnxQueryEncoder.open(folder, cache_size=0)
    return lambda query: encoder.encode([query])[SPACE][0]


def sentence_transformer(folder: Path, head: torch.Tensor, **options: Any) -> Encode:
    """Open the BERT by sentence-transformers (its tokens' mean), and let our projection follow."""
    library = importlib.import_module("sentence_transformers")
    modules = importlib.import_module("sentence_transformers.models")
    model = library.SentenceTransformer(str(folder), device="cpu", **options)
    model.max_seq_length = LENGTH
    dense = modules.Dense(head.shape[1], DIM, bias=False, activation_function=torch.nn.Identity())
    dense.linear.weight.data.copy_(head)

    def encode(query: str) -> Float32:
        found: Float32 = model.encode([query], show_progress_bar=False)[0]
        return found

    model.extend([dense, modules.Normalize()])
    return encode


def peers(bert: Path, head: torch.Tensor, folder: Path) -> dict[str, Callable[[], Encode]]:
    """Give what sentence-transformers offers for CPUs, by name: each is opened when it is called."""
    library = importlib.import_module("sentence_transformers")
    one_thread = importlib.import_module("onnxruntime").SessionOptions()
    one_thread.intra_op_num_threads = one_thread.inter_op_num_threads = 1
    onnx = {"provider": "CPUExecutionProvider", "session_options": one_thread}
    vino = {"INFERENCE_NUM_THREADS": "1", "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}

    def onnx_int8() -> Encode:
        whole = library.SentenceTransformer(str(bert), backend="onnx", model_kwargs=onnx | {"export": True})
        whole.save_pretrained(str(folder / "onnx"))
        library.export_dynamic_quantized_onnx_model(whole, "avx512_vnni", str(folder / "onnx"))
        chosen = onnx | {"file_name": "model_qint8_avx512_vnni.onnx", "subfolder": "onnx"}
        return sentence_transformer(folder / "onnx", head, backend="onnx", model_kwargs=chosen)

    def vino_as(**options: Any) -> Callable[[], Encode]:
        chosen = {"export": True} | options
        chosen["ov_config"] = vino | options.get("ov_config", {})
        return lambda: sentence_transformer(bert, head, backend="openvino", model_kwargs=chosen)

    return {
        "sentence-transformers, torch": lambda: sentence_transformer(bert, head),
        "sentence-transformers, ONNX": lambda: sentence_transformer(
            bert, head, backend="onnx", model_kwargs=onnx | {"export": True}
        ),
        "sentence-transformers, ONNX int8": onnx_int8,
        "sentence-transformers, OpenVINO": vino_as(),
        "sentence-transformers, OpenVINO f32": vino_as(ov_config={"INFERENCE_PRECISION_HINT": "f32"}),
        "sentence-transformers, OpenVINO int8 weights": vino_as(load_in_8bit=True),
    }


def opened(bert: Path, head: torch.Tensor, folder: Path) -> dict[str, Encode]:
    """Open everything that is there; what is not is told."""
    found = {"mmsearch int8": ours(folder / "int8"), "mmsearch float32": ours(folder / "fp32")}
    if importlib.util.find_spec("sentence_transformers") is None:
        print("sentence-transformers is absent: left out")
        return found
    for name, make in peers(bert, head, folder).items():
        try:
            found[name] = make()
        except Exception as error:  # their exporters and backends break in many ways
            print(f"{name}: left out: {type(error).__name__}: {str(error).splitlines()[0]}")
    return found


def measure(encoders: dict[str, Encode], rounds: int) -> dict[str, dict[str, float]]:
    """Give the times of all of them, in rows taken in turns, and how near they come to float32."""
    first: dict[str, list[Time]] = {name: [] for name in encoders}
    others: dict[str, list[Time]] = {name: [] for name in encoders}
    lowest = dict.fromkeys(encoders, 1.0)
    asked = queries(rounds * ROW + WARM_UP)
    for encode in encoders.values():
        for query in asked[:WARM_UP]:
            encode(query)
    for start in range(WARM_UP, len(asked), ROW):
        row = asked[start : start + ROW]
        truth = encoders["mmsearch float32"](row[-1])
        for name, encode in encoders.items():
            times = [timed(encode, query) for query in row]
            first[name].append(times[0])
            others[name] += times[SETTLING:]
            lowest[name] = min(lowest[name], float(encode(row[-1]) @ truth))
    return {
        name: told(taken) | {"p50_first": told(first[name])["p50"], "cosine": lowest[name]}
        for name, taken in others.items()
    }


def timed(encode: Encode, query: str) -> Time:
    """Encode a query; give the ms of the clock and of the process's threads."""
    clock, cpu = time.perf_counter(), time.process_time()
    encode(query)
    return (time.perf_counter() - clock) * 1e3, (time.process_time() - cpu) * 1e3


def told(times: list[Time]) -> dict[str, float]:
    """Give the percentiles of times."""
    wall, cpu = zip(*times, strict=True)
    p50, p99 = np.percentile(wall, [50, 99])
    return {"p50": float(p50), "p99": float(p99), "cpu": float(np.median(cpu))}


def cached(folder: Path, rounds: int) -> dict[str, float]:
    """Give the times of a query whose vectors are remembered."""
    encoder = OnnxQueryEncoder.open(folder)
    (query,) = queries(1)
    encoder.encode([query])
    return told([timed(lambda asked: encoder.encode([asked])[SPACE][0], query) for _ in range(rounds)])


def show(figures: dict[str, dict[str, float]]) -> None:
    """Print the table, and the line for programs."""
    table = Table(title=f"one query of {LENGTH} tokens, one thread")
    columns = {
        "p50": "p50 ms",
        "p99": "p99 ms",
        "cpu": "CPU p50 ms",
        "p50_first": "first p50 ms",
        "cosine": "lowest cosine",
    }
    for column in ("", *columns.values()):
        table.add_column(column, justify="right" if column else "left")
    for name, row in figures.items():
        table.add_row(
            name, *(f"{row[key]:{'.5f' if key == 'cosine' else '.3f'}}" if key in row else "" for key in columns)
        )
    Console(width=100).print(table)
    mine = figures["mmsearch int8"]
    theirs = [row for name, row in figures.items() if name.startswith("sentence")]
    line: dict[str, Any] = {"name": "query_tower_int8", "value": round(mine["p50"], 3), "unit": "ms"}
    line |= {key: round(mine[key], 3) for key in ("p99", "cpu", "p50_first")} | {"target": TARGET_MS}
    keys = ("p50", "p99", "cpu", "p50_first") if theirs else ()
    line |= {f"best_peer_{key}": round(min(row[key] for row in theirs), 3) for key in keys}
    first = all(mine["p50"] <= row["p50"] for row in theirs)
    print(json.dumps(line | {"met": mine["p50"] < TARGET_MS and first}))


def main() -> None:
    """Make the models, measure, show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--depth", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="mmsearch-query-tower-") as scratch:
        folder = Path(scratch)
        write_bert(folder / "bert", given.width, given.depth)
        head = export(folder / "bert", folder, given.width, given.depth)
        encoders = opened(folder / "bert", head, folder)
        with torch.inference_mode():
            figures = measure(encoders, given.rounds)
        figures["mmsearch, cached query"] = cached(folder / "int8", given.rounds)
    show(figures)


if __name__ == "__main__":
    main()
