"""What a command says when Ctrl-C or SIGTERM ends it, in processes of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

PLAIN = "interrupted"
RESUMED = "interrupted; what was finished is kept: run the same command again"

COMMAND = """
import os, signal, sys, time
import typer
from mmsearch import logs
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
app = typer.Typer()

@app.command()
def wait(how: str) -> None:
    if how == "resumable":
        logs.resumable()
    if how == "heeds":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
    if how == "forks" and (child := os.fork()) == 0:
        time.sleep(60)
    if how == "forks":
        time.sleep(0.1)
        os.kill(child, signal.SIGTERM)
        ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.exit(9 if ended == -signal.SIGTERM else 10)
    print("ready", flush=True)
    time.sleep(60)

logs.exit_on_error(app)
"""


def end(how, number, **environment):
    """Give status and stderr of a command that a signal ended while it waited."""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, how],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    with process:
        assert process.stdout.readline() == ("" if number is None else "ready\n")
        if number is not None:
            process.send_signal(number)
        _, told = process.communicate(timeout=30)
    return process.returncode, told


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, -signal.SIGTERM)])
@pytest.mark.parametrize(("how", "told"), [("plain", PLAIN), ("resumable", RESUMED)])
def test_one_line_says_that_it_was_interrupted(number, status, how, told):
    assert end(how, number) == (status, f"{told}\n")


def test_a_command_that_hears_the_signal_itself_goes_before():
    assert end("heeds", signal.SIGTERM) == (7, "")


def test_ranks_of_a_launcher_are_ended_as_ever():
    assert end("plain", signal.SIGTERM, RANK="0") == (-signal.SIGTERM, "")
    assert end("plain", signal.SIGINT, RANK="1") == (130, "")


def test_a_child_that_is_ended_says_nothing():
    assert end("forks", None) == (9, "")
