"""Preparing a corpus: every picture and video is decoded once, resized and stored; training and refresh read that."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path

from mmsearch.data.formats import check_readable
from mmsearch.data.manifest import SHARDS, Manifest
from mmsearch.data.prepare_losses import check_losses
from mmsearch.data.prepare_plan import ShardPlan, ShardResult, plan_shards, remove_strays, stored_result
from mmsearch.data.prepare_rows import EarlierRows
from mmsearch.data.prepare_sentences import choose_key_sentences, remove_stray_sentences
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.data.prepare_video import Preparation, Rejection, VideoPreparer
from mmsearch.data.readers import unless_read
from mmsearch.data.shard_builder import ShardBuilder
from mmsearch.data.tables import read_videos
from mmsearch.errors import DataError
from mmsearch.files import hash_file, sole_writer, write_bytes
from mmsearch.logs import ProgressBar, progress
from mmsearch.recognition.kept import RECOGNISED, Kept
from mmsearch.types import Video
from mmsearch.workers import Outcome, Pool

REJECTED = "rejected.jsonl"
REJECTED_ROWS = "rejected_rows.jsonl"
_NOT_COUNTED = ("num_reused", "key_sentences", "fallbacks", "num_unanswered", "num_failed")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run came to.

    Args:
        num_rows: good rows of the table.
        num_videos: videos in the corpus.
        num_reused: rows whose stored result of an earlier run was kept.
        num_bad_rows: rows of the table that were put aside.
        rejected: number of rejections by reason.
        num_failed: number of those that another try may spare (`retry_failed`).
        modalities: number of videos that have each modality.
        key_sentences: number of videos by what chose their key sentences.
        fallbacks: number of those that got greedy sentences instead of what was asked for, by why.
        num_unanswered: of these, those for which the model did not answer or refused: the next run asks again.
    """

    num_rows: int
    num_videos: int
    num_reused: int
    num_bad_rows: int
    rejected: dict[str, int] = field(default_factory=dict)
    modalities: dict[str, int] = field(default_factory=dict)
    key_sentences: dict[str, int] = field(default_factory=dict)
    fallbacks: dict[str, int] = field(default_factory=dict)
    num_unanswered: int = 0
    num_failed: int = 0


def prepare(table: Path, out: Path, settings: PrepareSettings) -> Summary:
    """Prepare the videos of a table.

    `out` then holds `corpus.json`, `shards/` and `rejected.jsonl` (one line a rejection: doc_id, modality, reason,
    detail; in the order of the table). A row is kept when its cells, its files (by size and time of change) and the
    settings are what they were, wherever it now stands in the table; a shard of such rows is kept as it is. So a killed
    run goes on where it was, and comes to the same bytes. The corpus that was there before stays readable until the new
    one is complete, and for whoever reads it then (`PreparedCorpus`) as long as he does. What is recognised in pictures
    and sound is kept in `recognised.sqlite` as it is found (see `mmsearch.recognition.kept`), also for shards that are
    not done.

    Raises:
        TableError: a row of the table is bad (`on_error: stop`).
        DataError: the table has no good row, or many files that were there before are gone (`max_lost_share`); what was
            prepared before stays. Or another run writes to `out`.
    """
    check_readable(table)  # before anything is made
    state = _state(table)
    workers = settings.num_workers or os.cpu_count() or 1
    (out / SHARDS).mkdir(parents=True, exist_ok=True)
    rejected_rows = out / REJECTED_ROWS if settings.on_error == "quarantine" else None
    with ExitStack() as stack:
        stack.enter_context(sole_writer(out))
        pool: Pool[Video, Preparation] = stack.enter_context(
            Pool(
                VideoPreparer(settings, _kept(out, settings)),
                num_workers=workers,
                timeout_s=settings.max_wall_s,
                max_bytes=settings.max_memory_bytes,
            )
        )
        bar = stack.enter_context(progress("prepare", _count_rows(table), unit="videos"))
        videos = read_videos(table, on_error=settings.on_error, rejected=rejected_rows)
        earlier = stack.enter_context(closing(EarlierRows(out, retry_failed=settings.retry_failed)))
        job = _Job(out, settings, bar, earlier)
        job.run(pool, videos)
        if _state(table) != state:
            _log.warning("%s was changed while it was read; prepare it again", table)
        if not job.num_rows:
            raise DataError(f"{table}: has no row that can be prepared; {out} is left as it was")
        return job.publish(table, _count_lines(rejected_rows) if rejected_rows else 0)


def _kept(out: Path, settings: PrepareSettings) -> Kept | None:
    """Give what keeps texts and speech that were recognised, where any are to be."""
    if not settings.ocr.is_on and settings.speech is None:
        return None
    kept = Kept(out / RECOGNISED)
    try:
        kept.check()
    except DataError as error:  # a file system without locks, for instance: the corpus can be made all the same
        _log.warning("%s; this run goes on without", error)
        return None
    return kept


