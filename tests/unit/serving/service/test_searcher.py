"""Search by faiss indexes, which are of one generation: what is done where one is wanting."""

import time

from mmsearch.index.recall.build import build_ann
from mmsearch.index.recall.settings import AnnSettings
from mmsearch.scoring import FeatureScorer
from serving.service.recall import Searcher

HNSW = AnnSettings.model_validate({"structure": {"type": "hnsw"}})
EXACT_INSTEAD = 'mmsearch_search_exact_instead{model="m"} '


def until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_generation_without_a_faiss_index_is_searched_exactly_until_one_is_built(
    client, tmp_path, publish_anew, caplog
):
    index = tmp_path / "index"
    publish_anew(index, 1)
    build_ann(index, HNSW)
    service = client(models={"m": {"index": str(index), "recall": "hnsw"}}, check_every_s=60)
    model = service.models.named("m")
    assert not model.searcher.is_stopgap
    second = publish_anew(index, 2)
    model.live.check()
    for space in ("content", "perception", "content"):
        answer = service.get("/v1/search", params={"q": "red ball", "k": 5, "space": space})
        exact = Searcher(index, "exact").find(FeatureScorer.open(index), "red ball", space, 5)
        assert answer.json()["generation"] == second
        assert [doc["doc_id"] for doc in answer.json()["docs"]] == exact
    warned = [record for record in caplog.records if "is searched exactly" in record.getMessage()]
    assert len(warned) == 1
    assert "mmsearch index ann" in warned[0].getMessage()
    assert EXACT_INSTEAD + "1.0" in service.get("/metrics").text
    assert service.get("/readyz").is_success
    build_ann(index, HNSW)
    service.service.ops.observe()
    until(lambda: not model.searcher.is_stopgap)
    assert service.get("/v1/search", params={"q": "red ball"}).json()["docs"]
    assert EXACT_INSTEAD + "0.0" in service.get("/metrics").text


def test_a_damaged_faiss_index_is_searched_around_and_not_opened_again_and_again(tmp_path, publish_anew):
    index = tmp_path / "index"
    publish_anew(index, 1)
    build_ann(index, HNSW)
    for path in (index / "ann").rglob("*.faiss"):
        path.write_bytes(b"damaged")
    scorer, searcher = FeatureScorer.open(index), Searcher(index, "hnsw")
    assert searcher.find(scorer, "red ball", "content", 5) == Searcher(index, "exact").find(
        scorer, "red ball", "content", 5
    )
    held = searcher._search
    searcher.renew(scorer)
    assert searcher.is_stopgap
    assert searcher._search is held
