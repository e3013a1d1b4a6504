r"""What searchers get while a new model's vectors replace an older one's, with and without compatible training.

    python -m training compare configs/train/compatible.yaml --vary stages.0.task.compatible.weight=0,1 --seeds 6 \
        --metric old_pnr/student/content
    python tests/benchmark/upgrade.py [--runs DIR] [--index DIR] [--corpus DIR] [--judgments FILE]

For each of these runs the older generation is copied, and an overlay of the new model put on it with half of the videos
(by a hash of their ids), as `serving refresh publish_every=N` does half-way; then the whole. PNR of the `content`
feature on the judgments: of the older model alone; half-way with each video scored by its own model's query tower
(`match`) and, where it was trained for that, by the new one alone (`newest`); and of the new model alone. Means over
seeds are geometric, quotients paired by seed, with intervals of Student's t. The last line is one JSON object. Without
the runs there is nothing to measure, and it says so.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xxhash

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.tables import read_judgments
from mmsearch.errors import FingerprintError
from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.metrics import Scored, count_pairs
from mmsearch.metrics.pnr import pnr
from mmsearch.models import export_query_tower, load_document_encoder
from mmsearch.protocols import Embedded
from mmsearch.scoring import FeatureScorer
from mmsearch.scoring.versions import OnMixed
from mmsearch.types import Judgment
from training.comparison.results import Outcome
from training.comparison.summary import summarise
from training.comparison.tables import differing, estimated, summary_json

DEMO = Path("runs/demo")
SPACE, BATCH = "content", 64


def measure(index_dir: Path, judgments: Sequence[Judgment], on_mixed: OnMixed) -> float:
    """Give the PNR of a feature; a video without it ranks last."""
    scorer = FeatureScorer.open(index_dir, on_mixed=on_mixed)
    by_query: dict[str, list[Judgment]] = {}
    for row in judgments:
        by_query.setdefault(row.query, []).append(row)
    rows = [row for some in by_query.values() for row in some]
    scores = []
    for query, some in by_query.items():
        values, missing = scorer.score(query, [row.doc_id for row in some]).column(SPACE)
        scores.append(np.where(missing, np.nan, values).astype(np.float64))
    columns = [row.query for row in rows], [row.doc_id for row in rows], np.array([row.grade for row in rows])
    return pnr(count_pairs(Scored.from_columns(*columns, np.concatenate(scores))))


def publish(index_dir: Path, run: Path, corpus: PreparedCorpus, chosen: Sequence[int], base: str | None) -> None:
    """Embed rows of a corpus with a run's model and publish them, over the generation `base` if one is given."""
    encoder = load_document_encoder(run, "cpu")
    with tempfile.TemporaryDirectory() as scratch, GenerationWriter(index_dir, encoder.spaces, base=base) as writer:
        export_query_tower(run, Path(scratch) / "tower")
        for start in range(0, len(chosen), BATCH):
            rows = chosen[start : start + BATCH]
            embedded: dict[str, Embedded] = encoder.encode(corpus.read(rows))
            writer.add([corpus.doc_ids[row] for row in rows], embedded)
        writer.publish(query_tower=Path(scratch) / "tower", source={})


def outcome(run: Path, index: Path, corpus: PreparedCorpus, judgments: Sequence[Judgment]) -> Outcome:
    """Give every figure of a run."""
    half = [row for row, doc_id in enumerate(corpus.doc_ids) if xxhash.xxh3_64_intdigest(doc_id.encode()) % 2]
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "index"
        shutil.copytree(index, copy)
        found = {"older model": measure(copy, judgments, "match")}
        publish(copy, run, corpus, half, ForwardIndex.open(copy).generation)
        found["half-way, match"] = measure(copy, judgments, "match")
        try:
            found["half-way, newest"] = measure(copy, judgments, "newest")
        except FingerprintError:
            found["half-way, newest"] = float("nan")
        publish(copy, run, corpus, range(corpus.num_videos), None)
        found["new model"] = measure(copy, judgments, "match")
    return Outcome(found, frozenset(found), None, None)


def main() -> None:
    """Measure all runs of a comparison, and print a table of them."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--runs", type=Path, default=DEMO / "compatible-comparison")
    options.add_argument("--index", type=Path, default=DEMO / "index")
    options.add_argument("--corpus", type=Path, default=DEMO / "corpus")
    options.add_argument("--judgments", type=Path, default=DEMO / "world" / "judgments_test.jsonl")
    given = options.parse_args()
    variants = sorted(given.runs.glob("*compatible.weight=*"))
    if not variants:
        print(f"{given.runs}: no runs to measure; `python -m training compare` makes them (see this file's head)")
        print(json.dumps({"skipped": str(given.runs)}))
        return
    corpus = PreparedCorpus.open(given.corpus)
    judgments = [row for row in read_judgments(given.judgments) if row.aspect == "overall"]
    outcomes: dict[str, dict[int, Outcome]] = {}
    for folder in variants:
        name = f"weight={folder.name.rpartition('=')[2]}"
        for run in sorted(path.parent for path in folder.glob("seed-*/fingerprints.json")):
            seed = int(run.name.rpartition("-")[2])
            outcomes.setdefault(name, {})[seed] = outcome(run, given.index, corpus, judgments)
            print(name, seed, {k: round(v, 3) for k, v in outcomes[name][seed].values.items()}, flush=True)
    report = {}
    figures = next(iter(next(iter(outcomes.values())).values())).values
    for figure in figures:
        summary = summarise(outcomes, figure)
        report[figure] = summary_json(summary)
        for label, estimate in summary.estimates.items():
            print(f"{figure:18} {label:10}", *estimated(estimate), *differing(summary, label), sep="  ")
    print(json.dumps(report))


if __name__ == "__main__":
    main()
