"""Swapping generations under a server, and looking at what it answers meanwhile. Used by service.py."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

import numpy as np

from mmsearch.index.layout import write_current


class Swapper:
    """Swaps two generations in turns; the vectors of one are the opposites of those of the other.

    Args:
        index: the forward index.
        names: the generations.
        port: where the server listens.
        request: what it is asked.
        spaces: features whose scores turn round with the vectors.
    """

    def __init__(
        self, index: Path, names: list[str], port: int, request: tuple[str, list[str]], spaces: list[str]
    ) -> None:
        self._index, self._names, self._port, self._spaces = index, names, port, spaces
        self._body = json.dumps({"query": request[0], "doc_ids": request[1][:20]}).encode()
        #: Answers whose scores are not those of the generation that they name.
        self.wrong = 0
        #: Generations that answered.
        self.seen: dict[str, list[list[float]]] = {}

    def run(self, swaps: int, every_s: float) -> None:
        """Swap, and look at one answer after the other meanwhile."""
        for swap in range(swaps):
            write_current(self._index, self._names[swap % 2])
            until = time.monotonic() + every_s
            while time.monotonic() < until:
                self._check()
                time.sleep(0.02)

    def _check(self) -> None:
        address = f"http://127.0.0.1:{self._port}/v1/score"
        asked = urllib.request.Request(address, self._body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=10) as answer:
            told = json.load(answer)
        spaces = [told["names"].index(space) for space in self._spaces]
        values = [[doc["values"][at] for at in spaces] for doc in told["docs"]]
        expected = self.seen.setdefault(told["generation"], values)
        opposite = [v for g, v in self.seen.items() if g != told["generation"]]
        same = values == expected and all(np.allclose(np.negative(values), v, atol=1e-3) for v in opposite)
        self.wrong += not same
