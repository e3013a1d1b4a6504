"""The student as a folder that serving reads without torch: ONNX, tokenizer, and which output is which space."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from mmsearch.extras import require
from mmsearch.files import read_json, write_json
from mmsearch.index.query_tower import FORMAT_VERSION, QUERY_TOWER_FILE, QueryTowerFile, TowerPrecision, TowerSpace
from mmsearch.models.checkpoint import load_model
from mmsearch.models.fingerprints import model_spaces
from mmsearch.models.quantise import MODEL, quantise_model, write_model
from mmsearch.models.query_tower import QueryTower

_OPSET = 20  # has Gelu as one operator; ONNX Runtime 1.18 reads it


class _Outputs(nn.Module):
    """The student with plain tensors at both ends, as an exporter wants it."""

    def __init__(self, tower: QueryTower, spaces: Sequence[str]) -> None:
        super().__init__()
        self.tower, self.spaces = tower, spaces

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.tower(input_ids, attention_mask.bool(), self.spaces).values())


def export_query_tower(
    run: Path | str,
    out: Path | str,
    *,
    single_modalities: bool = False,
    codes: bool = False,
    precision: TowerPrecision = "fp32",
) -> None:
    """Write the query tower folder of a model: `model.onnx` with its `model.weights`, `tokenizer/`, and
    `query_tower.json` last.

    Batch and length are free (up to the model's longest query). One pass gives all spaces; the single-modality
    spaces are asked with the query vector of `content`. `codes` says that documents are served with all their codes:
    the file then says how many there are; how a query selects among them, it says always. It also names the older
    vectors that the run was trained to find (`compatible_with` of the run's `fingerprints.json`). `precision` is that
    of the model's weights: `int8` as `quantise_query_tower` makes it.

    Raises:
        DataError: `run` is not a model folder.
    """
    require("onnx", extra="train")
    model, tokenizer = load_model(run)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    (out / QUERY_TOWER_FILE).unlink(missing_ok=True)  # what is half written is no query tower
    with TemporaryDirectory() as scratch:
        exported = Path(scratch) / MODEL
        _export(model.student, model.spaces, exported)
        write = write_model if precision == "fp32" else quantise_model
        write(exported, out)
    tokenizer.save(out / "tokenizer")
    poly, compatible = model.settings.poly, _compatible_with(Path(run))
    spaces = tuple(
        TowerSpace(
            name=space.name,
            dim=space.dim,
            fingerprint=space.fingerprint,
            output=space.name.split(".")[0],
            num_codes=space.num_codes,
            selection=poly.selection,
            sharpness=poly.sharpness,
            compatible_with=compatible.get(space.name, ()),
        )
        for space in model_spaces(model, tokenizer, single_modalities=single_modalities, codes=codes)
    )
    length = model.settings.lengths.query
    told = QueryTowerFile(format_version=FORMAT_VERSION, precision=precision, max_length=length, spaces=spaces)
    write_json(out / QUERY_TOWER_FILE, told.model_dump())


def _compatible_with(run: Path) -> dict[str, tuple[str, ...]]:
    """Give the fingerprints of older vectors by space; none for a folder that is no finished run."""
    path = run / "fingerprints.json"
    record = read_json(path) if path.is_file() else {}
    told = record.get("compatible_with") if isinstance(record, dict) else None
    return {str(space): (str(old),) for space, old in told.items()} if isinstance(told, dict) else {}


def _export(student: QueryTower, spaces: Sequence[str], path: Path) -> None:
    ids = torch.ones(2, 5, dtype=torch.int64)
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", min=1, max=student.text.max_length)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        torch.onnx.export(
            _Outputs(student, spaces).eval(),
            (ids, torch.ones_like(ids)),
            str(path),
            input_names=["input_ids", "attention_mask"],
            output_names=list(spaces),
            dynamic_shapes=({0: batch, 1: length}, {0: batch, 1: length}),
            opset_version=_OPSET,
            external_data=False,
            dynamo=True,
            verbose=False,
        )
