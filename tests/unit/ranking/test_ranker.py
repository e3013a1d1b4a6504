"""A final ranker: fitted, written, read, refused where it does not belong."""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from lightgbm import Booster

from mmsearch.errors import (
    ConfigError,
    DataError,
    FingerprintError,
    FormatVersionError,
    IntegrityError,
    MissingExtraError,
)
from mmsearch.ranking import FinalRanker, RankSettings, Sources, fit, render, write_ranker
from mmsearch.ranking.ranker import RankedSpace
from mmsearch.scoring import FeatureScorer

QUICK = RankSettings(max_rounds=25, patience=10, num_seeds=2, min_docs_per_leaf=5, resamples=100)


@pytest.fixture(scope="module")
def fitted(world):
    sources = Sources(world / "index", world / "train.jsonl", world / "val.jsonl", world / "test.jsonl")
    return fit(sources, QUICK)


@pytest.fixture
def folder(fitted, tmp_path):
    write_ranker(tmp_path / "ranker", fitted.told, fitted.text, render(fitted, "ranker"))
    return tmp_path / "ranker"


@pytest.fixture(scope="module")
def scorer(world):
    return FeatureScorer.open(world / "index")


def pnr_of(fitted, name):
    return fitted.told.figures["rankers"][name]["pnr"]["value"]


def test_it_shows_what_each_feature_adds(fitted):
    assert fitted.baseline == ("content.title",)
    assert fitted.told.features == ("cover", "content", "content.title", "content.frames", "max_modality")
    assert fitted.told.derived == {"max_modality": ("content.title", "content.frames")}
    assert pnr_of(fitted, "baseline + content") > 1.5 * pnr_of(fitted, "baseline")
    assert pnr_of(fitted, "baseline + cover") < 1.2 * pnr_of(fitted, "baseline")
    whole = {(one.a, one.b): one for one in fitted.contrasts}
    assert whole["all", "baseline"].is_significant
    assert whole["all", "baseline"].difference == pytest.approx(pnr_of(fitted, "all") - pnr_of(fitted, "baseline"))
    assert whole["all", "baseline"].interval.low <= whole["all", "baseline"].difference
    assert whole["baseline + content", "baseline"].is_significant
    assert whole["baseline + cover", "baseline"].difference < 0.3
    assert max(fitted.told.shares, key=fitted.told.shares.get) == "content"
    assert sum(fitted.told.shares.values()) == pytest.approx(1)
    assert fitted.told.counts["measured_queries"] == 16
    assert [note.partition(" fits")[0] for note in fitted.notes] == ["figures are means over 2"]


def test_what_is_read_scores_as_what_was_fitted(folder, fitted, scorer):
    ranker = FinalRanker.load(folder)
    ranker.check(scorer)
    assert ranker.told == fitted.told
    features = scorer.score("aax0", [f"d00{i}" for i in range(10)] + ["unknown"])
    values = np.where(features.missing, np.nan, features.values).astype(np.float64)
    order = [features.names.index(name) for name in fitted.told.features]
    plain = Booster(model_file=folder / "model.txt")
    assert plain.feature_name() == list(fitted.told.features)
    scores = ranker.score(features)
    nothing = features.missing.all(axis=1)
    assert nothing.tolist() == [i in (3, 10) for i in range(11)]  # the fourth has no vectors, the last is unknown
    given = values[~nothing][:, order]
    assert np.array_equal(scores[~nothing], fitted.told.linear.score(given) + plain.predict(given))
    assert np.isnan(scores[nothing]).all()
    assert np.isnan(ranker.score(scorer.score("", ["d000"]))).all()
    assert ranker.score(scorer.score("aax0", [])).shape == (0,)


