"""Queries to vectors with ONNX Runtime: the student tower as it is served. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmsearch.errors import CorruptIndexError
from mmsearch.index.query_tower import QueryTowerFile, read_query_tower
from mmsearch.protocols import Float32
from mmsearch.scoring.lru import LruCache
from mmsearch.scoring.session import INPUTS, TowerSession
from mmsearch.text import TextTokens, Tokenizer
from mmsearch.types import Space

#: Longer queries are not remembered by their text: few are typed twice, and they would fill the memory.
_MAX_REMEMBERED = 512


class OnnxQueryEncoder:
    """The `QueryEncoder` of a query tower folder.

    Every query runs alone, never in a batch: padding and int8 scales would let its vector depend on its neighbours.
    The vectors of the last queries are kept, by their text and by their token ids, so that queries which differ in what
    the tokenizer ignores share one.

    Any string is a query. What becomes of odd ones is decided by the tokenizer; with a trained one:

    - Empty, blanks, control characters (NUL), zero-width characters, lone surrogates: they say nothing. A query in
      which there is nothing else gets vectors of zeros, and the scorer calls its features missing. Within a query
      blanks part words, and the others are ignored.
    - Queries that are equal by case and by NFKC (full-width letters, ligatures, composed or decomposed accents; of
      Unicode 11, as the tokenizers library has it) get equal vectors. Pretrained tokenizers keep the normalisation that
      they were trained with.
    - Right-to-left text is read in the order in which it was typed; marks of direction are ignored. An emoji, joined or
      not, is a symbol like others: unknown ones share the vector of what the vocabulary does not know.
    - Of a long query the first `max_length` tokens count, and no more than 24 characters a token are looked at.

    A query for which the model gives NaN or infinity gets zeros as well.

    Safe for threads, and for forks: a child loads the model again when it needs it.

    See also:
        FeatureScorer: scores documents with it.
    """

    def __init__(self, tower: QueryTowerFile, session: TowerSession, tokenizer: Tokenizer, cache_size: int) -> None:
        self.spaces: tuple[Space, ...] = tuple(space.space for space in tower.spaces)
        self._output_of = {space.name: space.output for space in tower.spaces}
        self._dims = {space.output: space.dim for space in tower.spaces}
        self._max_length, self._session, self._tokenizer = tower.max_length, session, tokenizer
        self._nothing: bytes = self._tokenise("").tobytes()
        self._by_text: LruCache[str, Mapping[str, Float32]] = LruCache(cache_size)
        self._by_ids: LruCache[bytes, Mapping[str, Float32]] = LruCache(cache_size)

    @classmethod
    def open(cls, folder: Path | str, *, num_threads: int = 1, cache_size: int = 4096) -> OnnxQueryEncoder:
        """Open a query tower folder and run it once.

        Args:
            folder: `query_tower.json`, `model.onnx` and `tokenizer/`.
            num_threads: threads of one query. One is best where several queries run at once.
            cache_size: number of queries whose vectors are kept (4 bytes a component for each); 0 keeps none.

        Raises:
            DataError: a file is missing, or the tokenizer cannot be read.
            CorruptIndexError: the model cannot be read, or is not what `query_tower.json` says.
            FormatVersionError: a newer mmsearch wrote it.
        """
        folder = Path(folder)
        tower = read_query_tower(folder)
        session = TowerSession(folder / "model.onnx", num_threads)
        _check_names(folder, tower, session)
        encoder = cls(tower, session, Tokenizer.load(folder / "tokenizer"), cache_size)
        encoder._check_shapes(folder)
        return encoder

    def encode(self, queries: Sequence[str]) -> dict[str, Float32]:
        """Give the L2-normalised query vectors of every space by its name, each [Q, D]; zeros for a blank query."""
        vectors = {space.name: np.zeros((len(queries), space.dim), np.float32) for space in self.spaces}
        for i, query in enumerate(queries):
            outputs = self._encode_one(query)
            for name, output in self._output_of.items():
                vectors[name][i] = outputs.get(output, 0)
        return vectors

    def read(self, query: str) -> TextTokens:
        """Give what the tower reads of a query."""
        return self._tokenizer.read(query, self._max_length)

    def _encode_one(self, query: str) -> Mapping[str, Float32]:
        """Give the vector of every output; none for a query that says nothing."""
        remembered = self._by_text.get(query) if len(query) <= _MAX_REMEMBERED else None
        if remembered is not None:
            return remembered
        ids = self._tokenise(query)
        key = ids.tobytes()
        if key == self._nothing:
            return {}
        outputs = self._by_ids.get(key)
        if outputs is None:
            outputs = self._run(ids)
            if not all(np.isfinite(vector).all() for vector in outputs.values()):
                return {}
            self._by_ids.put(key, outputs)
        if len(query) <= _MAX_REMEMBERED:
            self._by_text.put(query, outputs)
        return outputs

    def _tokenise(self, query: str) -> npt.NDArray[np.int64]:
        ids, mask = self._tokenizer.encode_batch([query], self._max_length)
        kept: npt.NDArray[np.int64] = ids[mask.astype(bool)].reshape(1, -1)
        return kept

    def _run(self, ids: npt.NDArray[np.int64]) -> Mapping[str, Float32]:
        return self._session.run(list(self._dims), ids)

    def _check_shapes(self, folder: Path) -> None:
        try:
            outputs = self._run(self._tokenise("a"))
        except Exception as error:  # ONNX Runtime raises its own kinds, one for each cause
            raise CorruptIndexError(f"{folder}: the query tower does not run: {error}") from error
        for name, vector in outputs.items():
            if vector.shape != (self._dims[name],):
                told = f"query_tower.json says {self._dims[name]}"
                raise CorruptIndexError(f"{folder}: output '{name}' has shape {list(vector.shape)}, {told}")


def _check_names(folder: Path, tower: QueryTowerFile, session: TowerSession) -> None:
    inputs, outputs = session.names
    dims: dict[str, int] = {}
    for space in tower.spaces:
        if dims.setdefault(space.output, space.dim) != space.dim:
            raise CorruptIndexError(f"{folder}: query_tower.json gives output '{space.output}' two dimensions")
    missing = sorted((set(INPUTS) - inputs) | (set(dims) - outputs))
    if missing:
        raise CorruptIndexError(f"{folder}: model.onnx has no {', '.join(missing)}; export the query tower again")
