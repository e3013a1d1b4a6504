"""Multimodal video search ranking: train the towers, refresh the vectors, score the candidates, measure on grades."""

import os

__version__ = "0.1.0.dev0"

# ONNX Runtime 1.29 and later report to their maker from every process that imports them, unless this is set before; the
# thread that does so also keeps a forked child from ending. ORT_DISABLE_TELEMETRY=0 in the environment lets it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
