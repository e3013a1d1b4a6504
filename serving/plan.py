"""What a refresh has to do, told before it is done: which videos are embedded, copied, dropped, left out."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import DataError, FormatVersionError, IntegrityError
from mmsearch.files import hash_bytes
from mmsearch.index import ForwardIndex, list_generations
from mmsearch.index.ids import hash_ids
from mmsearch.index.layout import read_current
from mmsearch.index.query_tower import TowerPrecision, read_query_tower
from mmsearch.index.sweep import names_of
from mmsearch.protocols import Bool, DocumentEncoder, SteppedEncoder
from mmsearch.types import Modality
from serving.as_served import SettledSettings, settle
from serving.compare import Comparison, Counts, Int64, UInt64
from serving.damage import find_damaged
from serving.difference import missing_from, why_anew
from serving.items import ItemCutter, PlannedItem, Videos
from serving.quarantine import QuarantinedRow, read_quarantine
from serving.rejections import rejected_ids
from serving.settings import RefreshSettings

log = logging.getLogger(__name__)

#: In place of the row of the index from which a video's vectors are copied.
EMBED, LEAVE_OUT = -1, -2


@dataclass(frozen=True)
class RefreshPlan:
    """What a refresh has to do.

    Args:
        served: the generation that is served, held open; None = there is none.
        counts: what the corpus has in comparison with it.
        anew: why every video is embedded, whatever is served; None = only new and changed ones are.
        sources: of every video of the corpus the row of `served` from which its vectors are copied, `EMBED`, or
            `LEAVE_OUT`, [N].
        items: the work, in the order of the corpus.
        left_out: videos that failed before with the same content and model, and are not tried again.
        num_replaced: videos that are embedded and that are served already, with other vectors.
        num_dropped: videos that are left out and that are served already, with vectors of what they were.
        same_corpus: the served generation was made of this very corpus.
        new_tower: another precision of the query tower is asked for than the served generation has.
        lost: spaces, which are features, that are served and will not be.
        gained: those that will be served and are not; of a first generation none.
    """

    served: ForwardIndex | None
    counts: Counts
    anew: str | None
    sources: Int64
    items: tuple[PlannedItem, ...]
    left_out: tuple[QuarantinedRow, ...] = ()
    num_replaced: int = 0
    num_dropped: int = 0
    same_corpus: bool = False
    new_tower: bool = False
    lost: tuple[str, ...] = ()
    gained: tuple[str, ...] = ()

    @property
    def num_embedded(self) -> int:
        """Videos that are embedded."""
        return sum(len(item.videos) for item in self.items)

    @property
    def num_copied(self) -> int:
        """Videos whose vectors are copied from what is served, bit by bit."""
        return int((self.sources >= 0).sum())

    @property
    def is_noop(self) -> bool:
        """Whether what is served is what a refresh would publish."""
        return self.anew is None and not (self.items or self.counts.deleted or self.num_dropped or self.new_tower)


def make_plan(
    corpus: PreparedCorpus, encoder: DocumentEncoder, index_dir: Path, settings: RefreshSettings
) -> RefreshPlan:
    """Compare a corpus and a model with what is served. Reads ids and hashes, no text or picture.

    Vectors that are served and stay are read once, and compared with their checksums, whether or not anything changed:
    a refresh that has nothing to do may say so.

    The same corpus, model, settings and served generation give the same plan, so that a refresh that was killed finds
    what it did before. A served generation that cannot be read counts as none; vectors in damaged blocks are embedded
    anew.

    Raises:
        IntegrityError: a checksum of the corpus does not hold.
        FormatVersionError: a newer mmsearch wrote the index.
    """
    served = open_served(index_dir)
    settled = settle(settings, served)
    anew = "nothing is served yet" if served is None else why_anew(served, encoder.spaces, settled)
    damaged: Bool | None = None
    if served is not None and anew is None and _is_made_of(served, corpus):
        damaged = find_damaged(index_dir, served, np.ones(served.num_rows, np.bool_))
        if damaged is None and not _changes_tower(served, settings):
            rows = np.arange(0, dtype=np.int64)  # nothing is copied: the plan is a no-op
            return RefreshPlan(served, Counts(unchanged=corpus.num_videos), None, rows, (), same_corpus=True)
    if served is not None and not served.has_contents:
        anew = anew or "what is served holds no content hashes"
    planner = _Planner(served, anew, encoder, index_dir, settled)
    plan = planner.run(corpus, damaged)
    if served is None or damaged is not None:
        return plan
    copied = np.zeros(served.num_rows, np.bool_)
    copied[plan.sources[plan.sources >= 0]] = True
    damaged = find_damaged(index_dir, served, copied)
    return plan if damaged is None else planner.run(corpus, damaged)


def precision_of(served: ForwardIndex | None) -> TowerPrecision:
    """Give the precision of the query tower of a served generation; `fp32` where there is none to be read."""
    try:
        return "fp32" if served is None else read_query_tower(served.query_tower).precision
    except (DataError, IntegrityError):
        return "fp32"


def _changes_tower(served: ForwardIndex | None, settings: RefreshSettings) -> bool:
    asked = settings.query_tower_precision
    return served is not None and asked is not None and asked != precision_of(served)


def recipe_of(encoder: DocumentEncoder, settings: SettledSettings) -> str:
    """Give the hash of everything beside the videos that decides the bytes of their vectors.

    The batch size is part of it: the sums of a tower may differ in the last bit with the shape of its batch, and a
    resumed refresh gives the very bytes of an undisturbed one.
    """
    towers = sorted((modality.value, mark) for modality, mark in towers_of(encoder, settings).items())
    parts = [model_key(encoder), settings.dtype, settings.batch_size, towers]
    return hash_bytes(json.dumps(parts).encode())


def model_key(encoder: DocumentEncoder) -> str:
    """Give the hash of all that an encoder's vectors depend on beside the videos."""
    return json.dumps([[space.name, space.dim, space.fingerprint, space.num_codes] for space in encoder.spaces])


