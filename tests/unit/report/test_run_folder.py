"""What a run left behind, good and bad; curves, diagnostics, thumbnails."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import DataError, FormatVersionError
from mmsearch.report.catalogue import Catalogue
from mmsearch.report.curves import MAX_POINTS, Stage, read_curves
from mmsearch.report.diagnostics import Estimate, parse_diagnostics
from mmsearch.report.run_folder import RunFolder
from mmsearch.types import Modality

ONE = {"value": 1.0, "low": None, "high": 2.0}
CHANGE = {"pnr": ONE, "change": ONE, "num_videos": 1}
SHARE = {"share": ONE, "even": 0.5, "by_tokens": None, "num_videos": 1}
FOUND = {
    "format_version": 1, "run_hash": "r", "corpus_hash": "c", "judgments_hash": "j", "num_queries": 1, "num_judged": 2,
    "num_shuffles": 3, "towers": {"zoo": {"teacher": ONE, "student": ONE, "change": ONE}},
    "spaces": {
        "content": {"whole": ONE, "left_out": {"asr": CHANGE, "title": CHANGE}, "shuffled": {}},
        "a": {"whole": ONE, "left_out": {}, "shuffled": {}},
        "cover": {"whole": ONE, "left_out": {}, "shuffled": {}},
    },
}  # fmt: skip


@pytest.fixture
def run(tmp_path):
    (tmp_path / "config.yaml").write_text("data:\n  corpus: some/where\n  videos: null\n")
    return tmp_path


def test_paths_of_the_settings(run):
    folder = RunFolder.open(run)
    assert str(folder.data_path("corpus")) == "some/where"
    assert folder.data_path("videos") is None
    assert folder.data_path("nothing") is None
    for broken in ("data: [", "data: 3", "- 1", "", "data: &a [*a]"):
        (run / "config.yaml").write_text(broken)
        assert RunFolder.open(run).data_path("corpus") is None


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff", b"[" * 100_000, b" " * (5 << 20)])
def test_bad_files_are_refused_by_name(run, content):
    (run / "fingerprints.json").write_bytes(content)
    with pytest.raises(DataError, match=r"fingerprints\.json: "):
        RunFolder.open(run)


def test_curves_leave_out_what_is_none(run, caplog):
    lines = [
        '{"kind": "train", "stage": "a", "total_steps": 10, "loss": 3, "lr": NaN, "odd": "x", "yes": true}',
        '{"kind": "train", "stage": "b", "total_steps": 20, "loss": 2.5}',
        '{"kind": "validation", "stage": "b", "total_steps": 20, "pnr": {"teacher/content": 1.5}}',
        '{"kind": "validation", "stage": "b", "total_steps": 20, "pnr": 7}',
        '{"kind": "train", "stage": "a", "total_steps": 25, "loss": Infinity}',
        '{"kind": "other", "stage": "c", "total_steps": 30}',
        '{"kind": "train", "stage": 3, "total_steps": 30, "loss": 1}',
        "[]",
        '{"kind": "tr',
    ]
    (run / "metrics.jsonl").write_text("\n".join(lines))
    curves = read_curves(RunFolder.open(run).metrics())
    assert curves.stages == (Stage("a", 0, 10), Stage("b", 10, 20), Stage("a", 20, 25))
    assert set(curves.train) == {"loss"}
    assert curves.train["loss"].values == (3.0, 2.5)
    assert curves.validation["teacher/content"].steps == (20,)
    assert "left out: 2" in caplog.text


def test_long_curves_are_thinned_and_keep_their_ends():
    lines = ({"kind": "train", "stage": "a", "total_steps": step, "loss": float(step)} for step in range(1, 5001))
    curve = read_curves(lines).train["loss"]
    assert len(curve.steps) == MAX_POINTS
    assert (curve.steps[0], curve.steps[-1]) == (1, 5000)


def test_diagnostics_come_in_the_order_of_spaces_and_modalities():
    found = parse_diagnostics(FOUND, "d.json")
    assert list(found.spaces) == ["cover", "content", "a"]
    assert list(found.spaces["content"].left_out) == [Modality.TITLE, Modality.ASR]
    assert parse_diagnostics({}, "d.json") is None
    assert parse_diagnostics(json.loads(found.model_dump_json()), "d.json") == found


def test_format_1_had_no_weights_of_the_fusion():
    weights = {"method": "gated_sum", "shares": {"asr": SHARE, "title": SHARE}}
    assert parse_diagnostics(FOUND, "d.json").spaces["content"].weights is None
    spaces = {"content": FOUND["spaces"]["content"] | {"weights": weights}}
    found = parse_diagnostics(FOUND | {"format_version": 2, "spaces": spaces}, "d.json")
    assert list(found.spaces["content"].weights.shares) == [Modality.TITLE, Modality.ASR]
    assert parse_diagnostics(json.loads(found.model_dump_json()), "d.json") == found


def test_estimates_hold_no_number_that_is_not_finite():
    samples = np.array([1.0, 2.0, 3.0, np.nan])
    assert Estimate.of_samples(2.0, samples).model_dump() == {"value": 2.0, "low": 1.05, "high": 2.95}
    assert set(Estimate.of_samples(np.inf, np.full(3, np.nan)).model_dump().values()) == {None}


def test_diagnostics_of_others_are_refused():
    with pytest.raises(FormatVersionError, match="format 3"):
        parse_diagnostics(FOUND | {"format_version": 3, "more": 1}, "d.json")
    with pytest.raises(DataError, match=r"d\.json: num_queries: .*training diagnose"):
        parse_diagnostics(FOUND | {"num_queries": "many"}, "d.json")


def test_thumbnails_are_small_and_drawn_anew(tiny_corpus):
    corpus = PreparedCorpus.open(tiny_corpus)
    catalogue = Catalogue.open(tiny_corpus, None, set(), 8)
    entries = catalogue.entries(["d01", "d00", "gone"])
    scheme, _, data = entries["d01"].cover.partition(",")
    assert scheme == "data:image/jpeg;base64"
    with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        assert picture.size == (8, 8)
    assert base64.b64decode(data) != corpus.read([corpus.row_of["d01"]])[0].cover
    assert (entries["d00"].cover, entries["d00"].frame, entries["gone"].texts) == (None, None, {})
    has = catalogue.modalities(["d01", "d00", "gone"])
    assert set(has) == {"d00", "d01"}
    assert (Modality.COVER in has["d01"], Modality.COVER in has["d00"]) == (True, False)


@pytest.mark.parametrize("data", [b"", b"no picture", b"\xff\xd8\xff\xe0" + b"0" * 50, b"GIF89a" + b"\0" * 50])
def test_damaged_pictures_are_no_pictures(data):
    assert Catalogue(None, {}, 32)._thumbnail(data) is None
