"""Who may listen at an address."""

import pytest

from mmsearch.errors import ConfigError
from serving.service.server import bind, told_if_taken
from serving.service.settings import ServeSettings
from serving.service.workers import Workers


def settings_of(port):
    return ServeSettings.model_validate({"models": {"m": {"index": "nowhere"}}, "port": port, "num_workers": 2})


def test_a_second_service_with_workers_is_told_that_the_port_is_taken():
    with bind(settings_of(0), shared=True) as first:
        first.listen()
        taken = settings_of(first.getsockname()[1])
        with bind(taken, shared=True):  # as workers of one service do
            pass
        with pytest.raises(ConfigError, match=f"{taken.port}: cannot be listened at"):
            Workers(taken).run()
    told_if_taken(taken)  # free again
    told_if_taken(settings_of(0))
