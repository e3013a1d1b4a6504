"""A Ray cluster to work on: one of this machine for this run alone, or one that is there."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from types import ModuleType
from typing import Any

from mmsearch.errors import ConfigError
from mmsearch.extras import require
from serving.executors.machine import num_cpus

_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # an actor without GPUs leaves CUDA_VISIBLE_DEVICES alone; no warning
    "RAY_prestart_worker_first_driver": "0",  # idle processes that nobody will use: each actor has its own
    "RAY_DEDUP_LOGS": "0",  # would hold messages back until the process ends
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",  # there is one of the refresh
}
#: Named after other systems, it means everywhere: this machine is the cluster, listening on loopback only.
_LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
#: What is told of every run that goes well is not told.
_LOG_LEVELS = {
    "ray": logging.WARNING,
    "ray.data": logging.WARNING,
    "ray.data._internal.execution.streaming_executor": logging.WARNING,
    "ray.data._internal.progress": logging.ERROR,  # that there are no progress bars
    "ray._private.authentication.authentication_token_setup": logging.ERROR,  # that only we can use our cluster
}


@contextmanager
def cluster(address: str | None, num_gpus: float) -> Iterator[Any]:
    """Give the `ray` module, connected, while the block runs; what was started for it is ended after it.

    Args:
        address: None = start a cluster of this machine that listens on loopback only; else what `ray.init` takes. A
            connection that this process has already is used, and stays.
        num_gpus: GPUs that a cluster of this machine must have; Ray counts them itself when it is greater than 0.

    Raises:
        MissingExtraError: Ray is not installed.
        ConfigError: there is no cluster at the address.
    """
    for name, value in (_ENVIRONMENT | (_LOOPBACK_ONLY if address is None else {})).items():
        os.environ.setdefault(name, value)  # before the import: Ray reads some of them then
    ray = _import()
    if ray.is_initialized():
        yield ray
        return
    with redirect_stdout(sys.stderr):  # where Ray tells what becomes of its workers; results stand alone in stdout
        try:
            _connect(ray, address, num_gpus)
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = address or "this machine"
            raise ConfigError(
                f"executor.address: Ray at {where} cannot be used: {error}; is it running, and does it ask for a token "
                "(RAY_AUTH_MODE=token)?"
            ) from error
        try:
            yield ray
        finally:
            ray.shutdown()


def _import() -> Any:
    for name, level in _LOG_LEVELS.items():
        logging.getLogger(name).setLevel(level)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the context warns of its own fields
        ray = require("ray", extra="ray")
        require("ray.data", extra="ray").DataContext.get_current()
    return ray


def _connect(ray: Any, address: str | None, num_gpus: float) -> None:
    quiet = {"log_to_driver": False, "logging_level": logging.WARNING}
    if address is not None:
        ray.init(address=address, runtime_env={"py_modules": _own_code()}, **quiet)
        return
    gpus = {} if num_gpus else {"num_gpus": 0}
    ray.init(address="local", num_cpus=num_cpus(), include_dashboard=False, **gpus, **quiet)


def _own_code() -> list[ModuleType]:
    """Give the packages that nodes are sent: what runs there is what runs here."""
    import mmsearch
    import serving

    return [mmsearch, serving]


def check_room(ray: Any, *, actors: int, cpus: float, gpus: float) -> None:
    """Refuse more actors than there is room for: Ray would wait for it for ever, without a word.

    Raises:
        ConfigError: they need every CPU, or more GPUs than there are; the message says what would do.
    """
    found = ray.cluster_resources()
    have_cpus, have_gpus = found.get("CPU", 0.0), found.get("GPU", 0.0)
    if actors * cpus >= have_cpus:
        fitting = max(0, int((have_cpus - 1e-9) // cpus)) if cpus else actors
        less = f"executor.num_actors={fitting}, or " if fitting else ""
        raise ConfigError(
            f"executor: {actors} actors of {cpus:g} CPUs would take all {have_cpus:g} CPUs of the cluster, and Ray "
            f"would wait for ever; give {less}executor.cpus_per_actor={have_cpus / (actors + 1):.2g}, or more nodes"
        )
    if actors * gpus > have_gpus:
        raise ConfigError(
            f"executor: {actors} actors of {gpus:g} GPUs need more than the {have_gpus:g} GPUs of the cluster; "
            "lower executor.num_actors or executor.gpus_per_actor, or add nodes"
        )
