"""A small index: `content` knows the grades well, `content.title` a little, `cover` not at all; and its tables."""

import json

import numpy as np
import pytest
from mean_tower import write_mean_tower

from mmsearch.index import GenerationWriter
from mmsearch.metrics.scored import Scored
from mmsearch.protocols import Embedded
from mmsearch.ranking.table import FeatureTable
from mmsearch.types import Space

DIM, NUM_QUERIES, DOCS_PER_QUERY = 8, 44, 10
#: Space -> how much noise its vectors have; NaN = noise alone.
NOISE = {"cover": np.nan, "content": 0.3, "content.title": 1.5, "content.frames": np.nan}
QUERIES = [f"{chr(97 + i % 26)}{chr(97 + i // 26)}x{i}" for i in range(NUM_QUERIES)]


def write_tower(folder, fingerprints, *, selection="max"):
    """Write a query tower without torch: the L2-normalised mean of the embeddings of the tokens."""
    table = np.random.default_rng(5).standard_normal((300, DIM)).astype(np.float32)
    spaces = [Space(name, DIM, fingerprint) for name, fingerprint in fingerprints.items()]
    return write_mean_tower(folder, QUERIES, spaces, table, selection=selection)


def write_index(folder, fingerprints=None):
    """Write an index; `fingerprints` of spaces make another model's."""
    from mmsearch.scoring import OnnxQueryEncoder

    prints = {name: f"{name}1" for name in NOISE} | (fingerprints or {})
    tower = write_tower(folder.with_name(f"{folder.name}-tower"), prints)
    queries = OnnxQueryEncoder.open(tower).encode(QUERIES)["content"]
    rng, ids, vectors = np.random.default_rng(1), [], {name: [] for name in NOISE}
    for number, query in enumerate(queries):
        for doc in range(DOCS_PER_QUERY):
            ids.append(f"d{number:02d}{doc}")
            for name, noise in NOISE.items():
                other = rng.standard_normal(DIM)
                found = other if np.isnan(noise) else doc % 4 * query + noise * other
                vectors[name].append(found / np.linalg.norm(found))
    present = np.arange(len(ids)) % 11 != 3
    embedded = {name: Embedded(np.array(own, np.float32), present) for name, own in vectors.items()}
    spaces = [Space(name, DIM, prints[name]) for name in NOISE]
    with GenerationWriter(folder, spaces, dtype="float32") as writer:
        writer.add(ids, embedded)
        writer.publish(query_tower=tower, source={})
    return folder


def write_rows(path, rows):
    """Write JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A folder with `index`, `train.jsonl`, `val.jsonl`, `test.jsonl` and `bm25.jsonl`."""
    folder = tmp_path_factory.mktemp("ranking")
    write_index(folder / "index")
    rows = [
        {"query": query, "doc_id": f"d{number:02d}{doc}", "grade": doc % 4}
        for number, query in enumerate(QUERIES)
        for doc in range(DOCS_PER_QUERY)
    ]
    ends = {"train": (0, 22), "val": (22, 28), "test": (28, 44)}
    for name, (start, end) in ends.items():
        write_rows(folder / f"{name}.jsonl", rows[start * DOCS_PER_QUERY : end * DOCS_PER_QUERY])
    rng = np.random.default_rng(3)
    numbers = [{k: row[k] for k in ("query", "doc_id")} | {"bm25": row["grade"] + rng.normal()} for row in rows]
    write_rows(folder / "bm25.jsonl", numbers)
    return folder


@pytest.fixture(scope="session")
def other_index(world):
    """The same videos by another model."""
    return write_index(world / "other", {"content": "content2"})


def make_table(seed, num_queries=20, docs=8, levels=4):
    """Features of which the first knows the grade, the second half of it, the third nothing; some are missing."""
    rng = np.random.default_rng(seed)
    grades = rng.integers(levels, size=num_queries * docs)
    queries = np.repeat([f"q{i}" for i in range(num_queries)], docs).tolist()
    ids = [f"d{i}" for i in range(len(grades))]
    noise = rng.standard_normal((len(grades), 3))
    values = np.outer(grades, [1.0, 0.4, 0.0]) + noise
    values[rng.random(values.shape) < 0.1] = np.nan
    rows = Scored.from_columns(queries, ids, grades, np.full(len(grades), np.nan))
    return FeatureTable(rows, ("good", "fair", "none"), values, {})


@pytest.fixture(scope="session")
def tables():
    """Make tables of features: `tables(seed, num_queries=…)`."""
    return make_table


@pytest.fixture(scope="session")
def rows_file():
    """Write JSON Lines: `rows_file(path, rows)`."""
    return write_rows
