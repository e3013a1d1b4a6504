"""A model behind a server: requests, retries, limits; the server is real and local."""

import gzip
import json
import logging
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pydantic import ValidationError

from mmsearch.errors import ConfigError
from mmsearch.sentences.models import (
    ModelRefusedError,
    ModelUnavailableError,
    Prompt,
    PromptTooLongError,
    ServerModelSettings,
)
from mmsearch.sentences.models.retry import TryAgainError, with_retries

PROMPT = Prompt("instructions", "data")
GOOD = {
    "choices": [{"message": {"content": '{"sentences": [1]}'}}],
    "usage": {"prompt_tokens": 11, "completion_tokens": 5},
}


class Server(ThreadingHTTPServer):
    """Answers as `rule(path, body, count)` says: (status, headers, bytes or value)."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.rule, self.requests, self.headers = lambda path, body, count: (200, {}, GOOD), [], []
        self.lock, self.running, self.most = threading.Lock(), 0, 0

    def handle_error(self, request, client_address):
        """Clients may leave early."""


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.requests.append((self.path, body))
            server.headers.append(dict(self.headers))
            server.running += 1
            server.most = max(server.most, server.running)
            count = len(server.requests)
        status, headers, content = server.rule(self.path, body, count)
        with server.lock:
            server.running -= 1
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        for chunk in [content] if isinstance(content, bytes) else content if isinstance(content, list) else ():
            self.wfile.write(chunk)
            self.wfile.flush()
            time.sleep(0.05 if isinstance(content, list) else 0)
        if isinstance(content, dict):
            self.wfile.write(json.dumps(content).encode())

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def server():
    pytest.importorskip("httpx", exc_type=ImportError)
    running = Server()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture
def model(server):
    opened = []

    def build(**others):
        url = f"http://127.0.0.1:{server.server_address[1]}/v1/"
        wanted = {"base_url": url, "model": "tiny", "pause_s": 0.01, "max_tries": 3} | others
        opened.append(ServerModelSettings(**wanted).build())
        return opened[-1]

    yield build
    for one in opened:
        one.close()


def test_a_prompt_is_sent_and_its_answer_and_cost_come_back(server, model):
    completion = model().complete(PROMPT, max_tokens=9, schema={"type": "object"})
    assert (completion.text, completion.prompt_tokens, completion.completion_tokens) == ('{"sentences": [1]}', 11, 5)
    ((path, body),) = server.requests
    assert path == "/v1/chat/completions"
    assert body["messages"] == [{"role": "system", "content": "instructions"}, {"role": "user", "content": "data"}]
    assert (body["model"], body["max_tokens"], body["temperature"]) == ("tiny", 9, 0)
    assert body["response_format"]["json_schema"]["schema"] == {"type": "object"}
    model(hold_to_schema=False).complete(PROMPT, max_tokens=9, schema={"type": "object"})
    assert "response_format" not in server.requests[1][1]


def test_the_key_comes_from_the_environment_alone_and_is_never_told(server, model, monkeypatch, caplog):
    monkeypatch.setenv("TINY_KEY", "secret-key")
    caplog.set_level(logging.DEBUG)
    one = model(api_key_variable="TINY_KEY")
    one.complete(PROMPT, max_tokens=9)
    assert server.headers[0]["Authorization"] == "Bearer secret-key"
    server.rule = lambda path, body, count: (401, {}, {})
    with pytest.raises(ConfigError, match="the key is not accepted") as caught:
        one.complete(PROMPT, max_tokens=9)
    assert "secret-key" not in caplog.text + str(caught.value) + repr(one.settings)
    monkeypatch.delenv("TINY_KEY")
    with pytest.raises(ConfigError, match="TINY_KEY holds no key"):
        model(api_key_variable="TINY_KEY")


def test_no_key_is_sent_unasked(server, model, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
    model().complete(PROMPT, max_tokens=9)
    assert "Authorization" not in server.headers[0]


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


def test_usage_may_be_absent_or_nonsense(server, model):
    for usage in (None, {}, [1], "7", {"prompt_tokens": -3, "completion_tokens": "many"}, {"prompt_tokens": True}):
        server.rule = lambda path, body, count, usage=usage: (200, {}, GOOD | {"usage": usage})
        assert model().complete(PROMPT, max_tokens=9).prompt_tokens == 0


@pytest.mark.parametrize(
    "content",
    [
        [
            {"type": "reasoning", "text": "hm"},
            {"type": "text", "text": '{"sentences"'},
            {"type": "text", "text": ": [1]}"},
        ]
    ],
)
def test_a_text_may_come_in_parts(server, model, content):
    server.rule = lambda path, body, count: (200, {}, GOOD | {"choices": [{"message": {"content": content}}]})
    assert model().complete(PROMPT, max_tokens=9).text == '{"sentences": [1]}'


@pytest.mark.parametrize("content", [7, {"text": "a"}, [{"type": "text", "text": None}]])
def test_a_text_that_is_none_is_refused(server, model, content):
    server.rule = lambda path, body, count: (200, {}, GOOD | {"choices": [{"message": {"content": content}}]})
    with pytest.raises(ModelRefusedError, match="no text"):
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


def test_further_fields_are_sent_and_are_part_of_the_name(server, model):
    plain, extra = model(), model(extra_body={"chat_template_kwargs": {"enable_thinking": False}})
    extra.complete(PROMPT, max_tokens=9)
    assert server.requests[0][1]["chat_template_kwargs"] == {"enable_thinking": False}
    assert plain.name != extra.name
    assert plain.settings.base_url in plain.name


@pytest.mark.parametrize(
    "wrong",
    [
        {"extra_body": {"messages": []}},
        {"extra_body": {"a": float("nan")}},
        {"extra_body": {"a": "x" * 20_000}},
        {"timeout_s": float("inf")},
        {"timeout_s": float("nan")},
        {"timeout_s": 1e9},
        {"pause_s": float("inf")},
        {"max_tries": 10**6},
    ],
)
def test_endless_and_contradicting_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        ServerModelSettings(base_url="http://127.0.0.1/v1", model="tiny", **wrong)


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
    assert time.monotonic() - began < 5


def test_headers_that_drip_are_cut_off_in_time(server, model):
    def rule(path, body, count):
        time.sleep(0.6)
        return 200, {}, GOOD

    server.rule = rule
    began = time.monotonic()
    with pytest.raises(ModelUnavailableError, match=r"no whole answer within 0\.2 s"):
        model(timeout_s=0.2, max_tries=1).complete(PROMPT, max_tokens=9)
    assert time.monotonic() - began < 0.5


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
    assert time.monotonic() - began < 1
    release.set()
    assert "closed here" in found[0]
    with pytest.raises(ModelUnavailableError, match="closed here"):
        one.complete(PROMPT, max_tokens=9)


def test_requests_in_flight_are_bounded(server, model):
    def slow(path, body, count):
        time.sleep(0.02)
        return 200, {}, GOOD

    server.rule = slow
    one = model(max_in_flight=3)
    threads = [threading.Thread(target=one.complete, args=(PROMPT,), kwargs={"max_tokens": 9}) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.requests) == 12
    assert 2 <= server.most <= 3


def echoed(offsets, values):
    return {"choices": [{"text": "", "logprobs": {"text_offset": offsets, "token_logprobs": values}}]}


def test_likelihoods_are_those_of_the_text_behind_the_prefix(server, model):
    server.rule = lambda path, body, count: (200, {}, echoed([0, 4, 8, 12, 14], [None, -9.0, -1.0, -3.0, -7.0]))
    (one,) = model().log_probabilities(["one\ntwo:"], " title")
    assert (one.log_probability, one.num_tokens) == (-2.0, 5)
    ((path, body),) = server.requests
    assert path == "/v1/completions"
    assert (body["prompt"], body["echo"], body["logprobs"]) == ("one\ntwo: title", True, 1)


@pytest.mark.parametrize(
    "content",
    [
        {"choices": [{"text": "x", "logprobs": None}]},
        {"choices": [{"text": "x"}]},
        echoed([14], [-1.0]),
        echoed([0, 8], [None, None]),
        echoed([0, 8], [None]),
        echoed([0, 8], [None, float("nan")]),
    ],
)
def test_a_server_that_cannot_tell_likelihoods_is_named(server, model, content):
    server.rule = lambda path, body, count: (200, {}, content)
    with pytest.raises(ConfigError, match=r"does not tell the log-probabilities.*method=select"):
        model().log_probabilities(["one\ntwo:"], " title")


def test_pauses_grow_are_random_and_heed_the_server():
    pauses = []

    def failing():
        raise TryAgainError("busy", 3.0 if len(pauses) == 3 else None)

    with pytest.raises(ModelUnavailableError):
        with_retries(failing, max_tries=9, pause_s=1.0, sleep=pauses.append)
    assert len(pauses) == 8
    bounds = [1, 2, 4, 3 + 8, 16, 32, 60, 60]
    assert all(0 <= pause <= bound for pause, bound in zip(pauses, bounds, strict=True))
    assert pauses[3] >= 3
    assert len(set(pauses[:6])) == 6


@pytest.mark.parametrize("url", ["ftp://a/v1", "file:///etc/passwd", "127.0.0.1:8000", "http://user:secret@host/v1"])
def test_addresses_are_plain(url):
    with pytest.raises(ValidationError, match="must begin with http"):
        ServerModelSettings(base_url=url, model="tiny")
