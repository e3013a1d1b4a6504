"""What /metrics counts, and what a swap brings along."""

import shutil
import time

OK = {"query": "red ball", "doc_ids": ["d01", "nobody", "d02"]}


def counted(service):
    lines = service.get("/metrics").text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def test_requests_candidates_and_the_index_are_counted(client, service_index):
    service = client()
    for _ in range(3):
        service.post("/v1/score", json=OK)
    service.post("/v1/score", json={})
    service.get("/nowhere/at/all")
    service.request("BREW", "/healthz")
    found = counted(service)
    assert found['mmsearch_requests_total{method="POST",route="/v1/score",status="200"}'] == 3
    assert found['mmsearch_requests_total{method="POST",route="/v1/score",status="422"}'] == 1
    assert found['mmsearch_requests_total{method="GET",route="other",status="404"}'] == 1
    assert found['mmsearch_requests_total{method="other",route="/healthz",status="405"}'] == 1
    assert found['mmsearch_request_seconds_count{route="/v1/score"}'] == 4
    assert found['mmsearch_candidates_sum{model="tiny"}'] == 9
    assert found['mmsearch_unscored_candidates_total{model="tiny"}'] == 3
    assert found['mmsearch_batch_requests_sum{model="tiny"}'] == 3
    assert found['mmsearch_index_generation{model="tiny"}'] == 1
    assert found['mmsearch_index_documents{model="tiny"}'] == 25
    assert found['mmsearch_index_reload_failed{model="tiny"}'] == 0
    assert found['mmsearch_waiting_requests{queue="score.tiny"}'] == 0


def test_draining_is_told_to_balancers_while_requests_are_answered(client):
    service = client()
    assert service.get("/readyz").json()["status"] == "ready"
    service.service.drain()
    answer = service.get("/readyz")
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "not-ready", "5")
    assert service.get("/healthz").status_code == 200
    scored = service.post("/v1/score", json=OK)
    assert (scored.status_code, scored.headers["connection"]) == (200, "close")


def test_a_new_generation_is_served_and_one_that_cannot_be_opened_is_told(client, tmp_path, publish_anew):
    index = tmp_path / "index"
    first = publish_anew(index, 1)
    service = client(models={"m": {"index": str(index)}}, check_every_s=60)
    before = service.post("/v1/score", json=OK).json()
    assert before["generation"] == first
    second = publish_anew(index, 2)
    assert service.models.named("m").live.check()
    after = service.post("/v1/score", json=OK).json()
    assert after["generation"] == service.get("/readyz").json()["models"]["m"] == second
    assert after["docs"] != before["docs"]
    found = service.get("/v1/search", params={"q": "red ball"}).json()
    assert found["generation"] == second
    (index / "CURRENT").write_text("g000009-0123456789abcdef\n")
    assert not service.models.named("m").live.check()
    assert service.post("/v1/score", json=OK).json()["generation"] == second
    assert service.get("/v1/features").json()["models"][0]["reload_error"]
    assert counted(service)['mmsearch_index_reload_failed{model="m"}'] == 1


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_swap_brings_search_and_corpus_along(client, tmp_path, publish_anew, tiny_corpus):
    index, corpus = tmp_path / "index", tmp_path / "corpus"
    publish_anew(index, 1)
    shutil.copytree(tiny_corpus, corpus)
    service = client(models={"m": {"index": str(index), "corpus": str(corpus)}}, check_every_s=60)
    model = service.models.named("m")
    service.get("/v1/search", params={"q": "red ball"})
    shelf, second = model.shelf, publish_anew(index, 2)
    model.live.check()
    service.service.ops.observe()
    until(lambda: model.searcher.generation == second)
    assert model.shelf is shelf
    (corpus / "corpus.json").touch()
    third = publish_anew(index, 3)
    model.live.check()
    service.service.ops.observe()
    until(lambda: model.shelf is not shelf)
    assert model.searcher.generation is None  # nobody searched meanwhile
    assert service.get("/v1/search", params={"q": "red ball"}).json()["generation"] == third
    assert model.searcher.generation == third
