"""Reading a prepared corpus: random access to the texts and pictures of millions of videos, without decoding any."""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, Self

from mmsearch.data.contents import UInt64, read_contents
from mmsearch.data.key_sentences import SENTENCES, open_key_sentences, read_key_sentences, with_key_sentences
from mmsearch.data.manifest import SHARDS, Manifest, Shard
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.data.readers import hold_for
from mmsearch.data.shards import open_shard, read_doc_ids, read_row_group
from mmsearch.errors import IntegrityError
from mmsearch.files import hash_file
from mmsearch.protocols import PreparedVideo

_MAX_OPEN = 16
_MAX_CACHED = 16


class PreparedCorpus:
    """A prepared corpus on disk. Opening reads the manifest and the sizes of the files; ids are read when asked for.

    As long as it lives, `prepare` may publish another corpus in the folder, and removes no file of this one.

    It can be sent to other processes (they open it anew) and used after a fork. It is not safe to use from several
    threads at once.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        hold_for(self, folder)
        self._folder, self._manifest = folder, manifest
        self._starts = [0, *accumulate(shard.rows for shard in manifest.shards)]
        self._files: OrderedDict[int, Any] = OrderedDict()
        self._groups: OrderedDict[int, list[PreparedVideo]] = OrderedDict()

    @classmethod
    def open(cls, folder: Path | str) -> Self:
        """Open a prepared corpus.

        Raises:
            DataError: there is no corpus in the folder.
            FormatVersionError: a newer mmsearch wrote it.
            IntegrityError: the manifest was changed, or a file is missing or has another size.
        """
        folder = Path(folder)
        manifest = Manifest.read(folder)
        files = [(SHARDS, shard) for shard in manifest.shards] + [(SENTENCES, file) for file in manifest.sentences]
        for where, shard in files:
            path = folder / where / shard.name
            size = path.stat().st_size if path.is_file() else None
            if size != shard.bytes:
                found = "missing" if size is None else f"{size:,} bytes instead of {shard.bytes:,}"
                raise IntegrityError(f"{path}: {found}; run `mmsearch prepare` again")
        corpus = cls(folder, manifest)
        # what was published before the files were held may have cost some of them
        return corpus if Manifest.read(folder).content_hash == manifest.content_hash else cls.open(folder)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._folder, self._manifest)

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self._folder

    @property
    def num_videos(self) -> int:
        """Number of videos, which is the number of rows."""
        return self._starts[-1]

    @property
    def settings(self) -> PrepareSettings:
        """What it was prepared with."""
        return self._manifest.settings

    @property
    def content_hash(self) -> str:
        """Hash of everything in it: ids, texts and pictures, in order."""
        return self._manifest.content_hash

    @property
    def shards(self) -> Sequence[Shard]:
        """Its files, in row order; where there are key sentences, their keys count these too."""
        if not self._manifest.sentences:
            return self._manifest.shards
        both = zip(self._manifest.shards, self._manifest.sentences, strict=True)
        return tuple(replace(shard, key=file.key) for shard, file in both)

    @cached_property
    def doc_ids(self) -> Sequence[str]:
        """The id of every row."""
        return [i for n in range(len(self.shards)) for i in read_doc_ids(self._file(n), self._path(n))]

    def content_blocks(self) -> Iterator[tuple[list[str], UInt64]]:
        """Give the ids of videos and the content hash of each of their modalities [B, 8], a shard at a time.

        0 = the video lacks the modality. Texts and pictures are not read: a second or two for 100,000 videos.

        Raises:
            IntegrityError: a checksum does not hold.
        """
        for number, shard in enumerate(self._manifest.shards):
            sentences = self._manifest.sentences
            path = self._folder / SENTENCES / sentences[number].name if sentences else None
            yield read_contents(self._folder / SHARDS / shard.name, path)

    @cached_property
    def row_of(self) -> Mapping[str, int]:
        """The row of every id."""
        return {doc_id: row for row, doc_id in enumerate(self.doc_ids)}

    @cached_property
    def row_groups(self) -> Sequence[range]:
        """The rows that are read together, in order; none crosses from one shard to the next."""
        size = self.settings.row_group_size
        spans = zip(self._starts, self._starts[1:], strict=False)
        return [range(at, min(at + size, end)) for start, end in spans for at in range(start, end, size)]

    def read_row_group(self, number: int) -> list[PreparedVideo]:
        """Read the videos of `row_groups[number]`, past the cache.

        Raises:
            IndexError: there is no such row group.
            IntegrityError: a checksum does not hold.
        """
        if not 0 <= number < len(self.row_groups):
            raise IndexError(f"row group {number}: there are {len(self.row_groups)}")
        rows = self.row_groups[number]
        shard = bisect_right(self._starts, rows.start) - 1
        within = (rows.start - self._starts[shard]) // self.settings.row_group_size
        videos = read_row_group(self._file(shard), within, self._path(shard))
        if len(videos) != len(rows):
            raise IntegrityError(f"{self._path(shard)}: row group {within} has {len(videos)} rows, not {len(rows)}")
        if not self._manifest.sentences:
            return videos
        path = self._folder / SENTENCES / self._manifest.sentences[shard].name
        return with_key_sentences(videos, read_key_sentences(open_key_sentences(path), within, path), path)

    def read(self, rows: Iterable[int]) -> list[PreparedVideo]:
        """Read some rows, in the order given; the last row groups that were read are kept in memory.

        Raises:
            IndexError: a row is not in 0 … num_videos - 1.
            IntegrityError: a checksum does not hold.
        """
        wanted = list(rows)
        found: dict[int, PreparedVideo] = {}
        for row in sorted(set(wanted)):  # each row group is visited once, however few are kept
            number = self._group_of(row)
            found[row] = self._cached(number)[row - self.row_groups[number].start]
        return [found[row] for row in wanted]

    def verify(self) -> None:
        """Read every byte and compare with the checksums of the manifest.

        Raises:
            IntegrityError: a file is not what was written.
        """
        files = [(self._folder / SHARDS / shard.name, shard) for shard in self._manifest.shards]
        files += [(self._folder / SENTENCES / file.name, file) for file in self._manifest.sentences]
        for path, shard in files:
            if not path.is_file() or hash_file(path) != shard.checksum:
                raise IntegrityError(f"{path}: its checksum does not hold; run `mmsearch prepare` again")

    def _group_of(self, row: int) -> int:
        if not 0 <= row < self.num_videos:
            raise IndexError(f"row {row}: the corpus has {self.num_videos}")
        return bisect_right(self.row_groups, row, key=lambda group: group.start) - 1

    def _cached(self, number: int) -> list[PreparedVideo]:
        if number in self._groups:
            self._groups.move_to_end(number)
        else:
            self._groups[number] = self.read_row_group(number)
            while len(self._groups) > _MAX_CACHED:
                self._groups.popitem(last=False)
        return self._groups[number]

    def _file(self, shard: int) -> Any:
        if shard in self._files:
            self._files.move_to_end(shard)
        else:
            self._files[shard] = open_shard(self._path(shard))
            while len(self._files) > _MAX_OPEN:
                self._files.popitem(last=False)[1].close()
        return self._files[shard]

    def _path(self, shard: int) -> Path:
        return self._folder / SHARDS / self.shards[shard].name
