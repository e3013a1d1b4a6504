"""Queries to vectors with ONNX Runtime: the student tower as it is served. No torch."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from mmsearch.errors import CorruptIndexError
from mmsearch.index.query_tower import QueryTowerFile, read_query_tower
from mmsearch.protocols import Float32
from mmsearch.text import Tokenizer
from mmsearch.types import Space

_INPUTS = ("input_ids", "attention_mask")
Outputs = dict[str, Float32]


class OnnxQueryEncoder:
    """The `QueryEncoder` of a query tower folder.

    Every query runs alone, never in a batch: padding and int8 scales would let its vector depend on its neighbours.
    The vectors of the last queries are kept, by their token ids, so that queries which differ in what the tokenizer
    ignores share one. A query of which the tokenizer keeps nothing (empty, blanks, control characters) gets vectors of
    zeros, which say nothing: the scorer calls its features missing. So does a query for which the model gives NaN.
    Texts of any length and any characters are taken; the tokenizer reads the first some hundred characters.

    Safe for threads.

    See also:
        FeatureScorer: scores documents with it.
    """

    def __init__(self, tower: QueryTowerFile, session: Any, tokenizer: Tokenizer, cache_size: int) -> None:
        self.spaces: tuple[Space, ...] = tuple(space.space for space in tower.spaces)
        self._output_of = {space.name: space.output for space in tower.spaces}
        self._dims = {space.output: space.dim for space in tower.spaces}
        self._max_length, self._session, self._tokenizer = tower.max_length, session, tokenizer
        self._nothing: bytes = self._tokenise("").tobytes()
        self._cache: OrderedDict[bytes, Outputs] = OrderedDict()
        self._cache_size, self._lock = cache_size, threading.Lock()

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
        session = _open_session(folder / "model.onnx", num_threads)
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

    def _encode_one(self, query: str) -> Outputs:
        """Give the vector of every output; none for a query that says nothing."""
        ids = self._tokenise(query)
        key = ids.tobytes()
        if key == self._nothing:
            return {}
        with self._lock:
            if key in self._cache:
                self._cache.move_to_end(key)
                return self._cache[key]
        outputs = self._run(ids)
        if not all(np.isfinite(vector).all() for vector in outputs.values()):
            return {}
        with self._lock:
            self._cache[key] = outputs
            while len(self._cache) > self._cache_size:
                self._cache.popitem(last=False)
        return outputs

    def _tokenise(self, query: str) -> npt.NDArray[np.int64]:
        ids, mask = self._tokenizer.encode_batch([query], self._max_length)
        kept: npt.NDArray[np.int64] = ids[mask.astype(bool)].reshape(1, -1)
        return kept

    def _run(self, ids: npt.NDArray[np.int64]) -> Outputs:
        names = list(self._dims)
        found = self._session.run(names, dict(zip(_INPUTS, (ids, np.ones_like(ids)), strict=True)))
        return {name: vectors[0] for name, vectors in zip(names, found, strict=True)}

    def _check_shapes(self, folder: Path) -> None:
        try:
            outputs = self._run(self._tokenise("a"))
        except Exception as error:  # ONNX Runtime raises its own kinds, one for each cause
            raise CorruptIndexError(f"{folder}: the query tower does not run: {error}") from error
        for name, vector in outputs.items():
            if vector.shape != (self._dims[name],):
                told = f"query_tower.json says {self._dims[name]}"
                raise CorruptIndexError(f"{folder}: output '{name}' has shape {list(vector.shape)}, {told}")


def _open_session(path: Path, num_threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = num_threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads must not burn a core
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    except OSError as error:
        raise CorruptIndexError(f"{path}: cannot be read ({error.strerror}); export the query tower again") from error
    except Exception as error:  # see above
        raise CorruptIndexError(f"{path}: ONNX Runtime cannot load it: {error}") from error


def _check_names(folder: Path, tower: QueryTowerFile, session: Any) -> None:
    inputs, outputs = {i.name for i in session.get_inputs()}, {o.name for o in session.get_outputs()}
    dims: dict[str, int] = {}
    for space in tower.spaces:
        if dims.setdefault(space.output, space.dim) != space.dim:
            raise CorruptIndexError(f"{folder}: query_tower.json gives output '{space.output}' two dimensions")
    missing = sorted((set(_INPUTS) - inputs) | (set(dims) - outputs))
    if missing:
        raise CorruptIndexError(f"{folder}: model.onnx has no {', '.join(missing)}; export the query tower again")
