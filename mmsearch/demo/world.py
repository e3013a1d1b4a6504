"""The demo world: a few hundred short videos with covers, words, a click log and judgments, made on the spot.

Everything follows from the settings: equal settings and versions give equal bytes, however often a run was killed
and started again. `world.json` is written last.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import mmsearch
from mmsearch.demo.chance import stream
from mmsearch.demo.cover import draw_cover, jpeg
from mmsearch.demo.film import encode, shoot
from mmsearch.demo.folder import claimed, is_whole
from mmsearch.demo.judges import judge
from mmsearch.demo.latent import Post, Split, make_posts
from mmsearch.demo.listing import Listing, film_chance, list_post
from mmsearch.demo.relevance import choose_intents
from mmsearch.demo.searcher import click_log
from mmsearch.demo.settings import WorldSettings
from mmsearch.demo.vocabulary import Meaning
from mmsearch.errors import DataError
from mmsearch.extras import require
from mmsearch.files import replacing, write_bytes
from mmsearch.logs import progress
from mmsearch.types import Interaction, Judgment, Modality, Video
from mmsearch.workers import Pool

#: Rises when equal settings give another world.
WORLD_VERSION = 1

Row = Video | Interaction | Judgment


@dataclass(frozen=True, slots=True)
class World:
    """All of a world but its pictures.

    Args:
        listings: its videos, by date.
        tables: the rows of each JSONL file by its name.
        card: what `world.json` says: versions, settings, ids of each split, and counts.
    """

    listings: Sequence[Listing]
    tables: dict[str, Sequence[Row]]
    card: dict[str, Any]


def plan_world(settings: WorldSettings) -> World:
    """Give the world that follows from the settings. It is in memory: a few kB a video."""
    listings = [list_post(settings, post) for post in make_posts(settings)]
    parts = {split: [entry.post for entry in listings if entry.post.split is split] for split in Split}
    intents = _intents(settings, parts)
    seconds = {entry.video.doc_id: entry.video.duration_s or 0.0 for entry in listings}
    judged = {Split.TRAIN: intents[Split.TRAIN][: settings.judged_train]}
    tables: dict[str, Sequence[Row]] = {
        "videos.jsonl": [entry.video for entry in listings],
        "interactions.jsonl": list(click_log(settings, parts[Split.TRAIN], intents[Split.TRAIN], seconds)),
    }
    for split, posts in parts.items():
        graded = judge(settings, posts, judged.get(split, intents[split]), split)
        tables[f"judgments_{split}.jsonl"] = list(graded)
    return World(listings, tables, _card(settings, parts, tables))


def write_world(settings: WorldSettings, out: Path, *, workers: int | None = None) -> dict[str, Any]:
    """Write a world into a folder, or finish one that a killed run left there.

    Args:
        settings: what the world is made of.
        out: the folder: new, empty, or holding the same world.
        workers: number of processes that draw; None = one for each CPU of this process.

    Returns:
        What `world.json` says.

    Raises:
        DataError: the folder holds something else, another process writes in it, or the disk is full.
        MissingExtraError: PyAV is not installed.
    """
    require("av", extra="video")
    world = plan_world(settings)
    with claimed(out, world.card):
        _draw_all(settings, out, world.listings, workers)
        for name, rows in world.tables.items():
            write_bytes(out / name, b"".join(_line(row) for row in rows))
    return world.card


def draw(settings: WorldSettings, out: Path, entry: Listing) -> None:
    """Write the cover and the film of a video, unless they are there and whole."""
    post, video = entry.post, entry.video
    if video.cover is not None and not is_whole(out / video.cover):
        chance = stream(settings.seed, "cover", post.doc_id)
        write_bytes(out / video.cover, jpeg(draw_cover(post.shows[Modality.COVER], entry.slogan, chance)))
    if video.video is not None and not is_whole(out / video.video):
        rate = settings.frames_per_second
        frames = shoot(post.truth, entry.captions, rate, film_chance(settings, post))
        with replacing(out / video.video) as beside:
            encode(frames, rate, beside)


def _intents(settings: WorldSettings, parts: dict[Split, list[Post]]) -> dict[Split, list[Meaning]]:
    """Choose what is asked for in each split; test chooses first, and nothing is asked for in two splits."""
    wanted = {Split.TEST: settings.judged_test, Split.VAL: settings.judged_val, Split.TRAIN: settings.train_intents}
    chosen: dict[Split, list[Meaning]] = {}
    for split, count in wanted.items():
        taken = [meaning for others in chosen.values() for meaning in others]
        chosen[split] = choose_intents(parts[split], count, taken, stream(settings.seed, "intents", split))
    return chosen


def _card(settings: WorldSettings, parts: dict[Split, list[Post]], tables: dict[str, Sequence[Row]]) -> dict[str, Any]:
    clicks = [row for row in tables["interactions.jsonl"] if isinstance(row, Interaction) and row.clicked]
    return {
        "world_version": WORLD_VERSION,
        "mmsearch_version": mmsearch.__version__,
        "simulated": "every video, click and grade here was made by a program",
        "settings": settings.model_dump(mode="json"),
        "splits": {split.value: [post.doc_id for post in posts] for split, posts in parts.items()},
        "counts": {name.removesuffix(".jsonl"): len(rows) for name, rows in tables.items()} | {"clicks": len(clicks)},
    }


def _drawn(entry: Listing, out: Path) -> bool:
    return all(is_whole(out / path) for path in (entry.video.cover, entry.video.video) if path is not None)


def _draw_all(settings: WorldSettings, out: Path, listings: Sequence[Listing], workers: int | None) -> None:
    todo = [entry for entry in listings if not _drawn(entry, out)]
    with (
        progress("draw the demo world", len(todo), unit="videos") as bar,
        Pool(partial(draw, settings, out), num_workers=workers or len(os.sched_getaffinity(0))) as pool,
    ):
        for outcome in pool.imap(todo, ordered=False):
            if outcome.failure is not None:
                raise DataError(
                    f"{out}: {todo[outcome.index].video.doc_id} cannot be drawn: {outcome.detail}; "
                    "the same command goes on from here"
                )
            bar.advance()


def _line(row: Row) -> bytes:
    """Give a row as a line of JSON, without the columns that it lacks."""
    columns = {name: _plain(value) for name, value in asdict(row).items() if value is not None}
    return json.dumps(columns, ensure_ascii=False).encode() + b"\n"


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value