def test_another_model_and_absent_features_are_refused(folder, world, other_index, scorer):
    ranker = FinalRanker.load(folder)
    told = "space 'content': .* was fitted on vectors with fingerprint content1, generation .* has content2"
    with pytest.raises(FingerprintError, match=told):
        ranker.check(FeatureScorer.open(other_index))
    with pytest.raises(DataError, match=r"that generation .* lacks: max_modality; refresh the index"):
        ranker.check(FeatureScorer.open(world / "index", derived=False))
    made = ranker.told.model_copy(update={"derived": {"max_modality": ("content.title", "content.asr")}})
    with pytest.raises(DataError, match=r"that generation .* makes of other spaces: max_modality; refresh"):
        FinalRanker(made, None).check(scorer)
    short = scorer.score("aax0", ["d000"])
    with pytest.raises(DataError, match="there is no feature"):
        ranker.score(type(short)(short.doc_ids, short.names[1:], short.values[:, 1:], short.missing[:, 1:]))


def test_codes_that_are_scored_in_another_way_are_refused(fitted, scorer):
    codes = fitted.told.spaces[0].model_copy(update={"num_codes": 5})
    ranker = FinalRanker(fitted.told.model_copy(update={"spaces": (codes,)}), None)
    told = re.escape(f"space '{codes.name}': the ranker was fitted on scores of 5 codes, max, sharpness 10, generation")
    with pytest.raises(FingerprintError, match=rf"{told} .* has one vector"):
        ranker.check(scorer)
    assert RankedSpace(**codes.model_dump() | {"num_codes": 1, "selection": "min"}).scoring == "one vector"


@pytest.mark.parametrize(
    ("file", "old", "new", "error", "told"),
    [
        ("model.txt", "Tree=0", "Tree=1", IntegrityError, "is not the file that was written; fit the ranker again"),
        ("ranker.json", '"format_version": 1', '"format_version": 2', FormatVersionError, "install a newer mmsearch"),
        ("ranker.json", '"shares"', '"share"', IntegrityError, "shares: Field required"),
        ("ranker.json", "{", "", IntegrityError, "Invalid JSON"),
    ],
)
def test_changed_files_are_refused(folder, file, old, new, error, told):
    text = (folder / file).read_text()
    (folder / file).write_text(text.replace(old, new, 1))
    with pytest.raises(error, match=told):
        FinalRanker.load(folder)


def test_what_is_there_is_neither_read_nor_overwritten_in_part(fitted, folder, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="is there already"):
        write_ranker(folder, fitted.told, fitted.text, "")
    (folder / "model.txt").unlink()
    with pytest.raises(DataError, match="give a folder that `mmsearch rank fit` wrote"):
        FinalRanker.load(folder)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mmsearch.ranking.ranker.write_json", full)
    with pytest.raises(DataError, match="cannot be written: No space left on device"):
        write_ranker(tmp_path / "new", fitted.told, fitted.text, "")
    assert [path.name for path in tmp_path.iterdir()] == ["ranker"]


