"""The ONNX model of a query tower, open in ONNX Runtime."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from mmsearch.errors import CorruptIndexError
from mmsearch.files import hash_file
from mmsearch.forks import ForkSafeLock, renew_in_child
from mmsearch.protocols import Float32

INPUTS = ("input_ids", "attention_mask")

#: An addition and a normalisation as one operator take five times as long as the two (ONNX Runtime 1.31, 16 tokens).
_SLOWER_FUSIONS = ["SkipLayerNormFusion"]


class TowerSession:
    """Runs `model.onnx`. Safe for threads; in a forked child the model is loaded again when it is first needed there.

    ONNX Runtime is not made for forks: the threads of a session are not in the child, which would wait for them for
    ever.

    Args:
        path: the model.
        num_threads: threads of one run.

    Raises:
        CorruptIndexError: the model cannot be read or loaded.
    """

    def __init__(self, path: Path, num_threads: int) -> None:
        self._path, self._num_threads, self._lock = path, num_threads, ForkSafeLock()
        self._checksum = _hash(path)
        self._session: Any = _load(path, num_threads)
        renew_in_child(self)

    def renew(self) -> None:
        """Forget the parent's session, without a destructor that waits for its threads."""
        if self._session is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._session))
        self._session = None

    @property
    def names(self) -> tuple[set[str], set[str]]:
        """Names of inputs and of outputs."""
        session = self._opened()
        return {one.name for one in session.get_inputs()}, {one.name for one in session.get_outputs()}

    def run(self, outputs: Sequence[str], ids: npt.NDArray[np.int64]) -> Mapping[str, Float32]:
        """Give outputs of one text by name, [D] each.

        Args:
            outputs: their names.
            ids: token ids, [1, L], none of them padding.
        """
        session = self._opened()
        found = session.run(list(outputs), dict(zip(INPUTS, (ids, np.ones_like(ids)), strict=True)))
        return {name: vectors[0] for name, vectors in zip(outputs, found, strict=True)}

    def _opened(self) -> Any:
        session = self._session
        if session is not None:
            return session
        with self._lock:
            if self._session is None:
                if _hash(self._path) != self._checksum:
                    raise CorruptIndexError(f"{self._path}: was changed since it was opened; open the query tower anew")
                self._session = _load(self._path, self._num_threads)
            return self._session


def _hash(path: Path) -> str:
    try:
        return hash_file(path)
    except OSError as error:
        raise CorruptIndexError(f"{path}: cannot be read ({error.strerror}); export the query tower again") from error


def _load(path: Path, num_threads: int) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = num_threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads must not burn a core
    options.log_severity_level = 3
    try:
        # by its path: the weights beside it are mapped into memory, and shared by all processes that serve it
        return ort.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"], disabled_optimizers=_SLOWER_FUSIONS
        )
    except Exception as error:  # ONNX Runtime raises its own kinds, one for each cause
        raise CorruptIndexError(f"{path}: ONNX Runtime cannot load it: {error}") from error
