"""What moves a fingerprint and what does not."""

from __future__ import annotations

import pytest

from mmsearch.errors import DataError, FingerprintError
from mmsearch.index.fingerprint import check_same, fingerprint


def test_the_order_of_the_parts_does_not_count():
    assert fingerprint({"a": "1", "b": b"2"}) == fingerprint({"b": "2", "a": b"1"})


@pytest.mark.parametrize(
    "other",
    [{"a": "1", "b": "3"}, {"a": "2", "b": "1"}, {"a": "1"}, {"a": "1", "c": "2"}, {"a": "1", "b": "2", "c": ""}],
)
def test_every_change_counts(other):
    assert fingerprint({"a": "1", "b": "2"}) != fingerprint(other)


def test_borders_between_parts_count():
    assert fingerprint({"a": "bc"}) != fingerprint({"ab": "c"})


def test_a_file_stands_for_its_content_and_a_folder_for_its_files(tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    for folder in ("one", "two"):
        (tmp_path / folder / "vocab.txt").write_text("x")
    assert fingerprint({"t": tmp_path / "one"}) == fingerprint({"t": tmp_path / "two"})
    assert fingerprint({"t": tmp_path / "one" / "vocab.txt"}) == fingerprint({"t": "x"})
    (tmp_path / "two" / "vocab.txt").rename(tmp_path / "two" / "words.txt")
    assert fingerprint({"t": tmp_path / "one"}) != fingerprint({"t": tmp_path / "two"})
    with pytest.raises(DataError, match="part 't'"):
        fingerprint({"t": tmp_path / "none"})


def test_it_is_short_hex_and_stays_the_same_over_releases():
    assert fingerprint({"weights": b"\0" * 10, "mean": "0.5"}) == fingerprint({"weights": "\0" * 10, "mean": b"0.5"})
    assert fingerprint({}) == "99aa06d3014798d8"


def test_a_difference_names_the_space_and_both_places():
    check_same("cover", "f1", "f1", "here", "there")
    with pytest.raises(FingerprintError, match=r"'cover': the tower in A has fingerprint f1, the index B has f2"):
        check_same("cover", "f1", "f2", "the tower in A", "the index B")
