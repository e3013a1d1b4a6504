"""Which settings are told where a folder holds another run."""

import pytest
import yaml

from mmsearch.config import Settings
from training.checkpoints import OtherRunError
from training.other_run import differences, differences_told


class Some(Settings):
    rate: float = 0.5
    names: list[str] = ["a", "b"]
    inner: dict[str, int] = {"x": 1}
    free: str = "here"


def refused(config, settings):
    with pytest.raises(OtherRunError) as caught, differences_told(config, settings, ["free"]):
        raise OtherRunError("refused")
    return str(caught.value)


def test_every_setting_that_differs_is_named_with_both_values(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(Some(rate=0.25, names=["a"], free="there").model_dump(mode="json")))
    told = refused(config, Some(inner={"x": 1, "y": 2}))
    expected = "inner.y: absent there, 2 here; names: ['a'] there, ['a', 'b'] here; rate: 0.25 there, 0.5 here"
    assert told.startswith("refused. What differs: ")
    assert sorted(told.removeprefix("refused. What differs: ").split("; ")) == expected.split("; ")


def test_equal_settings_leave_only_what_was_read(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump(Some(free="there").model_dump(mode="json")))
    assert refused(config, Some()) == (
        f"refused. The settings are those of {config}: what was read from tables, corpora or folders of weights "
        "is not, or another version of mmsearch wrote it"
    )


def test_an_unreadable_file_changes_nothing(tmp_path):
    assert refused(tmp_path / "absent.yaml", Some()) == "refused"
    (tmp_path / "broken.yaml").write_text("a: [")
    assert refused(tmp_path / "broken.yaml", Some()) == "refused"


def test_stages_are_counted_and_their_free_settings_are_of_any_stage():
    there = {"stages": [{"steps": 8, "chunk_size": 1}, {"steps": 4}], "compare": {"seeds": 1}}
    here = {"stages": [{"steps": 8, "chunk_size": None}, {"steps": 9}, {"steps": 1}], "compare": None}
    found = differences(there, here, ["stages.chunk_size", "compare"])
    assert found == ["stages.1.steps: 4 there, 9 here", "stages.2.steps: absent there, 1 here"]


def test_many_differences_are_counted(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text(yaml.safe_dump({"inner": {str(n): 0 for n in range(9)}}))
    assert refused(config, Some(inner={str(n): 1 for n in range(9)})).endswith("; and 5 more")
