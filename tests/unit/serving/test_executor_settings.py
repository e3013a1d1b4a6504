"""Settings of executors: which is chosen, what they refuse, and that none starts anything by being built."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import TypeAdapter, ValidationError

from mmsearch.errors import ConfigError
from serving.executors import ExecutorSettings, LocalSettings, RaySettings
from serving.executors.machine import memory_bytes, memory_share, num_cpus
from serving.executors.ray_cluster import check_room

settings = TypeAdapter(ExecutorSettings)


def test_the_type_chooses_and_local_is_the_default():
    assert settings.validate_python({}) == LocalSettings()
    assert settings.validate_python({"num_workers": 3}) == LocalSettings(num_workers=3)
    chosen = settings.validate_python({"type": "ray", "num_actors": [1, 8], "gpus_per_actor": 0.5})
    assert isinstance(chosen, RaySettings)
    assert chosen.bounds == (1, 8)
    assert RaySettings(num_actors=3).bounds == (3, 3)


@pytest.mark.parametrize(
    "tree",
    [{"num_workers": -1}, {"timeout_s": 0}, {"address": "auto"}]
    + [{"type": "ray", **wrong} for wrong in ({"num_actors": 0}, {"num_actors": [3, 2]}, {"cpus_per_actor": 0})],
)
def test_what_cannot_be_is_refused(tree):
    with pytest.raises(ValidationError):
        settings.validate_python(tree)


class Resources:
    """Ray, as far as room is asked for."""

    def __init__(self, **found):
        self.found = found

    def cluster_resources(self):
        return self.found


def test_actors_that_need_every_cpu_are_refused_with_advice():
    check_room(Resources(CPU=4.0), actors=3, cpus=1, gpus=0)
    check_room(Resources(CPU=2.0), actors=2, cpus=0.5, gpus=0)
    with pytest.raises(ConfigError, match=r"all 4 CPUs.*num_actors=3, or executor.cpus_per_actor=0.8"):
        check_room(Resources(CPU=4.0), actors=4, cpus=1, gpus=0)
    with pytest.raises(ConfigError, match=r"give executor.cpus_per_actor=0.5, or more nodes"):
        check_room(Resources(CPU=1.0), actors=1, cpus=1, gpus=0)
    with pytest.raises(ConfigError, match=r"2 actors of 0.6 GPUs need more than the 1 GPUs"):
        check_room(Resources(CPU=9.0, GPU=1.0), actors=2, cpus=1, gpus=0.6)
    check_room(Resources(CPU=9.0, GPU=1.0), actors=2, cpus=1, gpus=0.5)


def test_building_an_executor_imports_no_ray():
    code = (
        "import sys; from serving.executors import RaySettings; list(RaySettings().build().run([], None)); "
        "print('ray' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_machine_is_shared_in_equal_parts():
    assert num_cpus() >= 1
    assert 0 < 3 * memory_share(3) <= memory_bytes() * 0.9
