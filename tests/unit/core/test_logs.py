"""What a user sees when a command fails."""

import errno
import io
import logging

import pytest
from rich.console import Console

from mmsearch import logs
from mmsearch.errors import CorruptIndexError


@pytest.fixture
def shown(monkeypatch):
    text = io.StringIO()
    monkeypatch.setattr(logs, "console", Console(file=text, width=200))
    return text


def ends(error):
    def door():
        raise error

    with pytest.raises(SystemExit) as caught:
        logs.exit_on_error(door)
    return caught.value.code


def test_an_error_of_ours_is_its_message_and_code(shown):
    assert ends(CorruptIndexError("x/vectors: [0] a checksum does not hold")) == 4
    assert shown.getvalue() == "error x/vectors: [0] a checksum does not hold\n"


def test_what_the_system_refuses_is_a_message_and_no_traceback(shown):
    assert ends(OSError(errno.ENOSPC, "No space left on device", "out/shard")) == 3
    assert ends(OSError("nothing to be told of a file")) == 3
    assert shown.getvalue() == "error out/shard: No space left on device\nerror nothing to be told of a file\n"


def test_debug_shows_the_traceback():
    def door():
        raise PermissionError(errno.EACCES, "Permission denied", "out")

    with pytest.raises(PermissionError):
        logs.exit_on_error(door, debug=True)


@pytest.fixture(scope="module")
def set_up_for_a_module():
    logs.set_up()


def test_what_a_module_set_up_for_the_logs_does_not_reach_its_tests(set_up_for_a_module, caplog):
    logging.getLogger("serving.service").warning("once")
    assert [record.getMessage() for record in caplog.records] == ["once"]
    assert not logging.getLogger("mmsearch").handlers
