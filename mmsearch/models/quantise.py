"""An int8 form of an exported query tower: a fraction of the time of a query, for a small loss of precision."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from mmsearch.errors import DataError
from mmsearch.extras import require
from mmsearch.files import write_json
from mmsearch.index.query_tower import FORMAT_VERSION, QUERY_TOWER_FILE, read_query_tower

MODEL, WEIGHTS = "model.onnx", "model.weights"
_LARGE_BYTES = 1 << 16


def quantise_query_tower(folder: Path | str, out: Path | str) -> None:
    """Write the int8 form of a query tower folder into another one; `query_tower.json` says so (`precision`).

    Weights of matrix products become bytes with a scale for each output component; their inputs are quantised while
    they run, by their own largest and smallest number (ONNX Runtime's dynamic quantisation), so that no data are needed
    to calibrate. All else stays single floats. The spaces and fingerprints are the
    same: vectors of both forms are compared with the same documents.

    Args:
        folder: a query tower in single floats.
        out: a folder, made when it does not exist.

    Raises:
        DataError: the tower is int8 already, or is not there.
        CorruptIndexError: `query_tower.json` cannot be read.
        MissingExtraError: `onnx` is absent.
    """
    folder, out = Path(folder), Path(out)
    told = read_query_tower(folder)
    if told.precision != "fp32":
        raise DataError(f"{folder}: the query tower is {told.precision} already; quantise the one in fp32")
    out.mkdir(parents=True, exist_ok=True)
    (out / QUERY_TOWER_FILE).unlink(missing_ok=True)  # what is half written is no query tower
    quantise_model(folder / MODEL, out)
    shutil.copytree(folder / "tokenizer", out / "tokenizer", dirs_exist_ok=True)
    write_json(
        out / QUERY_TOWER_FILE,
        told.model_copy(update={"format_version": FORMAT_VERSION, "precision": "int8"}).model_dump(),
    )


def quantise_model(path: Path, folder: Path) -> None:
    """Write the int8 form of an ONNX file into a folder, as `write_model` does."""
    onnx = require("onnx", extra="train")
    quantization = require("onnxruntime.quantization", extra="train")
    model = onnx.load(path)
    model.graph.ClearField("value_info")  # with the exporter's shapes onnx's own inference fails
    require("onnxruntime.quantization.onnx_model", extra="train").ONNXModel(model).replace_gemm_with_matmul()
    # or it advises to optimise the model first, which the exporter has done
    require("onnxruntime.quantization.quant_utils", extra="train").add_pre_process_metadata(model)
    with TemporaryDirectory() as scratch:
        quantised = Path(scratch) / MODEL
        quantization.quantize_dynamic(
            model,
            quantised,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            weight_type=quantization.QuantType.QInt8,
        )
        write_model(quantised, folder)


def write_model(path: Path, folder: Path) -> None:
    """Write an ONNX file into a folder as two: `model.onnx`, and its large arrays in `model.weights`.

    ONNX Runtime maps the second into memory, so that the processes that serve a model share one copy of it. What was
    in the folder must not be read meanwhile.
    """
    onnx = require("onnx", extra="train")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS).unlink(missing_ok=True)  # or onnx would add to it
    model = onnx.load(path)
    onnx.save_model(model, folder / MODEL, save_as_external_data=True, location=WEIGHTS, size_threshold=_LARGE_BYTES)
