"""Run a document tower over batches: the next is read while one is computed, and what is too large is halved."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from mmsearch.protocols import DocumentEncoder, Embedded, PreparedVideo, SteppedEncoder
from mmsearch.types import Modality
from serving.work import Outputs

log = logging.getLogger(__name__)

#: Reads the videos at some places of an item.
ReadVideos = Callable[[Sequence[int]], list[PreparedVideo]]


@dataclass(frozen=True, slots=True)
class EmbeddedBatch:
    """What came of a batch: its videos' ids, their vectors in every space, and tower outputs by place in the batch."""

    doc_ids: tuple[str, ...]
    embedded: Mapping[str, Embedded]
    towers: Outputs


@dataclass(frozen=True, slots=True)
class _Batch:
    places: Sequence[int]
    videos: Sequence[PreparedVideo]
    inputs: Any


class BatchRunner:
    """Embeds videos batch by batch.

    Args:
        encoder: the tower. One that is a `SteppedEncoder` reads the next batch (JPEG, tokens) while it computes.
        read_videos: reads videos by their places; called from one thread, which is not the caller's.
        known: outputs of towers that are known already, by place.
        keep: whose tower outputs to give with the vectors.
    """

    def __init__(
        self, encoder: DocumentEncoder, read_videos: ReadVideos, known: Outputs, keep: Sequence[Modality]
    ) -> None:
        self._encoder, self._read_videos, self._known, self._keep = encoder, read_videos, known, keep

    def run(self, places: Sequence[int], batch_size: int) -> Iterator[EmbeddedBatch]:
        """Embed the videos at some places, in this order.

        A batch for which there is no memory is halved, and so are those after it; the batches are then others than
        planned, and vectors may differ in their last bits.

        Raises:
            MemoryError: there is no memory for one video.
        """
        size = batch_size
        with ThreadPoolExecutor(1, thread_name_prefix="read") as reader:
            cuts = _cut(places, batch_size)
            following = reader.submit(self._read, cuts[0]) if cuts else None
            for number in range(len(cuts)):
                assert following is not None  # noqa: S101 (for the type checker)
                waiting = [following.result()]
                following = reader.submit(self._read, cuts[number + 1]) if number + 1 < len(cuts) else None
                while waiting:
                    batch = waiting.pop(0)
                    if len(batch.places) > size:
                        waiting[:0] = self._split(batch, size)
                        continue
                    result = self._embed(batch)
                    if result is None:
                        size = (len(batch.places) + 1) // 2
                        log.warning("no memory for %d videos at once: going on with %d", len(batch.places), size)
                        waiting.insert(0, batch)
                    else:
                        yield result

    def _read(self, places: Sequence[int]) -> _Batch:
        return self._make(places, self._read_videos(places))

    def _make(self, places: Sequence[int], videos: Sequence[PreparedVideo]) -> _Batch:
        if not isinstance(self._encoder, SteppedEncoder):
            return _Batch(places, videos, None)
        known = {
            modality: {at: outputs[place] for at, place in enumerate(places) if place in outputs}
            for modality, outputs in self._known.items()
        }
        return _Batch(places, videos, self._encoder.read(videos, known))

    def _split(self, batch: _Batch, size: int) -> list[_Batch]:
        parts = zip(_cut(batch.places, size), _cut(batch.videos, size), strict=True)
        return [self._make(places, videos) for places, videos in parts]

    def _embed(self, batch: _Batch) -> EmbeddedBatch | None:
        """Embed a batch; None when there is no memory for it and a smaller one may do."""
        try:
            return self._compute(batch)
        except Exception as error:
            if not _ran_out_of_memory(error):
                raise
            problem = f"{type(error).__name__}: {error}"
        # out of the handler: the traceback would keep the tensors of the batch
        if "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
            sys.modules["torch"].cuda.empty_cache()
        if len(batch.places) == 1:
            raise MemoryError(problem)
        return None

    def _compute(self, batch: _Batch) -> EmbeddedBatch:
        doc_ids = tuple(video.doc_id for video in batch.videos)
        if not isinstance(self._encoder, SteppedEncoder):
            return EmbeddedBatch(doc_ids, self._encoder.encode(batch.videos), {})
        outputs = self._encoder.run_towers(batch.inputs)
        embedded = self._encoder.fuse(outputs)
        kept = self._encoder.kept(outputs) if self._keep else {}
        return EmbeddedBatch(doc_ids, embedded, {m: kept[m] for m in self._keep if m in kept})


def _cut(values: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [values[start : start + size] for start in range(0, len(values), size)]


def _ran_out_of_memory(error: Exception) -> bool:
    """Tell whether memory lacked: on the host (numpy, Python, torch's allocator) or on a device of torch."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and "DefaultCPUAllocator" in str(error)
