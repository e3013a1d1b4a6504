"""A model behind a server that fails, drips, refuses, or is left; the server is real and local."""

import contextlib
import gzip
import socket
import threading
import time

import pytest

from mmsearch.errors import ConfigError
from mmsearch.sentences.models import (
    ModelRefusedError,
    ModelUnavailableError,
    Prompt,
    PromptTooLongError,
)
from mmsearch.sentences.models.retry import TryAgainError, with_retries

PROMPT = Prompt("instructions", "data")
GOOD = {
    "choices": [{"message": {"content": '{"sentences": [1]}'}}],
    "usage": {"prompt_tokens": 11, "completion_tokens": 5},
}


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
def test_what_may_pass_is_tried_again(server, model, status):
    server.rule = lambda path, body, count: (status, {}, {}) if count < 3 else (200, {}, GOOD)
    assert model().complete(PROMPT, max_tokens=9).completion_tokens == 5
    assert len(server.requests) == 3


def test_tries_end(server, model):
    server.rule = lambda path, body, count: (503, {}, {})
    with pytest.raises(ModelUnavailableError, match=r"after 3 tries.*HTTP 503"):
        model().complete(PROMPT, max_tokens=9)
    assert len(server.requests) == 3


def test_a_server_that_is_not_there_is_unavailable(model):
    with pytest.raises(ModelUnavailableError, match=r"after 2 tries.*ConnectError"):
        model(base_url="http://127.0.0.1:1/v1", max_tries=2).complete(PROMPT, max_tokens=9)


@pytest.mark.parametrize(("status", "error"), [(400, ModelRefusedError), (413, ModelRefusedError), (404, ConfigError)])
def test_what_will_not_pass_is_not_tried_again(server, model, status, error):
    server.rule = lambda path, body, count: (status, {}, {})
    with pytest.raises(error, match=f"HTTP {status}"):
        model().complete(PROMPT, max_tokens=9)
    assert len(server.requests) == 1


def test_redirects_are_not_followed(server, model):
    server.rule = lambda path, body, count: (302, {"Location": "http://127.0.0.1:1/elsewhere"}, {})
    with pytest.raises(ModelRefusedError, match="HTTP 302"):
        model().complete(PROMPT, max_tokens=9)
    assert len(server.requests) == 1


@pytest.mark.parametrize("content", [b"", b"not json", b"[" * 5000, b"\xff\xfe{"])
def test_an_answer_that_is_not_json_is_tried_again(server, model, content):
    server.rule = lambda path, body, count: (200, {}, content)
    with pytest.raises(ModelUnavailableError, match="not JSON"):
        model().complete(PROMPT, max_tokens=9)
    assert len(server.requests) == 3


@pytest.mark.parametrize("content", [{}, {"choices": []}, {"choices": [{"message": None}]}, {"choices": 7}])
def test_an_answer_of_another_form_is_refused(server, model, content):
    server.rule = lambda path, body, count: (200, {}, content)
    with pytest.raises(ModelRefusedError, match="choices"):
        model().complete(PROMPT, max_tokens=9)


def test_what_a_server_says_of_a_refusal_is_told_cut_harmless_and_without_the_key(server, model, monkeypatch):
    monkeypatch.setenv("TINY_KEY", "secret-key")
    said = "no 'response_format' for secret-key\n\x1b[31m" + "x" * 5000
    server.rule = lambda path, body, count: (400, {}, {"error": {"message": said}})
    with pytest.raises(ModelRefusedError) as caught:
        model(api_key_variable="TINY_KEY").complete(PROMPT, max_tokens=9)
    assert "HTTP 400; the server says: no 'response_format' for (the key) (31mxxx" in str(caught.value)
    assert len(str(caught.value)) < 500
    server.rule = lambda path, body, count: (400, {}, b"<html>bad")
    with pytest.raises(ModelRefusedError, match="says: ‹html›bad"):
        model().complete(PROMPT, max_tokens=9)


@pytest.mark.parametrize("said", ["This model's maximum context length is 4096 tokens", "the prompt is too long"])
def test_a_prompt_that_is_too_long_is_told_apart(server, model, said):
    server.rule = lambda path, body, count: (400, {}, {"error": {"message": said}})
    with pytest.raises(PromptTooLongError):
        model().complete(PROMPT, max_tokens=9)


def test_an_endless_answer_is_cut_off_also_when_it_is_packed(server, model):
    bomb = gzip.compress(b" " * (64 << 20))
    server.rule = lambda path, body, count: (200, {"Content-Encoding": "gzip"}, bomb)
    with pytest.raises(ModelRefusedError, match="longer than"):
        model().complete(PROMPT, max_tokens=9)


def test_an_answer_that_drips_is_cut_off_in_time(server, model):
    server.rule = lambda path, body, count: (200, {}, [b" "] * 200)
    began = time.monotonic()
    with pytest.raises(ModelUnavailableError, match="no whole answer within"):
        model(timeout_s=0.3, max_tries=2).complete(PROMPT, max_tokens=9)
    assert time.monotonic() - began < 8


def test_headers_that_drip_are_cut_off_in_time(model):
    def drip(listener):
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            for number in range(200):
                connection.sendall(b"X-%d: a\r\n" % number)
                time.sleep(0.05)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        url, began = f"http://127.0.0.1:{listener.getsockname()[1]}/v1", time.monotonic()
        with pytest.raises(ModelUnavailableError, match=r"no whole answer within 0\.3 s"):
            model(base_url=url, timeout_s=0.3, max_tries=1).complete(PROMPT, max_tokens=9)
        assert time.monotonic() - began < 8
        thread.join()


def test_a_model_that_is_closed_lets_nobody_wait(server, model):
    asked, release = threading.Event(), threading.Event()

    def hanging(path, body, count):
        asked.set()
        release.wait(10)
        return 200, {}, GOOD

    server.rule = hanging
    one, found = model(max_tries=9, pause_s=60), []

    def work():
        try:
            one.complete(PROMPT, max_tokens=9)
        except ModelUnavailableError as error:
            found.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    assert asked.wait(5)
    began = time.monotonic()
    one.close()
    thread.join()
    assert time.monotonic() - began < 8
    release.set()
    assert "closed here" in found[0]
    with pytest.raises(ModelUnavailableError, match="closed here"):
        one.complete(PROMPT, max_tokens=9)


def test_pauses_grow_are_random_and_heed_the_server(caplog):
    caplog.set_level("INFO", "mmsearch")
    pauses = []

    def failing():
        raise TryAgainError("busy", 3.0 if len(pauses) == 3 else None)

    with pytest.raises(ModelUnavailableError):
        with_retries(failing, max_tries=9, pause_s=1.0, sleep=pauses.append)
    assert len(pauses) == 8
    bounds = [1, 2, 4, 3 + 8, 16, 32, 60, 60]
    assert all(0 <= pause <= bound for pause, bound in zip(pauses, bounds, strict=True))
    assert pauses[3] >= 3
    assert [record.getMessage() for record in caplog.records] == [
        f"busy; the next of 9 tries comes in {pause:.0f} s" for pause in pauses if pause >= 5
    ]
    assert len(set(pauses[:6])) == 6
