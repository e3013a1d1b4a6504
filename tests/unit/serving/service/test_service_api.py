"""The endpoints of the service, over a real index and query tower."""

import json
import logging
from urllib.parse import quote

import numpy as np
import pytest

from mmsearch.index.recall.search import ExactSearch
from mmsearch.scoring import FeatureScorer, feature_definitions

DOCS = ["d03", "nobody", "d01", "d00", "d03"]


def test_scores_are_those_of_the_library_bit_by_bit(client, service_index):
    scorer = FeatureScorer.open(service_index)
    expected = scorer.score("red ball", DOCS)
    answer = client().post("/v1/score", json={"query": "red ball", "doc_ids": DOCS})
    told = answer.json()
    assert answer.status_code == 200
    assert (told["model"], told["generation"], told["late"]) == ("tiny", scorer.index.generation, False)
    assert told["names"] == list(scorer.names)
    assert [doc["doc_id"] for doc in told["docs"]] == DOCS
    values = np.array([doc["values"] for doc in told["docs"]], np.float32)  # null becomes NaN
    assert np.array_equal(np.isnan(values), expected.missing)
    assert np.array_equal(values[~expected.missing], expected.values[~expected.missing])


def test_a_blank_query_and_no_candidates_are_answered(client):
    service = client()
    told = service.post("/v1/score", json={"query": "  \n", "doc_ids": ["d01"]}).json()
    assert set(told["docs"][0]["values"]) == {None}
    assert service.post("/v1/score", json={"query": "red", "doc_ids": []}).json()["docs"] == []
    assert service.get("/v1/search", params={"q": " "}).json()["docs"] == []


@pytest.mark.parametrize("space", [None, "cover"])
def test_search_finds_what_the_library_finds(client, service_index, space):
    scorer = FeatureScorer.open(service_index)
    asked = space or "content"
    expected, scores = ExactSearch(scorer.index).search(asked, scorer.query_vectors("blue fish", asked), 5)
    service = client()
    posted = service.post("/v1/search", json={"query": "blue fish", "k": 5, "space": space}).json()
    given = {"q": "blue fish", "k": "5"} | ({"space": space} if space else {})
    got = service.get("/v1/search", params=given).json()
    assert [doc["doc_id"] for doc in posted["docs"]] == expected
    assert posted["docs"] == got["docs"]
    assert [doc["rank"] for doc in got["docs"]] == [1, 2, 3, 4, 5]
    column = posted["names"].index(asked)
    assert np.allclose([doc["values"][column] for doc in posted["docs"]], scores, atol=2e-3)
    assert (posted["space"], posted["judged"], posted["max_grade"], posted["num_docs"]) == (asked, False, None, 25)


