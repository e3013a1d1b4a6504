"""What storing vectors as half floats or as bytes costs: PNR, scores and room, beside single floats.

    python tests/benchmark/precision.py [--run runs/demo] [--index INDEX]

The vectors of an index in float32 are published again as float16 and int8 (a byte a component and a scale for each
vector), and each is evaluated on the same human grades. PNR beside float32, the largest change of a score, the share of
graded pairs that change their order, and bytes a video of one space of the given dimension. Without `--index` the run's
model embeds the run's corpus first, into a temporary folder (`make demo` makes such a run). The last line is one JSON
object; its value is the largest loss of PNR of int8 over all features.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from mmsearch.data.tables import read_judgments
from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.index.manifest import Dtype
from mmsearch.protocols import Embedded
from mmsearch.scoring import FeatureScorer

DTYPES: tuple[Dtype, ...] = ("float32", "float16", "int8")
#: What may be lost: a tenth of the width of the intervals that the demo's 80 queries give.
TARGET = 0.02


def embed(run: Path, index_dir: Path) -> None:
    """Embed a run's corpus with its model, in float32."""
    command = [
        sys.executable,
        "-m",
        "serving",
        "refresh",
        "--model",
        str(run / "model"),
        "--corpus",
        str(run / "corpus"),
    ]
    subprocess.run([*command, "--index", str(index_dir), "dtype=float32", "single_modalities=true"], check=True)


def publish_as(source: ForwardIndex, index_dir: Path, dtype: Dtype) -> None:
    """Publish the same vectors, stored in another way."""
    rows = np.flatnonzero(source.live())
    embedded = {space.name: Embedded(*source.vectors(space.name, rows)) for space in source.spaces}
    with GenerationWriter(index_dir, source.spaces, dtype=dtype) as writer:
        writer.add([source.doc_ids[row] for row in rows.tolist()], embedded)
        writer.publish(query_tower=source.query_tower, source={})


def pnr(index_dir: Path, judgments: Path) -> dict[str, float]:
    """Give the PNR of every feature, by the command that users run."""
    command = [sys.executable, "-m", "mmsearch", "evaluate", "--index", str(index_dir), "--judgments", str(judgments)]
    told = subprocess.run([*command, "--metrics", "pnr", "--json"], check=True, capture_output=True).stdout
    return {name: feature["pnr"]["value"] for name, feature in json.loads(told)["features"].items()}


def scores(index_dir: Path, grades: dict[str, dict[str, int]]) -> dict[str, npt.NDArray[np.float32]]:
    """Give the features of every graded video of each query, NaN where missing, [videos, features]."""
    scorer = FeatureScorer.open(index_dir, derived=False)
    found = {}
    for query, graded in grades.items():
        features = scorer.score(query, list(graded))
        found[query] = np.where(features.missing, np.nan, features.values)
    return found


def turned(before: npt.NDArray[np.float32], after: npt.NDArray[np.float32], graded: list[int]) -> tuple[int, int]:
    """Count pairs of different grades that have both scores, and those of them whose order changed."""
    pairs = np.array([(a, b) for a, b in combinations(range(len(graded)), 2) if graded[a] != graded[b]]).reshape(-1, 2)
    olds, news = (np.sign(x[pairs[:, 0]] - x[pairs[:, 1]]) for x in (before, after))
    there = ~np.isnan(olds)
    return int(there.sum()), int((there & (olds != news)).sum())


def measure(index_dir: Path, judgments: Path, folder: Path) -> dict[str, dict[str, object]]:
    """Give for each way of storing: PNR by feature, the largest change of a score, the share of pairs turned, room."""
    grades: dict[str, dict[str, int]] = defaultdict(dict)
    for row in read_judgments(judgments):
        grades[row.query][row.doc_id] = row.grade
    source = ForwardIndex.open(index_dir)
    if set(source.dtypes.values()) != {"float32"}:
        raise SystemExit(f"{index_dir}: is stored as {', '.join(sorted(set(source.dtypes.values())))}; give float32")
    figures: dict[str, dict[str, object]] = {}
    exact = scores(index_dir, grades)
    for dtype in DTYPES:
        publish_as(source, folder / dtype, dtype)
        found = scores(folder / dtype, grades)
        counts = [turned(exact[query], found[query], list(grades[query].values())) for query in grades]
        differences = [np.nanmax(np.abs(found[query] - exact[query])) for query in grades]
        stored = source.spaces[-1]
        (generation,) = (folder / dtype / "generations").iterdir()
        size = sum((generation / f"{what}.{stored.name}.npy").stat().st_size for what in _files(dtype))
        figures[dtype] = {
            "pnr": pnr(folder / dtype, judgments),
            "score": float(max(differences)),
            "turned": sum(count for _, count in counts) / max(sum(count for count, _ in counts), 1),
            "bytes": size / source.num_rows,
            "dim": stored.dim,
        }
    return figures


def _files(dtype: Dtype) -> tuple[str, ...]:
    return ("vectors", "present", "blocks", "scales") if dtype == "int8" else ("vectors", "present", "blocks")


def show(figures: dict[str, dict[str, object]]) -> None:
    """Print the tables, and the line for programs."""
    table = Table(title="PNR of each feature, by how vectors are stored")
    for column in ("feature", *DTYPES):
        table.add_column(column, justify="left" if column == "feature" else "right")
    by_dtype: dict[str, dict[str, float]] = {dtype: figures[dtype]["pnr"] for dtype in DTYPES}  # type: ignore[misc]
    for name, exact in by_dtype["float32"].items():
        changes = [f"{by_dtype[dtype][name] - exact:+.4f}" for dtype in DTYPES[1:]]
        table.add_row(name, f"{exact:.4f}", *changes)
    room = Table(title=f"the same of all of them ({figures['int8']['dim']} components)")
    for column in ("stored as", "bytes a video", "largest change of a score", "graded pairs turned"):
        room.add_column(column, justify="left" if column == "stored as" else "right")
    for dtype, row in figures.items():
        room.add_row(dtype, f"{row['bytes']:.1f}", f"{row['score']:.6f}", f"{row['turned']:.3%}")
    console = Console(width=100)
    console.print(table)
    console.print(room)
    losses = {d: max(e - by_dtype[d][n] for n, e in by_dtype["float32"].items()) for d in DTYPES[1:]}
    line = {
        "name": "pnr_loss_int8",
        "value": round(losses["int8"], 5),
        "unit": "PNR",
        "float16": round(losses["float16"], 5),
    }
    print(json.dumps(line | {"target": TARGET, "met": losses["int8"] < TARGET}))


def main() -> None:
    """Embed where need be, publish in three ways, evaluate, show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", type=Path, default=Path("runs/demo"))
    parser.add_argument("--index", type=Path)
    parser.add_argument("--judgments", type=Path)
    given = parser.parse_args()
    if given.index is None and not (given.run / "model" / "fingerprints.json").exists():
        print(f"{given.run}: no run here; `make demo` makes one, or give --index and --judgments")
        return
    judgments = given.judgments or given.run / "world" / "judgments_test.jsonl"
    with tempfile.TemporaryDirectory(prefix="mmsearch-precision-") as folder:
        index_dir = given.index or Path(folder) / "index"
        if given.index is None:
            embed(given.run, index_dir)
        show(measure(index_dir, judgments, Path(folder)))


if __name__ == "__main__":
    main()
