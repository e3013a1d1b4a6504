"""The server: whom it answers, and what it takes."""

import http.client
import json
import threading
import time

import pytest

from mmsearch.sentences.grading import GradeFile, GradingServer

KEY = "0123456789abcdef"
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def server(sheet, tmp_path):
    with GradingServer("<p>页", GradeFile(tmp_path / "grades.jsonl", sheet), KEY) as served:
        thread = threading.Thread(target=served.serve)
        thread.start()
        yield served
        served.is_finished = True
        thread.join()


@pytest.fixture
def row(sheet):
    return {"sheet": sheet.id, "doc_id": sheet.items[0].doc_id, "side": "first", "grade": 1}


def ask(server, method="GET", path=f"/{KEY}/", body=None, headers=None):
    port = server.server_address[1]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    sent = json.dumps(body) if isinstance(body, dict | list) else body
    connection.request(method, path, sent, {"Host": f"127.0.0.1:{port}"} | (headers or {}))
    answer = connection.getresponse()
    read = answer.read()
    connection.close()
    return answer.status, read, answer.headers


def test_it_gives_the_page_under_a_policy(server):
    status, body, headers = ask(server)
    assert (status, body.decode()) == (200, "<p>页")
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    assert "Python" not in headers["Server"]
    assert server.url == f"http://127.0.0.1:{server.server_address[1]}/{KEY}/"


def test_it_listens_on_loopback_alone(server):
    assert server.server_address[0] == "127.0.0.1"


def test_a_grade_is_on_the_disk_when_it_answers(server, row, sheet):
    assert ask(server, "POST", f"/{KEY}/grades", row, JSON)[0] == 204
    (line,) = server.grades.path.read_text().splitlines()
    assert json.loads(line)["grade"] == 1
    status, body, _ = ask(server, path=f"/{KEY}/grades")
    assert (status, json.loads(body)) == (200, [{k: v for k, v in row.items() if k != "sheet"}])


@pytest.mark.parametrize("path", ["/", "", "/grades", f"/{KEY}", f"/{KEY[:-1]}/", f"/{KEY}0/grades", f"/x/{KEY}/", "*"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_who_does_not_know_the_key_gets_nothing(server, row, path, method):
    status, body, _ = ask(server, method, path, row, JSON)
    assert status in (400, 404)
    assert "页".encode() not in body
    assert not server.grades.path.exists()


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
    ],
)
def test_other_sites_can_write_nothing(server, row, headers):
    assert ask(server, "POST", f"/{KEY}/grades", row, JSON | headers)[0] in (400, 404)
    assert not server.grades.path.exists()


@pytest.mark.parametrize(
    "body", ["", "{", "[" * 3000, '"x"', "[]", "null", "{" + " " * 5000 + "}", b"\xff\xfe", '{"grade": 1e999}']
)
def test_what_is_no_grade_is_refused(server, body):
    assert ask(server, "POST", f"/{KEY}/grades", body, JSON)[0] in (400, 409)
    assert not server.grades.path.exists()


def test_a_grade_of_another_sheet_is_refused(server, row):
    assert ask(server, "POST", f"/{KEY}/grades", row | {"sheet": "x"}, JSON)[0] == 409


def test_a_body_of_unknown_length_is_not_read(server, row):
    for length in ("-1", "99999999999999999999", "x"):
        assert ask(server, "POST", f"/{KEY}/grades", "{}", JSON | {"Content-Length": length})[0] == 400


def test_a_grade_that_cannot_be_written_is_not_called_saved(server, row):
    server.grades.path.mkdir()
    assert ask(server, "POST", f"/{KEY}/grades", row, JSON)[0] == 507
    assert server.grades.grades == {}


def test_grades_of_many_threads_are_all_kept(server, sheet):
    rows = [
        {"sheet": sheet.id, "doc_id": item.doc_id, "side": side, "grade": 2}
        for item in sheet.items
        for side in (("first",) if item.is_same else ("first", "second"))
    ]
    threads = [threading.Thread(target=ask, args=(server, "POST", f"/{KEY}/grades", row, JSON)) for row in rows]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(GradeFile(server.grades.path, sheet).grades) == len(rows)


def test_finish_ends_it(server):
    assert not server.is_finished
    assert ask(server, "POST", f"/{KEY}/finish", {}, JSON)[0] == 204
    end = time.monotonic() + 20
    while not server.is_finished:  # it answers first
        assert time.monotonic() < end
        time.sleep(0.01)
