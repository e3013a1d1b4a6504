"""Plans, statistics and tables of comparisons, on metrics that are written by hand; scipy is the oracle."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file
from scipy import stats

from mmsearch.config import Settings, load_settings
from mmsearch.errors import ConfigError, DataError
from training.comparison import student_t, tables
from training.comparison.plan import make_variants, parse_varied, refuse_own
from training.comparison.results import Outcome, read_outcome
from training.comparison.runs import Run, environments
from training.comparison.summary import metrics_of, summarise


def outcomes(ratio=True, **values):
    """Outcomes of one figure `m` by variant: a list of values, seeds from 0; None = the run failed."""
    ratios = frozenset(["m"]) if ratio else frozenset()
    return {
        label: {seed: Outcome({"m": v}, ratios, 1.5, 10) for seed, v in enumerate(found) if v is not None}
        for label, found in values.items()
    }


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a.b=1,2,3", ("1", "2", "3")),
        ("a.b=1e-3, 2e-3", ("1e-3", "2e-3")),
        ("a.b=[1, 2],[3]", ("[1, 2]", "[3]")),
        ("a.b={width: 96, depth: 2},null", ("{width: 96, depth: 2}", "null")),
        ('a.b="x, y",z', ('"x, y"', "z")),
        ("a.b=true", ("true",)),
    ],
)
def test_values_are_yaml_and_stay_as_written(text, values):
    assert parse_varied(text).values == values


@pytest.mark.parametrize("text", ["a.b", "=1", "a=", "a=1,,2", "a=1,1", "a=[1", "a=1]", "run.seed=1,2", "run.dir=a,b"])
def test_what_cannot_be_varied_is_refused(text):
    with pytest.raises(ConfigError, match=text.split("=")[0] or "dotted"):
        parse_varied(text)


def test_variants_are_all_combinations_first_values_first():
    found = make_variants([parse_varied("stages.0.steps=1,2"), parse_varied("model.fusion.type=a,b")])
    assert [one.label for one in found] == [
        "steps=1, type=a",
        "steps=1, type=b",
        "steps=2, type=a",
        "steps=2, type=b",
    ]
    assert found[3].overrides == ("stages.0.steps=2", "model.fusion.type=b")
    assert found[3].folder == "stages.0.steps=2,model.fusion.type=b"


def test_labels_tell_keys_apart():
    keys = ["stages.0.steps=1", "stages.1.steps=1", "model.dim=1", "model.teacher.dim=1", "lengths.0=1"]
    (found,) = make_variants([parse_varied(key) for key in keys])
    assert found.label == "stages.0.steps=1, stages.1.steps=1, model.dim=1, teacher.dim=1, lengths.0=1"


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1, max_size=200), min_size=2, max_size=2, unique=True))
def test_folder_names_are_safe_and_tell_values_apart(values):
    found = make_variants([parse_varied("a=" + ",".join(json.dumps(value) for value in values))])
    folders = [one.folder for one in found]
    assert len(set(folders)) == 2
    assert all(len(name) <= 120 and name.isascii() and "/" not in name and name[0] not in ".-" for name in folders)


def test_values_reach_the_settings_as_they_are_meant():
    class Wanted(Settings):
        rate: float = 0.0
        sizes: list[int] = []

    varied = [parse_varied("rate=1e-3,2e-3"), parse_varied("sizes=[1, 2],[3]")]
    found = [load_settings(Wanted, None, one.overrides) for one in make_variants(varied)]
    assert [(one.rate, one.sizes) for one in found] == [
        (1e-3, [1, 2]),
        (1e-3, [3]),
        (2e-3, [1, 2]),
        (2e-3, [3]),
    ]


def test_nothing_varied_or_twice_is_refused():
    with pytest.raises(ConfigError, match="nothing is varied"):
        make_variants([])
    with pytest.raises(ConfigError, match="varied twice"):
        make_variants([parse_varied("a=1"), parse_varied("a=2")])
    with pytest.raises(ConfigError, match=r"run\.dir .* --out"):
        refuse_own(["data.x=1", "run.dir=here"])


@given(st.integers(1, 200), st.floats(0, 50))
def test_the_t_distribution_is_that_of_scipy(df, t):
    assert student_t.p_value(t, df) == pytest.approx(2 * stats.t.sf(t, df), rel=1e-6, abs=1e-13)
    assert student_t.p_value(-t, df) == student_t.p_value(t, df)


@pytest.mark.parametrize("df", [1, 2, 3, 4, 9, 60])
def test_quantiles_are_those_of_scipy(df):
    assert student_t.quantile(0.95, df) == pytest.approx(stats.t.ppf(0.975, df), rel=1e-9)


@pytest.mark.parametrize("num_pairs", [2, 3, 4, 5, 10, 40])
def test_a_detectable_difference_is_found_four_times_in_five(num_pairs):
    least, df = student_t.detectable(2.0, num_pairs), num_pairs - 1
    shift, bound = least / 2.0 * math.sqrt(num_pairs), stats.t.ppf(0.975, df)
    power = stats.nct.sf(bound, df, shift) + stats.nct.cdf(-bound, df, shift)
    assert power == pytest.approx(0.8, abs=1e-3)
    assert math.isnan(student_t.detectable(2.0, 1))


def test_a_summary_is_what_scipy_says():
    base, other, third = [0.5, 0.53, 0.47, 0.52], [0.61, 0.6, 0.55, 0.66], [0.52, 0.5, 0.49, 0.5]
    found = summarise(outcomes(ratio=False, base=base, other=other, third=third), "m")
    low, high = stats.t.interval(0.95, 3, np.mean(base), stats.sem(base))
    assert found.estimates["base"].value == pytest.approx(np.mean(base))
    assert found.estimates["base"].interval.low == pytest.approx(low)
    assert found.estimates["base"].interval.high == pytest.approx(high)
    tests = {name: stats.ttest_rel(values, base) for name, values in (("other", other), ("third", third))}
    for name, test in tests.items():
        one, interval = found.differences[name], test.confidence_interval(0.95)
        assert one.p_value == pytest.approx(test.pvalue)
        assert (one.interval.low, one.interval.high) == pytest.approx((interval.low, interval.high))
    assert found.differences["other"].p_holm == pytest.approx(2 * tests["other"].pvalue)
    assert found.differences["third"].p_holm == pytest.approx(tests["third"].pvalue)
    assert [one.verdict for one in found.differences.values()] == ["higher", "no difference seen"]


def test_ratios_are_compared_by_their_logarithms():
    base, other = [1.5, 1.6, 1.4], [3.0, 3.3, 2.7]
    found = summarise(outcomes(base=base, other=other), "m")
    test = stats.ttest_rel(np.log(other), np.log(base))
    interval = test.confidence_interval(0.95)
    assert found.estimates["base"].value == pytest.approx(stats.gmean(base))
    one = found.differences["other"]
    assert one.value == pytest.approx(stats.gmean(other) / stats.gmean(base))
    assert (one.interval.low, one.interval.high) == pytest.approx((math.exp(interval.low), math.exp(interval.high)))
    assert one.p_value == pytest.approx(test.pvalue)
    assert one.verdict == "higher"
    swapped = summarise(outcomes(other=other, base=base), "m").differences["base"]
    assert swapped.value == pytest.approx(1 / one.value)
    assert swapped.verdict == "lower"


def test_only_seeds_that_both_have_are_paired():
    found = summarise(outcomes(ratio=False, base=[1.0, 2.0, 3.0], other=[None, 2.5, 3.7]), "m")
    assert found.differences["other"].num_pairs == 2
    assert found.differences["other"].value == pytest.approx(0.6)
    assert found.estimates["base"].num_seeds == 3


def test_what_is_not_finite_is_left_out():
    found = summarise(outcomes(base=[1.0, math.inf, 2.0, 0.0], other=[2.0, 1.0, math.nan, 1.0]), "m")
    assert found.estimates["base"].num_seeds == 2
    assert found.differences["other"].num_pairs == 1
    assert found.differences["other"].verdict == "too few seeds"


def test_equal_differences_have_no_width():
    found = summarise(outcomes(ratio=False, base=[1.0, 2.0, 3.0], same=[1.0, 2.0, 3.0], more=[1.1, 2.1, 3.1]), "m")
    same, more = found.differences["same"], found.differences["more"]
    assert (same.p_value, same.verdict) == (1.0, "no difference seen")
    assert (more.p_value, more.verdict) == (0.0, "higher")
    assert more.interval.high - more.interval.low < 1e-9


def test_a_variant_without_any_run_is_told():
    found = summarise(outcomes(base=[1.5, 1.6], other=[None, None]), "m")
    head, rows = tables.main_table(found, outcomes(base=[1.5, 1.6], other=[None, None]), 2)
    assert len(head) == len(rows[0]) == len(rows[1])
    assert rows[1][:2] == ["other", "–"]
    assert "0 of 2" in rows[1]
    assert json.loads(json.dumps(tables.summary_json(found), allow_nan=False))["variants"]["other"]["mean"] is None


def test_tables_say_what_was_found():
    runs = outcomes(base=[1.5, 1.6, 1.4], other=[3.0, 3.3, 2.7], third=[1.51, 1.58, 1.42])
    found = summarise(runs, "m")
    head, rows = tables.main_table(found, runs, 3)
    text = tables.markdown(head, rows)
    assert len({line.count("|") for line in text.splitlines()}) == 1
    assert text.splitlines()[2].startswith("| base | 1.4978 | 1.2688 … 1.7680 |")
    assert "× 1.996" in rows[1]
    assert rows[2][8] == "no difference seen"
    assert rows[0][-3:] == ["3 of 3", "1.5", "10"]
    lines = tables.notes(found, 3)
    assert "geometric" in lines[0]
    assert "measured by the grades that chose them" in lines[2]
    assert "3 seeds show a true difference of × 1.0" in lines[-1]


def written(tmp_path, lines):
    (variant,) = make_variants([parse_varied("a=1")])
    run = Run(variant, 0, tmp_path / "a=1" / "seed-0")
    run.folder.mkdir(parents=True)
    (run.folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run


def line(kind, stage, step, **values):
    return {"kind": kind, "stage": stage, "total_steps": step, **values}


def test_the_last_validation_of_the_last_stage_is_read(tmp_path):
    run = written(
        tmp_path,
        [
            line("validation", "titles", 5, pnr={"student/content": 9.0}),
            line("validation", "clicks", 8, pnr={"student/content": 8.0}),
            line("validation", "clicks", 10, pnr={"student/content": 1.25}, ndcg={"student/content": 0.5}),
            line("train", "clicks", 10, loss=2.0),
        ],
    )
    save_file({"a": np.zeros((3, 4), np.float32), "b": np.zeros(5, np.float16)}, run.folder / "model.safetensors")
    run.record.write_text('{"exit_code": 0, "seconds": 90}')
    found = read_outcome(run)
    assert found.values == {"student/content": 1.25, "ndcg/student/content": 0.5}
    assert found.ratios == {"student/content"}
    assert (found.minutes, found.parameters) == (1.5, 17)
    assert metrics_of({"v": {0: found}}) == ["student/content", "ndcg/student/content"]


def test_the_validation_of_the_weights_that_were_kept_is_read(tmp_path):
    run = written(
        tmp_path,
        [
            line("validation", "titles", 5, best=True, pnr={"a/b": 9.0}),
            line("validation", "clicks", 6, best=True, pnr={"a/b": 2.0}, pair_pnr={"a/b": 3.0}),
            line("validation", "clicks", 7, best=True, pnr={"a/b": 2.5}, pair_pnr={"a/b": 3.5}, recall={"a/b": 0.5}),
            line("validation", "clicks", 8, pnr={"a/b": 1.5}),
        ],
    )
    found = read_outcome(run)
    assert found.values == {"a/b": 2.5, "pair_pnr/a/b": 3.5, "recall/a/b": 0.5}
    assert found.ratios == {"a/b", "pair_pnr/a/b"}


def test_without_a_model_or_record_the_costs_are_unknown(tmp_path):
    found = read_outcome(written(tmp_path, [line("validation", "clicks", 1, pnr={"a/b": 2.0})]))
    assert (found.minutes, found.parameters) == (None, None)


def test_a_last_stage_without_validation_is_refused(tmp_path):
    run = written(tmp_path, [line("validation", "titles", 5, pnr={"a/b": 9.0}), line("train", "clicks", 6, loss=1.0)])
    with pytest.raises(DataError, match=r"metrics\.jsonl: no validation in its last stage"):
        read_outcome(run)


def test_jobs_share_threads_and_take_a_gpu_each(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    found = environments(3)
    assert [one["CUDA_VISIBLE_DEVICES"] for one in found] == ["2", "5", "2"]
    assert {one["OMP_NUM_THREADS"] for one in found} == {"5"}
    (alone,) = environments(1)
    assert alone["CUDA_VISIBLE_DEVICES"] == "2,5"
    assert "OMP_NUM_THREADS" not in alone
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert environments(8)[0]["OMP_NUM_THREADS"] == "1"