def towers_of(encoder: DocumentEncoder, settings: RefreshSettings) -> Mapping[Modality, str]:
    """Give the fingerprints of the towers whose outputs are to be kept, of those that the encoder has."""
    if not isinstance(encoder, SteppedEncoder):
        return {}
    return {Modality(name): encoder.towers[m] for name in settings.keep if (m := Modality(name)) in encoder.towers}


def quarantine_key(model: str, doc_id: str, contents: UInt64) -> str:
    """Give what a quarantined video is known by: it is tried again when its content or the model changes."""
    return hash_bytes(model.encode(), doc_id.encode(), contents.tobytes())


def open_served(index_dir: Path) -> ForwardIndex | None:
    """Open the served generation; None where there is none, or none that can be read."""
    _refuse_lost_pointer(index_dir)
    try:
        return ForwardIndex.open(index_dir)
    except FormatVersionError:
        raise
    except IntegrityError as error:
        log.warning("what is served cannot be read, and will be replaced (serving publish goes back): %s", error)
        return None
    except DataError:  # nothing was published yet
        return None


def _refuse_lost_pointer(index_dir: Path) -> None:
    """Refuse to embed everything again only because the small file that names the served generation is gone."""
    try:
        read_current(index_dir)
    except (DataError, IntegrityError) as error:
        known = [info.number for info in list_generations(index_dir)] if names_of(index_dir) else []
        if known:
            raise DataError(
                f"{index_dir}: CURRENT cannot be read, and there are whole generations; serve one of them again: "
                f"python -m serving publish --index {index_dir} --generation {known[-1]}"
            ) from error


def _is_made_of(served: ForwardIndex, corpus: PreparedCorpus) -> bool:
    """Tell whether a generation holds every video of a corpus just as it is."""
    same = served.source.get("corpus_hash") == corpus.content_hash
    return same and served.base is None and served.num_docs == corpus.num_videos


class _Planner:
    """Makes the plan for one model; `run` may be called again with what else is to be embedded."""

    def __init__(
        self,
        served: ForwardIndex | None,
        anew: str | None,
        encoder: DocumentEncoder,
        index_dir: Path,
        settings: SettledSettings,
    ) -> None:
        self._served, self._anew, self._settings = served, anew, settings
        self._model, self._recipe = model_key(encoder), recipe_of(encoder, settings)
        spaces = () if served is None else served.spaces
        self._lost = missing_from(spaces, encoder.spaces)
        self._gained = missing_from(encoder.spaces, spaces) if spaces else ()
        self._keep = tuple(towers_of(encoder, settings))
        self._columns = np.array([list(Modality).index(modality) for modality in self._keep], np.intp)
        known = [] if settings.retry_quarantined else read_quarantine(index_dir)
        self._failed = {row.video.doc_id: row for row in known}
        self._usable = np.zeros(0 if served is None else served.num_rows, np.bool_)
        for version in () if served is None else served.versions:
            if version.spaces == tuple(encoder.spaces):
                self._usable[version.rows.start : version.rows.stop] = True

    def run(self, corpus: PreparedCorpus, damaged: Bool | None = None) -> RefreshPlan:
        comparison = Comparison(self._served)
        cutter = ItemCutter(self._recipe, self._keep, self._settings.shard_size)
        usable = self._usable if damaged is None else self._usable & ~damaged
        sources, items, left_out = [np.empty(0, np.int64)], list[PlannedItem](), list[QuarantinedRow]()
        start = num_replaced = num_dropped = 0
        for doc_ids, contents in corpus.content_blocks():
            rows, same = comparison.add(doc_ids, contents)
            source = np.full(len(doc_ids), EMBED, np.int64)
            if self._anew is None:
                copied = np.flatnonzero(same.all(axis=1))
                copied = copied[usable[rows[copied]]]
                source[copied] = rows[copied]
            failed = self._find_failed(doc_ids, contents, source)
            source[list(failed)] = LEAVE_OUT
            left_out += failed.values()
            num_dropped += int((rows[list(failed)] >= 0).sum())
            chosen = source == EMBED
            num_replaced += int((rows[chosen] >= 0).sum())
            known = (same & (contents > 0) & (not self._settings.anew))[:, self._columns]
            ids = hash_ids([doc_id.encode() for doc_id in doc_ids])
            items += cutter.add(Videos(start + np.arange(len(rows)), ids, contents, known)[chosen])
            sources.append(source)
            start += len(doc_ids)
        items += cutter.close()
        counts = comparison.close(rejected_ids(corpus))
        whole = np.concatenate(sources)
        return RefreshPlan(
            self._served, counts, self._anew, whole, tuple(items), tuple(left_out), num_replaced, num_dropped,
            new_tower=_changes_tower(self._served, self._settings), lost=self._lost, gained=self._gained,
        )  # fmt: skip

    def _find_failed(self, doc_ids: list[str], contents: UInt64, source: Int64) -> dict[int, QuarantinedRow]:
        """Give the places of videos that would be embedded, and failed before with this content and this model."""
        if not self._failed:
            return {}
        suspects = [n for n, doc_id in enumerate(doc_ids) if source[n] == EMBED and doc_id in self._failed]
        found = {n: self._failed[doc_ids[n]] for n in suspects}
        return {n: row for n, row in found.items() if row.key == quarantine_key(self._model, doc_ids[n], contents[n])}
