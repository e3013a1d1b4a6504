"""The list of videos in quarantine."""

from __future__ import annotations

import pytest

from mmsearch.errors import DataError
from serving.quarantine import QuarantinedRow, quarantine_of, read_quarantine, write_quarantine
from serving.work_item import Quarantined, Reason

ROWS = [
    QuarantinedRow(Quarantined("a", Reason.CRASH, "it died of SIGSEGV"), "k1"),
    QuarantinedRow(Quarantined("视频\u2028", Reason.NOT_FINITE, 'a "NaN"\nand more'), "k2"),
]


def test_the_list_comes_back_in_order_of_ids_and_an_empty_one_is_no_file(tmp_path):
    assert read_quarantine(tmp_path) == []
    write_quarantine(tmp_path, reversed(ROWS))
    assert read_quarantine(tmp_path) == ROWS
    assert len(quarantine_of(tmp_path).read_bytes().splitlines()) == 2
    write_quarantine(tmp_path, [])
    write_quarantine(tmp_path, [])
    assert not quarantine_of(tmp_path).exists()


@pytest.mark.parametrize(
    "line", [b"{", b"[]", b'{"doc_id": "a"}', b'{"doc_id":"a","reason":"bored","detail":"","key":""}']
)
def test_a_list_that_is_none_is_told_with_its_line(tmp_path, line):
    write_quarantine(tmp_path, ROWS[:1])
    with quarantine_of(tmp_path).open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(DataError, match=r"quarantine.jsonl:2: is no line of a quarantine.*remove the file"):
        read_quarantine(tmp_path)


def test_what_is_no_text_is_told(tmp_path):
    quarantine_of(tmp_path).write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="cannot be read"):
        read_quarantine(tmp_path)


def test_a_disk_that_refuses_is_told(tmp_path):
    quarantine_of(tmp_path).mkdir()
    with pytest.raises(DataError, match=r"cannot be written.*make room"):
        write_quarantine(tmp_path, ROWS)
