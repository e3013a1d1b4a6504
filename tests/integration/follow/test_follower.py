"""Step by step, with a clock of its own: what becomes visible when, and what is read again after what."""

import json

import numpy as np
import pytest

from mmsearch.errors import FingerprintError
from mmsearch.index import ForwardIndex, GenerationWriter

TITLES = {f"v{number}": f"title {number}" for number in range(20)}


@pytest.fixture
def index(lab, tmp_path):
    lab.publish_base(tmp_path / "index", TITLES)
    return tmp_path / "index"


def generation(index):
    return (index / "CURRENT").read_text().strip()


def test_upserts_are_collected_and_deletes_are_visible_at_once(lab, index, follow, append, clock):
    follower = follow()
    append(lab.upsert("v3", "new 3"), lab.upsert("w1", "new w1"))
    follower.steps()
    lab.check_served(index, TITLES)
    clock.now = 5.9
    follower.steps()
    lab.check_served(index, TITLES)
    clock.now = 6.0
    follower.steps()
    expected = TITLES | {"v3": "new 3", "w1": "new w1"}
    lab.check_served(index, expected)
    append(lab.delete("v5"), lab.delete("w1"), lab.delete("never there"))
    follower.follower.step()
    del expected["v5"], expected["w1"]
    lab.check_served(index, expected, gone=["v5", "w1", "never there"])


def test_the_overlay_is_cumulative_and_lies_on_the_same_base(lab, index, follow, append):
    base, follower, expected = generation(index), follow(), dict(TITLES)
    for number in range(5):
        append(lab.upsert(f"v{number}", f"round {number}"), lab.delete(f"v{19 - number}"))
        follower.settle()
        expected[f"v{number}"] = f"round {number}"
        del expected[f"v{19 - number}"]
        lab.check_served(index, expected, gone=[f"v{19 - number}"])
        served = ForwardIndex.open(index)
        assert served.base == base
        assert served.num_rows == 20 + 2 * (number + 1)
    append(lab.upsert("v19", "back again"))
    follower.settle()
    lab.check_served(index, expected | {"v19": "back again"})


def test_the_last_change_of_a_video_counts_whatever_takes_long(lab, index, follow, append):
    follower = follow()
    follower.pipeline.held = {"v1"}
    append(lab.upsert("v1", "slow"), lab.upsert("v2", "quick"), lab.upsert("v2", "quicker"))
    follower.settle()
    lab.check_served(index, TITLES | {"v2": "quicker"})
    assert follower.pipeline.embedded == ["v2"], "the row before it was not worth the work"
    assert ForwardIndex.open(index).source["streams"][follower.stream.name]["position"] is None
    append(lab.delete("v1"))
    follower.steps()
    follower.pipeline.held = set()
    follower.settle()
    expected = {k: v for k, v in TITLES.items() if k != "v1"} | {"v2": "quicker"}
    lab.check_served(index, expected, gone=["v1"])


def test_after_a_kill_nothing_is_lost_and_what_is_there_is_not_made_again(lab, index, follow, append):
    killed = follow()
    killed.pipeline.held = {"v1"}
    append(lab.upsert("v1", "slow"), lab.upsert("v2", "quick"), lab.delete("v3"))
    killed.settle()
    before = generation(index)
    again = follow()
    again.settle()
    assert again.pipeline.embedded == ["v1"]
    expected = {k: v for k, v in TITLES.items() if k != "v3"} | {"v1": "slow", "v2": "quick"}
    lab.check_served(index, expected, gone=["v3"])
    after = generation(index)
    assert after != before
    last = follow()
    last.settle()
    assert generation(index) == after
    assert last.pipeline.embedded == []


def test_a_row_that_says_nothing_new_costs_no_vector(lab, index, follow, append, clock):
    before, follower = generation(index), follow()
    append(*(lab.upsert(doc_id, title) for doc_id, title in TITLES.items()))
    follower.settle()
    assert (follower.pipeline.embedded, generation(index)) == ([], before)
    clock.now += 10
    follower.steps()
    mark = json.loads((follower.folder / "bookmark.json").read_text())
    assert mark["position"] == mark["since"] == {"file": "1.jsonl", "line": 20, "offset": mark["since"]["offset"]}
    append(lab.upsert("v1", "other"), lab.upsert("v1", TITLES["v1"]))
    follower.settle()
    assert generation(index) == before, "it was what it had been before it was visible"


