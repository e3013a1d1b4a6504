"""In how many documents of a corpus each term occurs, and the weight (IDF) that follows from it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from mmsearch.errors import ConfigError, DataError
from mmsearch.files import hash_bytes, read_json, write_json
from mmsearch.sentences.terms import Segmenter, resolve_segmenter, terms_of

FORMAT_VERSION = 1
#: Characters of a title that are read.
LONGEST_TITLE = 1000


class DocumentFrequencies:
    """Counts of documents by term, filled one document at a time.

    Args:
        segmenter: how Chinese becomes words; counts of different segmenters do not mix.
        max_terms: bound on memory (about 100 bytes a term). Where more are held, those seen in one document alone are
            forgotten (lossy counting); they keep the highest weight all the same, as unseen terms do.
    """

    def __init__(self, segmenter: Segmenter = "auto", *, max_terms: int = 2_000_000) -> None:
        self.segmenter: Literal["jieba", "bigrams"] = resolve_segmenter(segmenter)
        self.max_terms = max_terms
        self.num_documents = 0
        self.counts: Counter[str] = Counter()

    @classmethod
    def of(cls, texts: Iterable[str], segmenter: Segmenter = "auto") -> DocumentFrequencies:
        """Count a corpus, one text after another."""
        counted = cls(segmenter)
        for text in texts:
            counted.add(text)
        return counted

    def add(self, text: str) -> None:
        """Count one document."""
        self.num_documents += 1
        self.counts.update(set(terms_of(text, self.segmenter)))
        self._bound()

    def merge(self, other: DocumentFrequencies) -> None:
        """Add the counts of another part of the corpus.

        Raises:
            ConfigError: it was counted with another segmenter.
        """
        if other.segmenter != self.segmenter:
            raise ConfigError(f"counts by '{other.segmenter}' do not add to counts by '{self.segmenter}'; count again")
        self.num_documents += other.num_documents
        self.counts.update(other.counts)
        self._bound()

    def idf(self, term: str) -> float:
        """Give the weight of a term: ln(1 + (N - n + 0.5) / (n + 0.5)), n of N documents holding it.

        The inverse document frequency of Robertson and Spärck Jones in Lucene's form, which is never negative.
        """
        n = self.counts[term]
        return math.log1p((max(self.num_documents, n) - n + 0.5) / (n + 0.5))

    @property
    def fingerprint(self) -> str:
        """Give a hash of all counts, whatever their order."""
        parts = (f"{term}\t{count}".encode("utf-8", "surrogatepass") for term, count in sorted(self.counts.items()))
        return hash_bytes(f"{self.segmenter} {self.num_documents}".encode(), *parts)

    def save(self, path: Path) -> None:
        """Write the counts as JSON, atomically."""
        counts = {term.encode("utf-8", "replace").decode(): count for term, count in self.counts.items()}
        head = {"format_version": FORMAT_VERSION, "segmenter": self.segmenter, "num_documents": self.num_documents}
        write_json(path, head | {"counts": counts})

    @classmethod
    def load(cls, path: Path) -> DocumentFrequencies:
        """Read counts that `save` wrote.

        Raises:
            DataError: the file is missing or does not hold such counts.
            MissingExtraError: it was counted with jieba, which is absent here (at the first use).
        """
        value = read_json(path)
        if not isinstance(value, dict) or value.get("format_version") != FORMAT_VERSION:
            raise DataError(f"{path}: no document frequencies of format {FORMAT_VERSION}; count them again")
        segmenter, num, counts = value.get("segmenter"), value.get("num_documents"), value.get("counts")
        whole = isinstance(counts, dict) and all(isinstance(n, int) and n > 0 for n in counts.values())
        if segmenter not in ("jieba", "bigrams") or not isinstance(num, int) or num < 0 or not whole:
            raise DataError(f"{path}: damaged document frequencies; count them again")
        loaded = cls(segmenter)
        loaded.num_documents, loaded.counts = num, Counter(counts)
        return loaded

    def _bound(self) -> None:
        if len(self.counts) > self.max_terms:
            self.counts = Counter({term: n for term, n in self.counts.items() if n > 1})


def counted_text(title: str | None, transcript: str, max_transcript_chars: int) -> str:
    """Give the text of a video by which the terms of a corpus are counted, wherever that is done."""
    return f"{(title or '')[:LONGEST_TITLE]}\n{transcript[:max_transcript_chars]}"
