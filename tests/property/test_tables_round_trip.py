"""Whatever is written into a table comes back the same from every format, in bounded memory."""

import csv
import json
import tempfile
import tracemalloc
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsearch.data.tables import read_interactions, read_videos
from mmsearch.types import Interaction, Video

NAMES = [field.name for field in fields(Interaction)]
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)
NAME = TEXT.filter(str.strip)
ROWS = st.lists(
    st.builds(
        Interaction,
        query=NAME,
        doc_id=NAME,
        shown_at=st.none()
        | st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(lambda t: t.replace(tzinfo=UTC)),
        position=st.none() | st.integers(1, 2**40),
        clicked=st.booleans(),
        watch_s=st.none() | st.floats(0, 1e9),
        session_id=st.none() | NAME,
    ),
    min_size=1,
    max_size=8,
)


def cells(row: Interaction, *, written: bool) -> dict[str, object]:
    found = {name: getattr(row, name) for name in NAMES}
    if written and row.shown_at is not None:
        found["shown_at"] = row.shown_at.isoformat()
    return found


def write(folder: Path, rows: list[Interaction]) -> list[Path]:
    with (folder / "t.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, NAMES)
        writer.writeheader()
        writer.writerows(cells(row, written=True) for row in rows)
    lines = (json.dumps(cells(row, written=True), ensure_ascii=False) + "\n" for row in rows)
    (folder / "t.jsonl").write_bytes("".join(lines).encode())
    pq.write_table(pa.Table.from_pylist([cells(row, written=False) for row in rows]), folder / "t.parquet")
    return [folder / f"t{suffix}" for suffix in (".csv", ".jsonl", ".parquet")]


@settings(max_examples=60, deadline=None)
@given(ROWS)
def test_interactions_come_back_from_every_format(rows: list[Interaction]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for path in write(Path(folder), rows):
            assert list(read_interactions(path)) == rows


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from([f.name for f in fields(Video)]), st.none() | st.text() | st.integers() | st.floats()
    )
)
def test_any_json_row_is_a_video_or_is_rejected_with_its_line(row: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table, rejected = Path(folder, "t.jsonl"), Path(folder, "rejected.jsonl")
        table.write_text(json.dumps(row) + "\n")
        videos = list(read_videos(table, on_error="quarantine", rejected=rejected))
        kept = [json.loads(line) for line in rejected.read_bytes().split(b"\n") if line]
        assert len(videos) + len(kept) == 1
        assert all(one["where"] == f"{table}:1" and one["column"] in NAMES_OF_VIDEO for one in kept)


NAMES_OF_VIDEO = {field.name for field in fields(Video)}


def test_memory_does_not_grow_with_the_table(tmp_path: Path) -> None:
    paths = write(tmp_path, [Interaction(f"query {i}", f"doc {i}" + "x" * 400) for i in range(8_000)])
    for path in paths:
        assert path.stat().st_size > 3 * 2**20 or path.suffix == ".parquet"
        tracemalloc.start()
        count = sum(1 for _ in read_interactions(path))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == 8_000
        assert peak < 3 * 2**19, path