def test_bad_changes_are_listed_with_their_line_and_the_rest_goes_on(lab, index, follow, append, caplog):
    follower = follow()
    append("nonsense\n", '{"title": "no id"}\n', '{"op": "remove", "doc_id": "v1"}\n', '{"op": "delete"}\n')
    append(lab.upsert("v1", "boom"), lab.upsert("v2", "nan"), lab.upsert("v3", "good"), '{"doc_id": "v4"}\n')
    append('{"doc_id": "v5", "cover": "no.jpg"}\n')
    follower.settle()
    lab.check_served(index, TITLES | {"v3": "good"})
    rows = [json.loads(line) for line in (follower.folder / "rejected.jsonl").read_text().splitlines()]
    told = {int(row["where"].rpartition(":")[2]): (row["column"], row["reason"]) for row in rows}
    assert sorted(told) == [1, 2, 3, 4, 5, 6, 8, 9]
    assert told[2][0] == told[4][0] == "doc_id"
    assert "remove' is unknown; write upsert or delete" in told[3][1]
    assert "raised: RuntimeError: boom" in told[5][1]
    assert "not_finite" in told[6][1]
    assert "no_content" in told[8][1]
    assert told[9][0] == "cover"
    warned = [record.getMessage() for record in caplog.records if "listed in" in record.getMessage()]
    shown = {int(line.partition(".jsonl:")[2].partition(":")[0]): line for line in warned}
    for line, (column, reason) in told.items():
        where = f".jsonl:{line}: {reason}" if column is None else f".jsonl:{line}: {column}: {reason}"
        assert f"{where} (listed in {follower.folder / 'rejected.jsonl'})" in shown[line]
    assert follower.follower.generation == generation(index)


def test_the_overlay_is_merged_when_it_has_grown(lab, index, follow, append):
    follower, expected = follow(compact_above=0.2), dict(TITLES)
    base = generation(index)
    for number in range(8):
        append(lab.upsert(f"v{number}", f"round {number}"), lab.delete(f"v{19 - number}"))
        expected[f"v{number}"] = f"round {number}"
        expected.pop(f"v{19 - number}", None)
        follower.settle()
        lab.check_served(index, expected)
    served = ForwardIndex.open(index)
    assert (served.base or served.generation) != base
    assert served.source["streams"][follower.stream.name]["since"] is None, "the corpus does not hold any of it"
    assert "corpus_hash" not in served.source
    contents = served.contents(served.rows(["v2", "v11"]))
    assert contents.any(axis=1).all()
    again = follow(compact_above=0.2)
    again.steps()
    assert again.pipeline.embedded == []


def test_what_a_new_base_lacks_is_read_again(lab, index, follow, append, clock):
    follower = follow()
    append(lab.upsert("v1", "one"), lab.delete("v2"), lab.upsert("w1", "new"))
    follower.settle()
    refreshed = {k: v for k, v in TITLES.items() if k != "v2"} | {"v1": "one", "v9": "by the table"}
    base = lab.publish_base(index, refreshed)
    follower.settle()
    served = ForwardIndex.open(index)
    assert served.base == base
    lab.check_served(index, refreshed | {"w1": "new"}, gone=["v2"])
    assert served.num_rows - len(refreshed) == 1, "the overlay holds what the base does not"
    since = served.source["streams"][follower.stream.name]["since"]
    assert since is None or since["line"] <= 2
    lab.publish_base(index, refreshed | {"w1": "new"})
    follower.settle()
    clock.now += 10
    follower.steps()
    assert ForwardIndex.open(index).base is None, "the refresh has caught up"
    mark = json.loads((follower.folder / "bookmark.json").read_text())
    assert mark["since"]["line"] == 3


def test_a_refresh_while_nobody_follows_is_noticed_too(lab, index, follow, append):
    append(lab.upsert("v1", "one"))
    first = follow()
    first.settle()
    lab.publish_base(index, TITLES)
    second = follow()
    second.settle()
    lab.check_served(index, TITLES | {"v1": "one"})


def test_while_another_process_publishes_changes_wait(lab, index, follow, append):
    follower = follow()
    append(lab.delete("v1"), lab.upsert("v2", "two"))
    with GenerationWriter(index, lab.Encoder().spaces):
        follower.settle()
        lab.check_served(index, TITLES)
    follower.steps(1)
    lab.check_served(index, {k: v for k, v in TITLES.items() if k != "v1"} | {"v2": "two"}, gone=["v1"])


