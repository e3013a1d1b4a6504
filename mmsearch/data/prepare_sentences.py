"""The last pass of `mmsearch prepare`: key sentences of every transcript, when the whole corpus is known."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mmsearch.data.key_sentences import SENTENCES, KeySentences, content_key, write_key_sentences
from mmsearch.data.manifest import SHARDS, Manifest, Shard
from mmsearch.data.shards import open_shard, read_texts
from mmsearch.errors import DataError
from mmsearch.files import hash_bytes, hash_file, read_json, write_json
from mmsearch.logs import ProgressBar, progress
from mmsearch.sentences import DocumentFrequencies, KeySentenceExtractor, SentenceSettings, SpokenVideo, counted_text
from mmsearch.sentences import KeySentences as Chosen
from mmsearch.types import Modality

#: Changes when the same settings would choose other sentences.
_VERSION = 2
_FREQUENCIES, _ANSWERS = "document_frequencies.json", "answers.sqlite"
#: So many times the transcripts that were counted, and the counts may tell little of the corpus.
_MUCH_GROWTH = 10
_OURS = re.compile(r"\.?\d{6}-[0-9a-f]{16}\.(parquet|json)(\.[0-9a-f]{32}\.tmp)?")

_log = logging.getLogger(__name__)


def choose_key_sentences(folder: Path, manifest: Manifest, settings: SentenceSettings) -> Manifest:
    """Choose the key sentences of all shards; give the manifest with their files, not yet written.

    How often terms occur is counted over the corpus once, and kept: a video that comes later changes nothing of those
    that are there. What a model answered is kept too, so that a killed run, and a run over a grown corpus, ask only
    for what is new. A shard in which a model did not answer, or refused, is tried again by the next run. No file that
    the manifest of before names is changed or removed: see `remove_stray_sentences`. The manifest's counts get
    `key_sentences` (videos by what chose) and `fallbacks` (videos with greedy sentences instead, by why).

    Args:
        folder: of the corpus; its shards are whole.
        manifest: of the corpus without sentences.
        settings: how to choose.

    Raises:
        ConfigError, MissingExtraError: the model or a library is not there.
        IntegrityError: a shard is damaged.
    """
    where = folder / SENTENCES
    where.mkdir(exist_ok=True)
    if settings.cache is None and settings.method != "greedy":
        settings = settings.model_copy(update={"cache": where / _ANSWERS})
    frequencies = _frequencies(folder, manifest, settings)
    recipe = json.dumps([_VERSION, settings.for_record(), frequencies.fingerprint], sort_keys=True).encode()
    stems = [f"{n:06d}-{hash_bytes(recipe, s.key.encode())[:16]}" for n, s in enumerate(manifest.shards)]
    results = {n: found for n, stem in enumerate(stems) if (found := _Result.read(where / f"{stem}.json")) is not None}
    if len(results) < len(stems):
        with KeySentenceExtractor(settings, frequencies) as extractor:
            left = [number for number in range(len(stems)) if number not in results]
            with progress("key sentences", sum(manifest.shards[n].rows for n in left), unit="videos") as bar:
                for number in left:
                    results[number] = _make(folder, manifest, number, stems[number], extractor, bar)
    in_order = [results[number] for number in range(len(stems))]
    methods = sum((Counter(result.methods) for result in in_order), Counter[str]())
    fallbacks = sum((Counter(result.fallbacks) for result in in_order), Counter[str]())
    told = {"key_sentences": dict(sorted(methods.items())), "fallbacks": dict(sorted(fallbacks.items()))}
    unanswered = sum(result.unanswered for result in in_order)
    counts = manifest.counts | told | {"unanswered": unanswered}
    return replace(manifest, counts=counts, sentences=tuple(result.file for result in in_order))


@dataclass(frozen=True, slots=True)
class _Result:
    """What a shard came to, as it is recorded beside its file.

    Args:
        file: the file.
        methods: number of videos by what chose their sentences.
        fallbacks: number of videos with greedy sentences instead, by why.
        unanswered: number of those for which the model can be asked again.
    """

    file: Shard
    methods: dict[str, int]
    fallbacks: dict[str, int]
    unanswered: int

    @classmethod
    def read(cls, record: Path) -> _Result | None:
        """Give that of an earlier run for the same shard and settings; None = there is none, or not a final one."""
        found = cls.read_any(record)
        return found if found is not None and not found.unanswered else None

    @classmethod
    def read_any(cls, record: Path) -> _Result | None:
        """Give that of an earlier run, final or not; None = there is none, or its file is not whole."""
        try:
            found = read_json(record)
            file = Shard(**found["file"])
            whole = (record.parent / file.name).stat().st_size == file.bytes
            return cls(file, found["methods"], found.get("fallbacks", {}), found["unanswered"]) if whole else None
        except (DataError, OSError, KeyError, TypeError):
            return None


def _frequencies(folder: Path, manifest: Manifest, settings: SentenceSettings) -> DocumentFrequencies:
    """Give those that the settings name, those that were counted before, or count now."""
    if settings.frequencies is not None:
        return DocumentFrequencies.load(settings.frequencies)
    path = folder / SENTENCES / _FREQUENCIES
    fresh = DocumentFrequencies(settings.segmenter)
    if path.is_file():
        known = DocumentFrequencies.load(path)
        if known.segmenter == fresh.segmenter and known.num_documents:  # none: no transcript was there yet
            _tell_of_growth(path, known.num_documents, manifest.counts.get("modalities", {}).get(Modality.ASR.value, 0))
            return known
    for number in range(len(manifest.shards)):
        for group in _spoken(folder, manifest, number):
            for video in group:
                if video.transcript:
                    fresh.add(counted_text(video.title, video.transcript, settings.max_transcript_chars))
    if fresh.num_documents:
        fresh.save(path)
        _log.info("counted the terms of %d transcripts; they are kept in %s", fresh.num_documents, path)
    return fresh


def _tell_of_growth(path: Path, counted: int, now: int) -> None:
    """Warn where terms are weighed by what a small part of the corpus holds, such as a first try with ten videos."""
    if now >= _MUCH_GROWTH * counted:
        _log.warning(
            "terms are weighed by %d transcripts that were counted once, and the corpus now holds %d; remove %s to "
            "count again (key sentences are then chosen anew)",
            counted,
            now,
            path,
        )


def _make(
    folder: Path, manifest: Manifest, number: int, stem: str, extractor: KeySentenceExtractor, bar: ProgressBar
) -> _Result:
    """Choose the sentences of one shard, and write its file; then the record that it is done."""
    shard, where = manifest.shards[number], folder / SENTENCES
    rows: list[KeySentences] = []
    unanswered, fallbacks = 0, Counter[str]()
    for group in _spoken(folder, manifest, number):
        spoken = [video for video in group if video.transcript]
        chosen = {one.doc_id: one for one in extractor.extract(spoken, bar=bar)}
        bar.advance(len(group) - len(spoken))
        unanswered += sum(not one.is_final for one in chosen.values())
        fallbacks.update(one.fallback for one in chosen.values() if one.fallback)
        rows += [_row(video.doc_id, chosen.get(video.doc_id)) for video in group]
    # What is not final has a name of its own: the next run makes the final file beside it, not in its place.
    name = (
        stem if not unanswered else f"{number:06d}-{hash_bytes(stem.encode(), *(repr(r).encode() for r in rows))[:16]}"
    )
    path = where / f"{name}.parquet"
    write_key_sentences(path, rows, manifest.settings.row_group_size)
    file = Shard(path.name, len(rows), path.stat().st_size, hash_file(path), content_key(shard.key, rows))
    methods = Counter(row.method for row in rows if row.method is not None)
    result = _Result(file, dict(methods), dict(fallbacks), unanswered)
    write_json(where / f"{stem}.json", asdict(result))
    return result


def _row(doc_id: str, chosen: Chosen | None) -> KeySentences:
    if chosen is None or not chosen.sentences:
        return KeySentences(doc_id, None, None)
    return KeySentences(doc_id, chosen.text, chosen.method)


def _spoken(folder: Path, manifest: Manifest, number: int) -> Iterator[list[SpokenVideo]]:
    """Give titles and transcripts of a shard, a row group at a time; pictures are not read."""
    path = folder / SHARDS / manifest.shards[number].name
    with open_shard(path) as file:
        for group in range(file.num_row_groups):
            rows = read_texts(file, group, (Modality.TITLE, Modality.ASR), path)
            yield [SpokenVideo(doc_id, texts[0], texts[1] or "") for doc_id, *texts in rows]


def remove_stray_sentences(folder: Path, manifest: Manifest) -> None:
    """Remove the files of older runs and what killed ones left, once the manifest that needs none of them is written.

    Args:
        folder: of the corpus.
        manifest: its manifest of now; files with other names than ours are not touched.
    """
    kept = {file.name for file in manifest.sentences}
    for path in (folder / SENTENCES).iterdir():
        if not _OURS.fullmatch(path.name) or path.name in kept:
            continue
        result = _Result.read_any(path) if path.suffix == ".json" else None
        if result is None or result.file.name not in kept:
            path.unlink()
