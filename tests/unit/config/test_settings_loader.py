"""Settings from YAML: parents, overrides, unions by `type`, and errors that say where."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import Tag

from mmsearch.config import Settings, by_type, load_settings
from mmsearch.errors import ConfigError


class _Square(Settings):
    type: Literal["square"] = "square"
    side: int = 1


class _Disc(Settings):
    type: Literal["disc"] = "disc"
    radius: float = 1.0


class _Drawing(Settings):
    shape: Annotated[Annotated[_Square, Tag("square")] | Annotated[_Disc, Tag("disc")], by_type("square")] = _Square()
    name: str = "drawing"


def _write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_wrong_value_in_a_union_is_named_and_placed_as_it_was_written(tmp_path: Path) -> None:
    path = _write(tmp_path, "a.yaml", "name: one\nshape:\n  type: disc\n  radius: much\n")
    with pytest.raises(ConfigError, match=r"a\.yaml:4: shape\.radius: Input should be a valid number"):
        load_settings(_Drawing, path)
    path = _write(tmp_path, "b.yaml", "shape:\n  side: 1\n")
    with pytest.raises(ConfigError, match=r"^command line: shape\.side: Input should be a valid integer"):
        load_settings(_Drawing, path, ["shape.side=many"])
    with pytest.raises(ConfigError, match=r"^command line: shape\.sides: no such setting; did you mean 'side'"):
        load_settings(_Drawing, path, ["shape.sides=3"])
    with pytest.raises(ConfigError, match=r"^command line: shape\.side: Input should be a valid integer"):
        load_settings(_Drawing, path, ["shape={side: many}"])


def test_type_may_be_left_out_for_the_default(tmp_path: Path) -> None:
    found = load_settings(_Drawing, _write(tmp_path, "a.yaml", "shape: {side: 3}\n"))
    assert found.shape == _Square(side=3)


def test_another_type_replaces_its_parent_whole(tmp_path: Path) -> None:
    _write(tmp_path, "parent.yaml", "name: both\nshape: {type: square, side: 3}\n")
    child = _write(tmp_path, "child.yaml", "extends: parent.yaml\nshape: {type: disc}\n")
    assert load_settings(_Drawing, child) == _Drawing(name="both", shape=_Disc())


def test_the_same_type_is_merged_with_its_parent(tmp_path: Path) -> None:
    _write(tmp_path, "parent.yaml", "shape: {type: square, side: 3}\n")
    child = _write(tmp_path, "child.yaml", "extends: parent.yaml\nshape: {type: square}\n")
    assert load_settings(_Drawing, child).shape == _Square(side=3)


def test_overriding_a_type_empties_the_mapping_before_other_overrides(tmp_path: Path) -> None:
    path = _write(tmp_path, "a.yaml", "shape: {type: square, side: 3}\n")
    found = load_settings(_Drawing, path, ["shape.radius=2e-1", "shape.type=disc"])
    assert found.shape == _Disc(radius=0.2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shape: {sidee: 3}\n", "a.yaml:1: shape.sidee: no such setting; did you mean 'side'?"),
        ("name: a\nname: b\n", "a.yaml:2: name: given twice"),
        ("name: [\n", "not valid YAML"),
        ("- 1\n", "must hold a mapping"),
    ],
)
def test_errors_name_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message.replace("[", r"\[").replace("?", r"\?")):
        load_settings(_Drawing, _write(tmp_path, "a.yaml", text))


def test_a_circle_of_parents_ends(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="circle"):
        load_settings(_Drawing, _write(tmp_path, "a.yaml", "extends: a.yaml\n"))


def test_a_setting_below_a_short_form_is_told_how_to_write_it() -> None:
    class Reader(Settings):
        reader: Literal["none", "fast"] = "none"
        max_frames: int = 4

    class Outer(Settings):
        ocr: Reader = Reader()
        count: int = 1

    for below in ("ocr.max_frames=1", "ocr.deep.er=1"):
        with pytest.raises(ConfigError, match=r"'ocr' is given as 'fast'.*write ocr\.reader=fast"):
            load_settings(Outer, None, ["ocr=fast", below])
    with pytest.raises(ConfigError, match=r"there is no setting at 'count\.x'$"):
        load_settings(Outer, None, ["count=1", "count.x=1"])
    assert load_settings(Outer, None, ["ocr.reader=fast", "ocr.max_frames=1"]).ocr.max_frames == 1