def test_titles_covers_and_grades_stand_beside_results(client, service_index, tiny_corpus, tiny_world):
    models = {"tiny": {"index": str(service_index), "corpus": str(tiny_corpus)}}
    service = client(models=models, judgments=str(tiny_world / "judgments_val.jsonl"))
    told = service.get("/v1/search", params={"q": "ＲＥＤ  ball ", "k": 25}).json()
    docs = {doc["doc_id"]: doc for doc in told["docs"]}
    assert (told["judged"], told["max_grade"]) == (True, 2)
    assert docs["d01"]["title"] == "the red kite"
    assert docs["d01"]["has_cover"]
    assert not docs["d05"]["has_cover"]
    assert docs["d03"]["title"] is None
    assert docs["d18"]["grade"] == 1
    assert docs["d00"]["grade"] is None
    cover = service.get("/v1/videos/d01/cover")
    assert (cover.status_code, cover.headers["content-type"]) == (200, "image/jpeg")
    assert cover.headers["x-content-type-options"] == "nosniff"
    again = service.get("/v1/videos/d01/cover", headers={"If-None-Match": cover.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for doc_id in ("d05", "nobody", "../../corpus.json", "a/b"):
        assert service.get(f"/v1/videos/{quote(doc_id, safe='')}/cover").status_code == 404
    judged = service.get("/v1/features").json()["judgments"]
    assert judged["num_queries"] == 4
    assert "red ball" in judged["examples"]


def test_judged_videos_alone_are_ranked_by_a_space(client, service_index, tiny_world):
    service = client(judgments=str(tiny_world / "judgments_val.jsonl"), models={
        "tiny": {"index": str(service_index), "recall": None}})  # fmt: skip
    scorer = FeatureScorer.open(service_index)
    judged = [f"d{number}" for number in range(16, 24)]
    values, missing = scorer.score("red ball", judged).column("cover")
    present = [judged[at] for at in np.argsort(-values) if not missing[at]]
    told = service.get("/v1/search", params={"q": "red ball", "among": "judged", "space": "cover"}).json()
    found = [doc["doc_id"] for doc in told["docs"]]
    assert found == present + [doc_id for doc_id, gone in zip(judged, missing, strict=True) if gone]
    assert None not in [doc["grade"] for doc in told["docs"]]
    few = service.post("/v1/search", json={"query": "red ball", "among": "judged", "space": "cover", "k": 3}).json()
    assert few["docs"] == told["docs"][:3]
    assert service.get("/v1/search", params={"q": "nobody judged this", "among": "judged"}).json()["docs"] == []
    assert service.get("/v1/search", params={"q": "red ball"}).status_code == 404
    assert service.get("/v1/search", params={"q": "red ball", "among": "some"}).status_code == 422


def test_explain_tells_the_features_of_a_video_and_shows_its_texts(client, service_index, tiny_corpus):
    service = client(models={"tiny": {"index": str(service_index), "corpus": str(tiny_corpus)}})
    asked = {"query": "red ball", "doc_id": "d00"}
    told = service.post("/v1/explain", json=asked).json()
    score = service.post("/v1/score", json={"query": "red ball", "doc_ids": ["d00"]}).json()
    expected = dict(zip(score["names"], score["docs"][0]["values"], strict=True))
    assert {row["name"]: row["score"] for row in told["features"]} == pytest.approx(expected)
    assert next(row for row in told["features"] if row["name"] == "cover")["why_missing"] == "no modality"
    assert told["texts"] == {"title": "the red ball", "asr": "here is a ball on the beach"}
    assert told["tokens"]
    unknown = service.post("/v1/explain", json={"query": "red ball", "doc_id": "nobody"}).json()
    missing = {row["name"]: row["why_missing"] for row in unknown["features"]}
    assert {missing[name] for name in ("cover", "perception", "content")} == {"unknown document"}


def test_ids_and_queries_of_any_characters_come_back_as_they_are(client):
    strange = 'a/b c"<script>alert(1)</script>\\?#%2F.mp4'
    for query in (
        "👩‍👩‍👧‍👦",
        "שלום עולם",
        "a\u200bb",
        "x\x00y",
        "<img src=x onerror=alert(1)>",
        "'; drop table --",
        "\u202egnp",
    ):
        told = client().post("/v1/score", json={"query": query, "doc_ids": [strange, "\x00", query]}).json()
        assert [doc["doc_id"] for doc in told["docs"]] == [strange, "\x00", query]
        assert told["docs"][0]["values"][-1] is not None or not query.strip()


def test_two_models_answer_under_their_names(client, service_index, tmp_path, publish_anew):
    other = publish_anew(tmp_path / "index", 7)
    models = {"first": {"index": str(service_index)}, "second": {"index": str(tmp_path / "index"), "recall": None}}
    service = client(models=models)
    assert service.get("/v1/features").json()["default_model"] == "first"
    assert service.get("/readyz").json()["models"]["second"] == other
    asked = {"query": "red ball", "doc_ids": ["d01"]}
    first, second = (service.post("/v1/score", json=asked | {"model": name}).json() for name in models)
    assert second["generation"] == other
    assert first["docs"] != second["docs"]
    assert service.post("/v1/score", json=asked).json()["docs"] == first["docs"]
    assert service.post("/v1/search", json={"query": "red", "model": "second"}).status_code == 404
    assert service.post("/v1/score", json=asked | {"model": "third"}).status_code == 404


def test_features_tell_every_name_with_its_definition(client, service_index):
    told = client().get("/v1/features").json()
    scorer = FeatureScorer.open(service_index)
    (model,) = told["models"]
    definitions = {row["name"]: row["definition"] for row in model["features"]}
    assert definitions == dict(feature_definitions(scorer))
    assert [row["name"] for row in model["features"] if not row["derived"]] == [s["name"] for s in model["spaces"]]
    assert model["default_space"] == "content"
    assert told["limits"] == {"max_query_chars": 1000, "max_doc_ids": 10_000, "max_k": 200}


def test_a_log_line_tells_everything_but_the_query(client, caplog):
    service = client()
    with caplog.at_level(logging.INFO, "serving"):
        asked = {"query": "my secret disease", "doc_ids": ["d01", "nobody"]}
        service.post("/v1/score", json=asked, headers={"X-Request-ID": "abc-1"})
        service.get("/v1/search", params={"q": "my secret disease"})
        client(log_queries=True).get("/v1/search", params={"q": "said aloud"})
    lines = [record.fields for record in caplog.records if record.name == "serving.service.access"]
    assert "secret" not in json.dumps(lines)
    scored = lines[0]
    assert (scored["request_id"], scored["route"], scored["status"]) == ("abc-1", "/v1/score", 200)
    assert (scored["query_chars"], scored["candidates"], scored["unscored"], scored["model"]) == (17, 2, 1, "tiny")
    assert lines[2]["query"] == "said aloud"
