"""faiss indexes on a GPU, where faiss was built for one and one is there."""

from __future__ import annotations

from typing import Any, Literal

from mmsearch.errors import ConfigError

Device = Literal["auto", "cpu", "cuda"]

#: What faiss can search on a GPU.
_ON_GPU = ("flat", "ivf_pq")


def to_gpu(faiss: Any, built: Any, kind: str, device: Device) -> Any:
    """Give a faiss index on the first GPU; the same index where there is none, or where its type has no GPU form.

    Raises:
        ConfigError: `cuda` was asked for, and faiss sees no GPU.
    """
    num_gpus = faiss.get_num_gpus() if hasattr(faiss, "get_num_gpus") else 0
    if device == "cuda" and not num_gpus:
        raise ConfigError("device=cuda, and this faiss sees no GPU; install faiss-gpu, or take device=cpu")
    if device == "cpu" or not num_gpus or kind not in _ON_GPU:
        return built
    options = faiss.GpuClonerOptions()
    options.useFloat16 = True  # the tables of ivf_pq do not fit into shared memory otherwise
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, built, options)


def to_cpu(faiss: Any, built: Any) -> Any:
    """Give a faiss index as it can be written."""
    return faiss.index_gpu_to_cpu(built) if hasattr(faiss, "index_gpu_to_cpu") else built
