"""A model behind a server: requests, answers, settings; the server is real and local."""

import logging
import threading
import time

import pytest
from pydantic import ValidationError

from mmsearch.errors import ConfigError
from mmsearch.sentences.models import (
    ModelRefusedError,
    Prompt,
    ServerModelSettings,
)

PROMPT = Prompt("instructions", "data")
GOOD = {
    "choices": [{"message": {"content": '{"sentences": [1]}'}}],
    "usage": {"prompt_tokens": 11, "completion_tokens": 5},
}


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


@pytest.mark.parametrize("url", ["ftp://a/v1", "file:///etc/passwd", "127.0.0.1:8000", "http://user:secret@host/v1"])
def test_addresses_are_plain(url):
    with pytest.raises(ValidationError, match="must begin with http"):
        ServerModelSettings(base_url=url, model="tiny")