class _Job:
    """One run: plans shards as the table is read, fills them as outcomes come, and publishes the manifest."""

    def __init__(self, out: Path, settings: PrepareSettings, bar: ProgressBar, earlier: EarlierRows) -> None:
        self._out, self._settings, self._bar, self._earlier = out, settings, bar, earlier
        self._under_way: deque[tuple[ShardPlan, Sequence[int | None]]] = deque()
        self._results: dict[int, ShardResult] = {}
        self._stems: set[str] = set()
        self._reused = 0

    @property
    def num_rows(self) -> int:
        """Number of rows done."""
        return sum(result.num_rows for result in self._results.values())

    def run(self, pool: Pool[Video, Preparation], videos: Iterable[Video]) -> None:
        outcomes = pool.imap(self._unprepared(videos))
        for first in outcomes:
            self._build(*self._under_way[0], chain([first], outcomes))
            self._under_way.popleft()

    def _build(self, plan: ShardPlan, places: Sequence[int | None], outcomes: Iterator[Outcome[Preparation]]) -> None:
        """Fill a shard with what earlier runs prepared of it, and with outcomes for the other rows."""
        with ShardBuilder(self._out, plan, self._settings.row_group_size) as builder:
            for video, place in zip(plan.rows, places, strict=True):
                if place is None:
                    builder.add(next(outcomes))
                    self._bar.advance()
                else:
                    builder.add_prepared(self._earlier.read(place, video.doc_id))
                    self._reused += 1
                    self._bar.skip(1)
        result = self._results[plan.number] = builder.result()
        result.write(self._out, plan.stem)

    def _unprepared(self, videos: Iterable[Video]) -> Iterator[Video]:
        """Give the rows that no earlier run prepared; shards without any are kept, or built, on the way."""
        for plan in plan_shards(videos, self._settings):
            self._stems.add(plan.stem)
            stored = stored_result(self._out, plan)
            if stored is not None and not (self._settings.retry_failed and stored.has_failures):
                self._results[plan.number] = stored
                self._reused += len(plan.rows)
                self._bar.skip(len(plan.rows))
                continue
            if stored is not None and stored.shard is not None:  # the manifest that is there may name it
                plan = replace(plan, avoided=stored.shard.checksum)
            places = self._earlier.find(plan)
            if None not in places:
                self._build(plan, places, iter(()))
                continue
            self._under_way.append((plan, places))
            yield from (video for video, place in zip(plan.rows, places, strict=True) if place is None)

    def publish(self, table: Path, num_bad_rows: int) -> Summary:
        results = [self._results[number] for number in sorted(self._results)]
        rejections = [rejection for result in results for rejection in result.rejections]
        modalities = sum((Counter(result.modalities) for result in results), Counter[str]())
        shards = tuple(result.shard for result in results if result.shard is not None)
        summary = Summary(
            num_rows=self.num_rows,
            num_videos=sum(shard.rows for shard in shards),
            num_reused=self._reused,
            num_bad_rows=num_bad_rows,
            rejected=dict(sorted(Counter(rejection.reason for rejection in rejections).items())),
            modalities=dict(sorted(modalities.items())),
            num_failed=sum(rejection.is_failure for rejection in rejections),
        )
        counts = {key: value for key, value in asdict(summary).items() if key not in _NOT_COUNTED}
        check_losses(self._out, self._out / REJECTED, rejections, self._settings.max_lost_share)
        write_bytes(self._out / REJECTED, b"".join(_line(rejection) for rejection in rejections))
        source = {"path": str(table.resolve()), "bytes": table.stat().st_size, "checksum": hash_file(table)}
        manifest = Manifest(self._settings, shards, counts, source)
        if self._settings.sentences is not None:
            manifest = choose_key_sentences(self._out, manifest, self._settings.sentences)
            counted = manifest.counts
            summary = replace(
                summary,
                key_sentences=counted["key_sentences"],
                fallbacks=counted["fallbacks"],
                num_unanswered=counted["unanswered"],
            )
        manifest.write(self._out)
        self._tidy(manifest)
        return summary

    def _tidy(self, manifest: Manifest) -> None:
        """Remove what the corpus does not need, unless somebody still reads the one of before; the next run will."""
        with unless_read(self._out) as is_free:
            if not is_free:
                _log.info("%s is being read: files of the corpus of before stay until the next run", self._out)
                return
            remove_strays(self._out, self._stems, {shard.name for shard in manifest.shards})
            if manifest.sentences:
                remove_stray_sentences(self._out, manifest)


def _line(rejection: Rejection) -> bytes:
    return json.dumps(asdict(rejection), ensure_ascii=False).encode() + b"\n"


def _state(table: Path) -> tuple[int, int]:
    status = table.stat()
    return status.st_size, status.st_mtime_ns


def _count_rows(table: Path) -> int | None:
    """Give the number of rows for the progress bar, where it is cheap to know."""
    return _count_lines(table) if table.suffix in (".jsonl", ".ndjson") and table.is_file() else None


def _count_lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
