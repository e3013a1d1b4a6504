"""The container's files agree with the settings that it runs."""

import re
from pathlib import Path

import pytest
import yaml

from mmsearch.config import load_settings
from serving.service.settings import ServeSettings

CHECKOUT = Path(__file__).parents[4]
FOLDER = CHECKOUT / "serving" / "docker"


@pytest.fixture(scope="module")
def dockerfile():
    return (FOLDER / "Dockerfile").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def service():
    return yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))["services"]["mmsearch"]


@pytest.fixture(scope="module")
def settings():
    return load_settings(ServeSettings, CHECKOUT / "configs" / "serve" / "container.yaml")


def test_what_is_bound_in_is_what_the_settings_read(service, settings):
    (volume,) = service["volumes"]
    assert volume["read_only"]
    assert str(settings.models["main"].index) == volume["target"]
    assert str(settings.api_keys_file) == f"/run/secrets/{service['secrets'][0]}"
    assert settings.models["main"].corpus is None
    assert service["command"][0] == "configs/serve/container.yaml"


def test_the_port_is_one_and_the_host_is_open_with_keys(dockerfile, service, settings):
    assert f"EXPOSE {settings.port}\n" in dockerfile
    assert f"http://127.0.0.1:{settings.port}/healthz" in dockerfile
    assert service["ports"][0].endswith(f":{settings.port}")
    assert service["ports"][0].startswith("127.0.0.1:")
    assert not settings.is_loopback
    assert settings.api_keys_file


def test_it_is_stopped_as_it_drains(service, settings):
    seconds = int(service["stop_grace_period"].removesuffix("s"))
    assert seconds > settings.drain_s + settings.grace_s


def test_it_has_no_more_rights_than_it_needs(dockerfile, service):
    assert int(re.findall(r"^USER (\d+)$", dockerfile, re.M)[-1]) > 0
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.M)
    for name in " ".join(copied).split():
        assert (CHECKOUT / name).exists()
    kept = (FOLDER / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert {f"!{name}" for name in " ".join(copied).split()} <= set(kept)
