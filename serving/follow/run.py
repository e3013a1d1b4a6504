"""Put a follower together, and let it run until it is told to stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TypeVar

from mmsearch.errors import ConfigError
from mmsearch.files import sole_writer
from mmsearch.index import ForwardIndex
from mmsearch.logs import progress
from mmsearch.protocols import DocumentEncoder
from serving.follow.bookmark import folder_of
from serving.follow.change import ChangeReader
from serving.follow.follower import Follower
from serving.follow.ledger import Ledger
from serving.follow.pipeline import Pipeline
from serving.follow.recipe import Recipe
from serving.follow.rejects import Rejects
from serving.follow.settings import FollowSettings
from serving.follow.status import Status
from serving.follow.stream import open_stream

T = TypeVar("T")


def follow(settings: FollowSettings) -> str:
    """Follow a stream until SIGTERM or SIGINT; give the name of the generation that is served then.

    Raises:
        ConfigError: something is not given, settings do not fit, or nobody tells how to prepare.
        DataError: nothing was published yet, the stream is not there, or another follower is at work.
        FingerprintError: the index was made by another model.
    """
    from mmsearch.models import load_document_encoder

    model, index = _given("model", settings.model), _given("index", settings.index)
    source = _given("source", settings.source)
    served = ForwardIndex.open(index)
    spaces = served.versions[0].spaces
    recipe = Recipe.of(served, settings)
    encoder = load_document_encoder(
        model,
        settings.device,
        single_modalities=any(space.name.startswith("content.") for space in spaces),
        codes=any(space.num_codes > 1 for space in spaces),
    )
    encoder.settings.check_prepared(recipe.settings, recipe.where)
    return follow_with(encoder, index, source, recipe, settings)


def _given(name: str, value: T | None) -> T:
    if value is None:
        raise ConfigError(f"no {name} is given: add --{name}, or '{name}: …' to the settings file")
    return value


def follow_with(
    encoder: DocumentEncoder,
    index: Path,
    source: str,
    recipe: Recipe,
    settings: FollowSettings,
    stop: threading.Event | None = None,
) -> str:
    """Follow with a document tower that is loaded already; otherwise as `follow`.

    Args:
        encoder: the document tower.
        index: the index.
        source: the stream.
        recipe: how rows are prepared.
        settings: delays and bounds.
        stop: ends it when it is set; None = SIGTERM and SIGINT do.
    """
    with ExitStack() as stack:
        stop = stop or stack.enter_context(_told_by_signals())
        stream = stack.enter_context(closing(open_stream(source, settings)))
        folder = folder_of(index, stream.name)
        stack.enter_context(sole_writer(folder))
        rejects = stack.enter_context(Rejects(folder / "rejected.jsonl"))
        sentences = recipe.extractor(folder)
        if sentences is not None:
            stack.enter_context(sentences)
        ledger = Ledger()
        pipeline = stack.enter_context(
            Pipeline(
                recipe.settings,
                encoder,
                sentences,
                ledger.counts,
                num_workers=settings.num_workers,
                batch_size=settings.batch_size,
            )
        )
        reader = ChangeReader(settings.media_root or (Path(source) if os.path.isdir(source) else Path.cwd()))
        status = Status(
            settings.status_every_s, stack.enter_context(progress("follow", None, unit="videos", logged=False))
        )
        follower = Follower(index, folder, encoder.spaces, stream, reader, pipeline, ledger, rejects, settings, status)
        follower.run(stop)
        return follower.generation


@contextmanager
def _told_by_signals() -> Iterator[threading.Event]:
    """Give an event that SIGTERM and SIGINT set while the block runs."""
    stop = threading.Event()
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
