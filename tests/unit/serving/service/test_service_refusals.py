"""What the service refuses, in which shape, and what it says to whom."""

import asyncio
import json
import os
import time

import pytest
from pydantic import BaseModel
from starlette.requests import Request

from mmsearch.errors import ConfigError
from serving.service.bodies import read_body
from serving.service.keys import ApiKeys
from serving.service.problems import ProblemError

JSON = {"Content-Type": "application/json"}
OK = {"query": "red ball", "doc_ids": ["d01"]}


def told(answer, status, code):
    """Check the shape of a problem, and give it."""
    problem = answer.json()
    assert answer.status_code == problem["status"] == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["code"] == code
    assert problem["type"] == f"urn:mmsearch:problem:{code}"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert problem["detail"]
    return problem


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid-json"),
        (b"{", 400, "invalid-json"),
        (b'{"query": "\xff", "doc_ids": []}', 400, "invalid-json"),
        (b'{"query": "\\ud800", "doc_ids": []}', 400, "invalid-json"),
        (b"[" * 100_000, 400, "invalid-json"),
        (b"[]", 422, "invalid-request"),
        (b'{"query": "a"}', 422, "invalid-request"),
        (b'{"query": 7, "doc_ids": []}', 422, "invalid-request"),
        (b'{"query": "a", "doc_ids": [1]}', 422, "invalid-request"),
        (b'{"query": "a", "doc_ids": "d01"}', 422, "invalid-request"),
        (b'{"query": "a", "doc_ids": [], "more": 1}', 422, "invalid-request"),
        (b'{"query": "a", "doc_ids": [], "deadline_ms": 0}', 422, "invalid-request"),
        (b'{"query": "a", "doc_ids": [], "deadline_ms": NaN}', 422, "invalid-request"),
        (json.dumps({"query": "a" * 31, "doc_ids": []}).encode(), 422, "invalid-request"),
        (json.dumps({"query": "a", "doc_ids": ["d"] * 6}).encode(), 422, "invalid-request"),
        (json.dumps(OK | {"model": "nobody"}).encode(), 404, "not-found"),
        (json.dumps(OK).encode() + b" " * 2000, 413, "too-large"),
    ],
)
def test_a_body_that_cannot_be_used_is_told(client, body, status, code):
    service = client(max_query_chars=30, max_doc_ids=5, max_body_bytes=2000 if code == "too-large" else 1 << 18)
    told(service.post("/v1/score", content=body, headers=JSON), status, code)


def test_a_body_without_a_length_is_cut_off_at_the_bound(client):
    def parts():
        for _ in range(100):
            yield b" " * 100

    service = client(max_body_bytes=2048)
    told(service.post("/v1/score", content=parts(), headers=JSON), 413, "too-large")


def test_what_was_sent_is_not_said_again(client):
    answer = client().post("/v1/score", json={"query": "my secret", "doc_ids": [], "model": ["secret"]})
    assert "secret" not in answer.text
    answer = client().post("/v1/score", json=OK | {"secret": 1})
    assert "secret" not in answer.text
    assert told(answer, 422, "invalid-request")["errors"][0]["where"] == "body"


def test_a_page_of_another_origin_cannot_ask(client):
    service = client()
    for address in ("/v1/features", "/v1/search?q=a", "/metrics"):
        for site in ("cross-site", "same-site"):
            told(service.get(address, headers={"Sec-Fetch-Site": site}), 403, "cross-site")
        for site in ("same-origin", "none"):
            assert service.get(address, headers={"Sec-Fetch-Site": site}).is_success
    assert service.get("/", headers={"Sec-Fetch-Site": "cross-site"}).is_success  # a link to the page


def test_a_body_that_does_not_come_ends_its_connection():
    class Asked(BaseModel):
        query: str

    async def receive():
        await asyncio.sleep(10)

    request = Request({"type": "http", "headers": [(b"content-type", b"application/json")]}, receive)
    with pytest.raises(ProblemError) as refused:
        asyncio.run(read_body(request, Asked, max_bytes=10, timeout_s=0.01))
    assert (refused.value.status, refused.value.headers["Connection"]) == (408, "close")


@pytest.mark.parametrize(
    ("method", "address", "status", "code"),
    [
        ("GET", "/v1/search", 422, "invalid-request"),
        ("GET", "/v1/search?q=a&k=0", 422, "invalid-request"),
        ("GET", "/v1/search?q=a&k=many", 422, "invalid-request"),
        ("GET", "/v1/search?q=a&k=201", 422, "invalid-request"),
        ("GET", "/v1/search?q=a&space=nowhere", 404, "not-found"),
        ("GET", "/v1/search?q=a&space=spread", 404, "not-found"),
        ("GET", "/v1/score", 405, "method-not-allowed"),
        ("DELETE", "/healthz", 405, "method-not-allowed"),
        ("GET", "/v2", 404, "not-found"),
        ("GET", "/page/../settings.py", 404, "not-found"),
        ("GET", "/page/%2e%2e%2fsettings.py", 404, "not-found"),
        ("GET", "/page/nothing.js", 404, "not-found"),
        ("GET", "/docs", 404, "not-found"),
    ],
)
def test_an_address_that_cannot_be_answered_is_told(client, method, address, status, code):
    told(client().request(method, address), status, code)


