"""The verb `report`, from its inputs to the page and its numbers."""

import html.parser
import json
import re

import pytest
from typer.testing import CliRunner

from mmsearch.cli.main import app
from mmsearch.errors import ConfigError, DataError

SECTIONS = {
    "ranking", "groups", "grades", "presence", "alone", "ablation", "training", "towers", "scores", "reliability",
    "examples", "cost", "lineage",
}  # fmt: skip
#: All that a page may be made of; the attributes of a script or a link to elsewhere are not among them.
URLS = {"src", "href", "srcset", "action", "formaction", "data", "poster", "xlink:href", "background"}


class Page(html.parser.HTMLParser):
    """Elements, attributes, anchors and unbalanced tags of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.ids, self.open, self.text = [], [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        self.ids |= {value for name, value in attrs if name == "id"}
        if tag not in ("meta", "link", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def report(hostile, *arguments):
    out = hostile / "report.html"
    words = ["report", hostile / "run", "--out", out, *arguments]
    result = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert result.exit_code == 0
    return out.read_text(encoding="utf-8"), result.stdout


def places(hostile):
    return ["--index", hostile / "index", "--judgments", hostile / "judgments.jsonl"]


def test_page_holds_every_section_and_no_foreign_markup(hostile):
    text, printed = report(hostile, *places(hostile), "resamples=100", "num_examples=2")
    page = Page(text)
    assert page.open == []
    assert page.ids >= SECTIONS
    assert not {"script", "iframe", "object", "embed", "form", "base"} & set(page.tags)
    assert [name for name, _ in page.attributes if name.startswith("on") or name == "style"] == []
    urls = [value for name, value in page.attributes if name in URLS]
    assert [url for url in urls if not url.startswith(("data:image/", "#"))] == []
    assert {url[1:] for url in urls if url.startswith("#")} == SECTIONS | {"sections"}
    assert any(url.startswith("data:image/jpeg;base64,") for url in urls)
    assert "\u202e" not in text
    assert "red panda <script>document.title" in "".join(page.text)  # shown as it is
    assert re.search(r"report\.html\t[\d,]+ bytes", printed)


def test_policy_names_the_hash_of_the_one_style_sheet(hostile):
    import base64
    import hashlib

    text, _ = report(hostile)
    (policy,) = (v for n, v in Page(text).attributes if n == "content" and "default-src" in v)
    (style,) = re.findall("<style>(.*?)</style>", text, re.S)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_numbers_are_those_of_evaluate(hostile):
    _, printed = report(hostile, *places(hostile), "--json", "seed=5", "resamples=200")
    graded = json.loads(printed)["graded"]
    words = ["evaluate", *places(hostile), "--json", "--seed", 5, "--resamples", 200, "--by", "grade"]
    result = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    features = json.loads(result.stdout)["features"]
    assert {one["name"]: one["pnr"] for one in graded["measured"]} == {n: one["pnr"] for n, one in features.items()}
    by_grade = {one["name"]: one["value"] for one in graded["measured"][0]["by_grade"]}
    assert by_grade == {name: one["value"] for name, one in features["cover"]["by_grade"].items()}
    assert graded["num_unknown"] == 1
    assert graded["mains"] == ["cover", "frames", "perception", "content"]
    for feature, groups in graded["groups"].items():
        whole = {key: groups[0][key] for key in ("concordant", "discordant", "tied")}
        assert whole == {key: features[feature]["pnr"][key] for key in whole}
        tongues = [one for one in groups if one["name"] in ("zh", "en", "other")]
        assert {key: sum(one[key] for one in tongues) for key in whole} == whole
        parts = [one for one in graded["presence"][feature] if one["name"].startswith("title: ")]
        assert {key: sum(one[key] for one in parts) for key in whole} == whole


def test_another_index_joins_the_comparison(hostile, other_index):
    text, printed = report(
        hostile, *places(hostile), "--against", other_index, "--json", "against_label=old", "num_examples=2"
    )
    graded = json.loads(printed)["graded"]
    own = ["cover", "frames", "perception", "content"]
    assert graded["mains"] == [*own, "old:perception", "old:content"]
    words = ["evaluate", "--index", other_index, *places(hostile)[2:], "--json", "--resamples", 1000]
    features = json.loads(CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False).stdout)["features"]
    there = {one["name"]: one for one in graded["measured"]}
    assert {n: there[f"old:{n}"]["pnr"] for n in ("perception", "content")} == {
        n: f["pnr"] for n, f in features.items()
    }
    gone = there["old:content"]["oddities"]["not_in_index"] - there["content"]["oddities"]["not_in_index"]
    assert gone == 4 * 3  # of every query, the three videos that it lacks
    assert {(one["a"], one["b"]) for one in graded["contrasts"]} == {
        (name, "old:content") for name in [*own, "old:perception"]
    }
    wins = graded["wins"]
    assert (wins["baseline"], wins["challenger"]) == ("old:content", "content")
    assert wins["num_better"] + wins["num_worse"] > 0
    seen = "".join(Page(text).text)
    assert "content against old:content: it orders more pairs rightly" in seen
    assert "by old:content" in seen
    assert f"old: {other_index}, generation " in seen


def test_the_tile_says_what_the_table_says(hostile):
    text, printed = report(hostile, *places(hostile), "--json")
    disk = json.loads(printed)["graded"]["storage"]
    taken = sum(space["bytes_per_video"] for space in disk["spaces"]) + disk["ids_per_video"]
    assert f"<dd>{taken:.1f} bytes</dd><dt>a video in {len(disk['spaces'])} spaces, with its id</dt>" in text
    row = text[text.index(">all</th>") :]
    assert f">{taken:.1f}</td>" in row[: row.index("</tr>")]


def test_a_p_value_is_called_the_same_everywhere(hostile):
    text, printed = report(hostile, *places(hostile), "--json")
    graded = json.loads(printed)["graded"]
    pair = (graded["wins"]["challenger"], graded["wins"]["baseline"])
    (one,) = (found for found in graded["contrasts"] if (found["a"], found["b"]) == pair)
    assert (len(graded["contrasts"]), one["family_size"]) == (6, 6)
    seen = "".join(Page(text).text)
    assert f"luck: p\u00a0(Holm)\u00a0{one['p_holm']:.3f}." in seen
    assert "6 comparisons at once (all pairs of 4)" in seen


def test_grades_without_a_pair_have_no_best_feature(hostile, tmp_path):
    rows = [json.loads(row) for row in (hostile / "judgments.jsonl").read_text(encoding="utf-8").splitlines()]
    path = tmp_path / "alike.jsonl"
    path.write_text("".join(json.dumps(row | {"grade": 1}) + "\n" for row in rows), encoding="utf-8")
    text, _ = report(hostile, "--index", hostile / "index", "--judgments", path)
    assert "There is no PNR" in text
    assert "ranks best" not in text


def test_lineage_tells_what_does_not_belong_together(hostile, tmp_path):
    _, printed = report(hostile, *places(hostile), "--json")
    assert [check["holds"] for check in json.loads(printed)["lineage"]["checks"]] == [True, True, True]
    other = tmp_path / "run"
    other.mkdir()
    (other / "config.yaml").write_text((hostile / "run" / "config.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (other / "fingerprints.json").write_text('{"run_hash": "x", "spaces": {"content": "another model"}}')
    words = ["report", other, "--out", tmp_path / "r.html", *places(hostile)]
    for spaces in ('{"content": "another model"}', '{"of": "no space of the index"}'):
        (other / "fingerprints.json").write_text(f'{{"run_hash": "x", "spaces": {spaces}}}')
        done = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
        assert "Not so: the index holds vectors of this run" in (tmp_path / "r.html").read_text(encoding="utf-8")
        assert "not so: the index holds vectors of this run's model" in " ".join(done.stderr.split())


def test_run_alone_is_shown_without_an_index(hostile):
    text, printed = report(hostile, "--json")
    assert json.loads(printed)["graded"] is None
    assert Page(text).ids == {"ranking", "ablation", "training", "towers", "lineage", "sections"}
    assert "Nothing was measured" in text


def test_videos_table_stands_in_for_the_corpus(hostile, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("data: {corpus: /nowhere/at/all}\n")
    words = ["report", run, "--out", tmp_path / "r.html", *places(hostile), "--videos", hostile / "videos.jsonl"]
    CliRunner().invoke(app, [*map(str, words), "--json"], catch_exceptions=False)
    page = Page((tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "With and without each modality" in "".join(page.text)
    assert "img" not in page.tags
    assert "红色小球" in "".join(page.text)


def test_judgments_of_other_videos_are_refused(hostile, tmp_path):
    path = tmp_path / "others.jsonl"
    path.write_text('{"query": "red", "doc_id": "nope", "grade": 1}\n')
    with pytest.raises(DataError, match=r"others.jsonl: none of its 1 judged videos is in the index"):
        report(hostile, "--index", hostile / "index", "--judgments", path)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--index", "i"], ConfigError, "give both --index and --judgments"),
        (["--against", "i"], ConfigError, "--against compares with --index"),
        (["--index", "INDEX", "--judgments", "JUDGMENTS", "challenger=smell"], ConfigError, "no feature 'smell'"),
        (
            ["--index", "INDEX", "--judgments", "JUDGMENTS", "aspect=taste"],
            DataError,
            "no judgment of the aspect 'taste'",
        ),
    ],
)
def test_what_cannot_be_shown_is_explained(hostile, arguments, error, message):
    real = {"INDEX": hostile / "index", "JUDGMENTS": hostile / "judgments.jsonl"}
    with pytest.raises(error, match=message):
        report(hostile, *(real.get(word, word) for word in arguments))


def test_a_folder_of_no_run_is_refused(tmp_path):
    words = ["report", str(tmp_path), "--out", str(tmp_path / "r.html")]
    with pytest.raises(DataError, match=r"no config\.yaml in it"):
        CliRunner().invoke(app, words, catch_exceptions=False)
    assert not (tmp_path / "r.html").exists()
