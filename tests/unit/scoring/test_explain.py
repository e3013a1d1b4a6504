"""Explanations: the numbers are those of `score`, and every reason is told apart."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from mmsearch.errors import DeadlineError
from mmsearch.index import ForwardIndex, GenerationWriter
from mmsearch.index.layout import CONTENTS, vectors_file
from mmsearch.protocols import Embedded
from mmsearch.scoring import FeatureScorer, OnnxQueryEncoder, WhyMissing
from mmsearch.types import Modality, Space

DIM = 8
DOC_IDS = [f"v{i}" for i in range(30)]


def reasons(scorer: FeatureScorer, query: str, doc_id: str, **more) -> dict[str, WhyMissing | None]:
    return {feature.name: feature.why_missing for feature in scorer.explain(query, doc_id, **more).features}


@pytest.mark.parametrize("selection", ["max", "min", "mean", "weighted"])
def test_scores_are_those_that_are_served_and_the_weighted_sums_of_their_codes(publish_wide, selection):
    scorer = FeatureScorer.open(publish_wide(selection=selection))
    served = dict(scorer.score("red panda", DOC_IDS).to_rows())
    for doc_id in DOC_IDS:
        told = scorer.explain("red panda", doc_id)
        assert (told.doc_id, told.generation) == (doc_id, scorer.index.generation)
        for feature in told.features:
            expected = served[doc_id][feature.name]
            assert feature.score == (None if expected is None else pytest.approx(expected, abs=1e-6))
            assert (feature.score is None) == (feature.why_missing is not None)
            if feature.score is None or feature.name in ("max_modality", "spread"):
                assert feature.codes == ()
                continue
            assert len(feature.codes) == (3 if feature.name in ("content", "content.poly") else 1)
            total = sum(code.score * code.weight for code in feature.codes)
            assert total == pytest.approx(feature.score, abs=1e-6)
    assert told.features[3].fingerprint == "bb22"
    assert told.features[-1].fingerprint is None


def test_every_reason_is_told_apart(publish_wide, tower):
    folder = publish_wide()
    scorer = FeatureScorer.open(folder)
    assert set(reasons(scorer, "red panda", "nobody").values()) == {WhyMissing.UNKNOWN}
    assert set(reasons(scorer, " ", "v6").values()) == {WhyMissing.SAYS_NOTHING}
    lacking = reasons(scorer, "red panda", "v1")  # the space in the fifth place lacks it
    assert lacking.pop("content.title") is WhyMissing.NO_MODALITY
    assert set(lacking.values()) == {None}
    assert reasons(scorer, "red panda", "v2")["spread"] is WhyMissing.NO_MODALITY, "it has no content"

    with GenerationWriter(folder, scorer.index.spaces, dtype="float32", base=scorer.index.generation) as writer:
        writer.delete(["v6"])
        writer.publish(query_tower=None, source={})
    assert set(reasons(FeatureScorer.open(folder), "red panda", "v6").values()) == {WhyMissing.DELETED}
    assert set(reasons(FeatureScorer.open(folder), "red panda", "nobody").values()) == {WhyMissing.UNKNOWN}


@pytest.mark.parametrize("verify", ["lazy", "none"])
def test_damage_is_told_from_a_missing_modality(publish_wide, verify):
    folder = publish_wide()
    path = folder / "generations" / ForwardIndex.open(folder).generation / vectors_file("content")
    data = bytearray(path.read_bytes())
    data[-4 * 3 * DIM :] = np.full(3 * DIM, np.nan, "<f4").tobytes()  # of the last document
    path.write_bytes(data)
    index = ForwardIndex.open(folder, verify=verify)
    scorer = FeatureScorer(index, OnnxQueryEncoder.open(index.query_tower))
    told = reasons(scorer, "red panda", "v29")
    assert (told["content"], told["content.poly"], told["spread"]) == (WhyMissing.DAMAGED,) * 3
    assert told["cover"] is told["max_modality"] is None


def test_what_a_deadline_cut_off_is_late(publish_wide, monkeypatch):
    scorer = FeatureScorer.open(publish_wide())
    times = iter([0, 0, 0, 0, *[1] * 9])
    monkeypatch.setattr("mmsearch.scoring.deadline.time.monotonic", lambda: next(times))
    told = reasons(scorer, "red panda", "v6", deadline_s=0.5)
    assert [name for name, why in told.items() if why is None] == ["cover", "frames"]
    assert set(told.values()) == {None, WhyMissing.LATE}
    monkeypatch.undo()
    with pytest.raises(DeadlineError):
        scorer.explain("red panda", "v6", deadline_s=0)


def test_of_two_models_each_document_is_explained_by_its_own(publish_wide, tower):
    folder = publish_wide()
    newer = tower.with_name("newer")
    shutil.copytree(tower, newer)
    row = {"name": "content", "dim": DIM, "fingerprint": "new", "output": "query"}
    (newer / "query_tower.json").write_text(json.dumps({"format_version": 2, "max_length": 16, "spaces": [row]}))
    base = ForwardIndex.open(folder).generation
    with GenerationWriter(folder, [Space("content", DIM, "new")], dtype="float32", base=base) as writer:
        content = Embedded(np.eye(DIM, dtype=np.float32)[:1], np.ones(1, bool))
        writer.add(["v6"], {"content": content}, np.ones((1, 8), np.uint64))
        writer.publish(query_tower=newer, source={})
    scorer = FeatureScorer.open(folder)
    new, old = (
        {feature.name: feature for feature in scorer.explain("red panda", doc_id).features} for doc_id in ("v6", "v8")
    )
    assert (new["content"].fingerprint, len(new["content"].codes)) == ("new", 1)
    assert new["content.poly"].score == new["content"].score, "of one code it is the cosine"
    assert new["cover"].why_missing is new["spread"].why_missing is WhyMissing.ANOTHER_MODEL
    assert (old["content"].fingerprint, len(old["content"].codes)) == ("bb22", 3)


def test_modalities_are_those_of_the_hashes_or_of_single_modality_spaces(publish_wide, index_dir, tower):
    folder = publish_wide()
    scorer = FeatureScorer.open(folder)
    assert scorer.explain("x", "v4").modalities == {m: m is not Modality.COVER for m in Modality}
    assert scorer.explain("x", "v5").modalities == dict.fromkeys(Modality, True)
    assert scorer.explain("x", "nobody").modalities is None
    path = folder / "generations" / scorer.index.generation / CONTENTS
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    damaged = FeatureScorer.open(folder)
    assert damaged.explain("x", "v1").modalities == {Modality.TITLE: False, Modality.ASR: True}
    no_hashes = ForwardIndex.open(index_dir)
    assert FeatureScorer(no_hashes, Fixed()).explain("x", "v1").modalities is None


class Fixed:
    """A query encoder of the user's own, which does not tell its tokens."""

    spaces = (Space("content", DIM, "bb22"), Space("cover", DIM, "aa11"))

    def encode(self, queries):
        return {space.name: np.eye(space.dim, dtype=np.float32)[[0] * len(queries)] for space in self.spaces}


def test_tokens_are_what_the_tower_reads(publish_wide, index_dir):
    scorer = FeatureScorer.open(publish_wide())
    told = scorer.explain("ＲＥＤ pan\u200bda 大熊猫", "v1")
    assert "".join(told.tokens) == "redpanda大熊猫"
    assert not told.truncated
    long = scorer.explain("panda " * 100, "v1")
    assert long.truncated
    assert len(long.tokens) == 15, "the start token takes one place of 16"
    assert scorer.explain("", "v1").tokens == ()
    assert not scorer.explain(" " * 10_000, "v1").truncated
    own = FeatureScorer(ForwardIndex.open(index_dir), Fixed()).explain("red", "v0")
    assert (own.tokens, own.truncated) == ((), False)


def test_it_is_plain_json(publish_wide):
    scorer = FeatureScorer.open(publish_wide())
    told = json.loads(json.dumps(scorer.explain("red panda", "v1").to_dict()))
    assert told["modalities"]["title"] is True
    assert told["features"][4] == {
        "name": "content.title",
        "score": None,
        "why_missing": "no modality",
        "fingerprint": "ee55",
        "codes": [],
    }
    assert scorer.explain("red panda", "nobody").to_dict()["features"][0]["why_missing"] == "unknown document"