def test_a_form_cannot_ask(client):
    told(client().post("/v1/score", data={"query": "a"}), 415, "unsupported-media-type")
    told(client().post("/v1/score", content=json.dumps(OK), headers={"Content-Type": "text/plain"}), 415,
         "unsupported-media-type")  # fmt: skip


def test_a_name_that_points_here_is_no_way_in(client):
    assert client().get("/healthz", headers={"Host": "localhost:8000"}).status_code == 200
    assert client().get("/healthz", headers={"Host": "[::1]:8000"}).status_code == 200
    for host in ("evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil", ""):
        told(client().get("/v1/features", headers={"Host": host}), 421, "wrong-host")
    assert client(allowed_hosts=["Ranker.internal"]).get("/healthz", headers={"Host": "ranker.internal:80"}).is_success


def test_keys_are_asked_of_everything_that_tells_something(client, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text("# clients\nranker 0123456789abcdef\npage  fedcba9876543210 # the page\n")
    service = client(api_keys_file=str(keys))
    for address in ("/v1/features", "/v1/search?q=a", "/v1/videos/d01/cover", "/metrics"):
        answer = service.get(address)
        told(answer, 401, "unauthorised")
        assert answer.headers["www-authenticate"] == "Bearer"
    for given in ("Bearer wrong", "Basic 0123456789abcdef", "0123456789abcdef", "Bearer é", "Bearer "):
        answer = service.get("/v1/features", headers={"Authorization": given.encode()})
        told(answer, 401, "unauthorised")
    for key in ("0123456789abcdef", "fedcba9876543210"):
        assert service.get("/v1/features", headers={"Authorization": f"Bearer {key}"}).is_success
    assert service.get("/healthz").is_success
    assert service.get("/readyz").is_success
    assert "key" in service.get("/openapi.json").json()["components"]["securitySchemes"]


def test_keys_that_change_count_and_a_mistake_leaves_those_of_before(tmp_path, monkeypatch):
    path = tmp_path / "keys"
    path.write_text("old 0123456789abcdef")
    keys = ApiKeys(path)
    assert keys.name_of("0123456789abcdef") == "old"
    now = time.monotonic()
    for seconds, text, expected in (
        (2, "new aaaaaaaaaaaaaaaa\n", (None, "new")),
        (4, "new short\n", (None, "new")),
        (6, "old 0123456789abcdef\nboth bbbbbbbbbbbbbbbb", ("old", None)),
    ):
        path.write_text(text)
        os.utime(path, ns=(seconds, seconds))
        monkeypatch.setattr(time, "monotonic", lambda seconds=seconds: now + seconds)
        assert (keys.name_of("0123456789abcdef"), keys.name_of("aaaaaaaaaaaaaaaa")) == expected
    path.unlink()
    monkeypatch.setattr(time, "monotonic", lambda: now + 8)
    assert keys.name_of("0123456789abcdef") == "old"


@pytest.mark.parametrize("text", ["", "# none\n", "name\n", "name short", "a b c"])
def test_a_file_without_keys_is_refused(tmp_path, text):
    (tmp_path / "keys").write_text(text)
    with pytest.raises(ConfigError, match="keys"):
        ApiKeys(tmp_path / "keys")
    with pytest.raises(ConfigError, match="cannot be read"):
        ApiKeys(tmp_path / "nothing")


def test_a_key_may_hold_a_number_sign_and_nothing_beyond_ascii(tmp_path):
    path = tmp_path / "keys"
    path.write_text("#old 0123456789abcdef\na 0123456789abcdef#tail # the first\n")
    keys = ApiKeys(path)
    assert keys.name_of("0123456789abcdef#tail") == "a"
    assert keys.name_of("0123456789abcdef") is None
    for key in ("0123456789abcdéf", "0123456789abcdef\x7f"):
        path.write_text(f"a 0123456789abcdef\nb {key}\n", encoding="utf-8")
        with pytest.raises(ConfigError, match=r"keys:2: .*printable ASCII"):
            ApiKeys(path)


def test_a_request_id_is_kept_where_it_is_harmless(client):
    service = client()
    assert service.get("/healthz", headers={"X-Request-ID": "a.b-c_9"}).headers["x-request-id"] == "a.b-c_9"
    for given in ("", "a" * 65, "a b", "<script>", 'x"y', "é".encode()):
        made = service.get("/healthz", headers={"X-Request-ID": given}).headers["x-request-id"]
        assert len(made) == 16
        assert made.isalnum()


def test_a_mistake_inside_tells_nothing_but_its_request(client, monkeypatch, caplog):
    service = client()
    monkeypatch.setattr(type(service.models.named(None)), "scorer", property(lambda self: 1 / 0))
    answer = service.get("/v1/features")
    told(answer, 500, "internal")
    assert "ZeroDivision" not in answer.text
    assert answer.headers["x-request-id"] in caplog.text
    assert "ZeroDivisionError" in caplog.text


def test_every_answer_is_kept_from_frames_scripts_and_sniffing(client):
    for address in ("/", "/healthz", "/v1/features", "/nothing", "/v1/score"):
        headers = client().get(address).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


def test_without_the_page_there_is_none(client):
    assert client().get("/").status_code == 200
    told(client(allow_page=False).get("/"), 404, "not-found")
