"""The page of a comparison that stands in a settings file: what its seeds could have shown, and what variants cost."""

import time

from training.comparison import suite_tables
from training.comparison.cost import Cost, _seconds
from training.comparison.measures import figure
from training.comparison.results import Outcome
from training.comparison.settings import CompareSettings
from training.comparison.suite import Table
from training.comparison.summary import summarise


def outcome(value):
    values = {figure(0.0, way): value for way in ("mean", "codes")}
    return Outcome(values, frozenset(values), None, None)


def table(name, **variants):
    outcomes = {label: {seed: outcome(value) for seed, value in enumerate(own)} for label, own in variants.items()}
    return Table(name, outcomes, dict.fromkeys(outcomes, Cost(1, 1.0, 2.0, 4, 8)))


def test_each_table_says_what_its_own_seeds_could_have_shown():
    tables = [table("fusion", a=[1, 1.1, 1.2], b=[1, 1.2, 1.4]), table("selection", a=[1, 1.1, 1.2], c=[1, 2, 4])]
    settings = CompareSettings(tables={"fusion": {"a": {}}}, judgments="grades.jsonl", missing=[0.0])
    page = suite_tables.page(tables, settings, [])
    lines = [line for line in page.splitlines() if line.startswith("Power: ")]
    assert len(lines) == 2
    for line, other, one in zip(lines, "bc", tables, strict=True):
        least = summarise(one.outcomes, figure(0.0, "mean")).differences[other].detectable
        told = "Power: the least true difference that these seeds show 4 times in 5, 0% missing: "
        assert line.startswith(f"{told}{other} × {least:.3f}; a smaller one")
    assert "column 'detectable'" not in page, "there is no such column"
    alone = suite_tables.page([table("one", a=[1, 2])], settings, [])
    assert "Power" not in alone
    assert "can be tested from two seeds on" in suite_tables.page([table("one", a=[1], b=[2])], settings, [])


def test_what_else_the_machine_does_is_in_no_cost():
    assert _seconds(lambda: time.sleep(0.2)) < 0.1
