"""The record of a run's stages: what is written, what is replaced, who writes."""

import json

from training.lineage import Lineage


def stages(path):
    return json.loads(path.read_text())["stages"]


def test_stages_follow_one_another(tmp_path):
    path = tmp_path / "lineage.json"
    lineage = Lineage(path)
    lineage.begin(0, {"name": "titles", "before": {}})
    assert stages(path) == [{"name": "titles", "before": {}}]
    lineage.end(0, {"after": {"pnr": {"student/cover": 1.5}}})
    lineage.begin(1, {"name": "clicks"})
    assert stages(path) == [
        {"name": "titles", "before": {}, "after": {"pnr": {"student/cover": 1.5}}},
        {"name": "clicks"},
    ]


def test_a_run_that_goes_on_keeps_what_was_known(tmp_path):
    path = tmp_path / "lineage.json"
    first = Lineage(path)
    for number, name in enumerate(("a", "b", "c")):
        first.begin(number, {"name": name})
        first.end(number, {"after": number})
    again = Lineage(path)
    again.begin(1, {"name": "b, anew"})  # what stood after it is not true any more
    again.end(1, {"after": 7})
    assert stages(path) == [{"name": "a", "after": 0}, {"name": "b, anew", "after": 7}]


def test_one_process_writes(tmp_path):
    other = Lineage(tmp_path / "lineage.json", rank=1)
    other.begin(0, {"name": "a"})
    other.end(0, {"after": 1})
    assert list(tmp_path.iterdir()) == []


def test_a_removed_file_stops_nobody(tmp_path):
    path = tmp_path / "lineage.json"
    Lineage(path).end(2, {"after": 1})
    assert stages(path) == [{}, {}, {"after": 1}]