def test_without_lightgbm_it_says_what_to_install(world, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mmsearch\[rank\]'"):
        FinalRanker.load(folder)
    with pytest.raises(MissingExtraError, match=r"pip install 'mmsearch\[rank\]'"):
        fit(Sources(world / "index", world / "nowhere.jsonl"), QUICK)


def test_the_same_sources_give_the_same_ranker(world, fitted):
    sources = Sources(world / "index", world / "train.jsonl", world / "val.jsonl", world / "test.jsonl")
    again = fit(sources, QUICK.model_copy(update={"compare": False}))
    assert again.text == fitted.text
    assert list(again.told.figures["rankers"]) == ["all", "content alone"]
    assert again.told.figures["rankers"]["all"] == fitted.told.figures["rankers"]["all"]


def test_without_tables_of_their_own_validation_and_figures_come_from_held_back_queries(world):
    chosen = QUICK.model_copy(update={"features": ("cover",), "num_seeds": 1})
    done = fit(Sources(world / "index", world / "train.jsonl"), chosen)
    counts = done.told.counts
    assert counts["train_queries"] + counts["validation_queries"] == 22
    assert 0 < counts["validation_queries"] == counts["measured_queries"]
    assert "the queries that also chose the number of trees" in done.notes[0]
    assert pnr_of(done, "baseline") == 1  # of nothing: all videos level
    assert [space.name for space in done.told.spaces] == ["cover"]  # other spaces may change


def test_queries_that_were_learned_from_are_told(world):
    chosen = QUICK.model_copy(update={"compare": False, "num_seeds": 1})
    done = fit(Sources(world / "index", world / "train.jsonl", world / "val.jsonl", world / "train.jsonl"), chosen)
    told = "22 of the 22 queries of the test grades were learned from as well: for queries that nobody has graded, "
    advice = "split the judgments of the ranker by query, not by video"
    assert f"{told}the figures may be too good; {advice}" in done.notes


def test_the_users_columns_are_the_baseline(world):
    chosen = QUICK.model_copy(update={"num_seeds": 1, "features": ("content",)})
    done = fit(Sources(world / "index", *(world / f"{n}.jsonl" for n in ("train", "val", "test", "bm25"))), chosen)
    assert (done.told.features, done.told.columns, done.baseline) == (("content",), ("bm25",), ("bm25",))
    assert pnr_of(done, "all") > pnr_of(done, "baseline") > 1
    assert set(done.told.figures["rankers"]) == {"all", "baseline", "content alone"}
    with pytest.raises(ConfigError, match="column 'cover': a feature of the index has this name"):
        fit(
            Sources(world / "index", world / "train.jsonl", columns=renamed(world, "cover")),
            QUICK,
        )


def renamed(world, name):
    path = world / f"{name}_columns.jsonl"
    rows = [json.loads(line) for line in (world / "bm25.jsonl").read_text().splitlines()]
    path.write_text("".join(json.dumps({name if k == "bm25" else k: v for k, v in r.items()}) + "\n" for r in rows))
    return path


class Page(HTMLParser):
    """Notes the elements of a page and whether they are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.names = [], []
        self.feed(text)

    def handle_starttag(self, name, attrs):
        self.names.append(name)
        if name not in ("meta", "link"):
            self.open.append(name)

    def handle_endtag(self, name):
        assert self.open.pop() == name


def test_the_page_is_whole_and_shows_names_as_text(fitted):
    text = render(fitted, "<script>alert(1)</script>")
    page = Page(text)
    assert page.open == []
    assert "script" not in page.names
    assert page.names.count("svg") == 5
    assert page.names.count("section") == 4
    assert "Content-Security-Policy" in text
    assert "baseline + content" in text


def test_the_lines_of_the_howto_run_as_they_stand_there(world, folder, capsys):
    page = (Path(__file__).parents[3] / "docs" / "howto" / "final-ranker.md").read_text(encoding="utf-8")
    code, _ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (formula,) = re.findall(r"\n    score = (.*)\n", page)
    mine = {"runs/demo/index": world / "index", "runs/demo/ranker": folder, "red panda": "aax0"}
    for theirs, own in (mine | {"v00001": "d000", "v00002": "d002"}).items():
        assert theirs in code
        code = code.replace(theirs, str(own))
    names: dict = {}
    exec(code, names)
    ranker, scores = names["ranker"], names["ranker"].score(names["features"])
    assert capsys.readouterr().out == f"{dict(zip(('d000', 'd002'), scores, strict=True))}\n"
    linear = ranker.told.linear
    given = {name: np.array(getattr(linear, name)) for name in ("weights", "means", "deviations")}
    x = np.stack([names["features"].column(name)[0] for name in ranker.told.features], axis=1, dtype=np.float64)
    booster = Booster(model_file=folder / "model.txt")
    total = formula.replace("sum(", "np.sum(").replace("where(", "np.where(").replace("isnan(", "np.isnan(")
    one_by_one = [eval(total, given | {"np": np, "booster": One(booster), "x": row}) for row in x]
    np.testing.assert_allclose(one_by_one, scores)


class One:
    """A booster that takes one row."""

    def __init__(self, booster):
        self.booster = booster

    def predict(self, row):
        return self.booster.predict(row[None])[0]