def test_no_more_is_read_ahead_than_is_allowed(lab, index, follow, append):
    follower = follow(max_waiting=4)
    append(*(lab.upsert(f"v{number}", f"new {number}") for number in range(10)))
    follower.steps()
    assert len(follower.pipeline.embedded) == 4
    for _ in range(4):
        follower.settle()
    lab.check_served(index, TITLES | {f"v{number}": f"new {number}" for number in range(10)})


def test_an_index_of_another_model_is_refused(lab, tmp_path, follow):
    lab.publish_base(tmp_path / "index", TITLES, weights="2")
    with pytest.raises(FingerprintError, match="follow with the model that the index was refreshed with"):
        follow()


def test_a_damaged_overlay_is_made_again_from_the_stream(lab, index, follow, append):
    follower = follow()
    append(lab.upsert("v1", "one"), lab.delete("v2"))
    follower.settle()
    path = index / "generations" / generation(index) / "vectors.content.npy"
    damaged = np.load(path)
    damaged[:] = 0.25
    np.save(path, damaged)
    again = follow()
    append(lab.upsert("v3", "three"))
    again.settle()
    again.settle()
    expected = {k: v for k, v in TITLES.items() if k != "v2"} | {"v1": "one", "v3": "three"}
    lab.check_served(index, expected, gone=["v2"])


def test_what_was_replaced_long_ago_does_not_come_back_for_a_moment(lab, index, follow, append):
    """A base that a refresh publishes is newer than most of what is read again, and more than is read ahead."""
    append(*(lab.upsert(f"v{number % 10}", f"round {number // 10}") for number in range(100)))
    append(lab.delete("v3"), "nonsense\n")
    newest = {k: v for k, v in TITLES.items() if k != "v3"} | {f"v{n}": "round 9" for n in range(10) if n != 3}
    follower = follow(max_waiting=7)
    follower.steps(40)
    for _ in range(3):
        follower.settle()
    assert sorted(follower.pipeline.embedded) == sorted(set(newest) & {f"v{n}" for n in range(10)}), "each once"
    lab.check_served(index, newest, gone=["v3"])
    lab.publish_base(index, newest)
    for _ in range(30):
        follower.settle()
        lab.check_served(index, newest, gone=["v3"])
    assert len(follower.pipeline.embedded) == 9


@pytest.mark.parametrize("removed", ["2.jsonl", "1.jsonl", None])
def test_files_that_were_removed_before_a_refresh_are_told(lab, index, tmp_path, follow, append, caplog, removed):
    caplog.set_level("INFO")
    follower = follow(status_every_s=1.0)
    append(lab.upsert("v1", TITLES["v1"]))
    follower.settle()  # the corpus has caught up to here
    append(lab.upsert("v1", "one"))
    append("nonsense\n", lab.delete("v2"), file="2.jsonl")
    follower.settle()
    if removed is not None:
        (tmp_path / "stream" / removed).unlink()
    assert "was removed" not in caplog.text
    lab.publish_base(index, TITLES)
    for _ in range(2):
        follower.settle()
    told = f"{removed} was removed: changes since the last refresh may be missing until a table holds them"
    errors = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    lines = [record.getMessage() for record in caplog.records if "rejected" in vars(record).get("fields", {})]
    assert any(told in error for error in errors) == (told in lines[-1]) == (removed is not None)
    expected = TITLES if removed == "1.jsonl" else TITLES | {"v1": "one"}
    gone = [] if removed == "2.jsonl" else ["v2"]
    lab.check_served(index, {doc_id: expected[doc_id] for doc_id in expected if doc_id not in gone}, gone=gone)
    assert (follower.folder / "rejected.jsonl").read_text().count("nonsense") == 1, "it was read twice"
    if removed == "2.jsonl":
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "1.jsonl").write_text(lab.upsert("w1", "of another stream"))
        follow(str(tmp_path / "other")).settle()
        caplog.clear()
        follower.settle()
        assert told in caplog.text, "it is still missing"
        lab.publish_base(index, {**TITLES, "v1": "one"})
        follower.settle()
        caplog.clear()
        follower.settle()
        assert "rejected" in caplog.text
        assert told not in caplog.text
