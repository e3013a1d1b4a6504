"""A CSV table of which another character parts the columns: it is named."""

import pytest

from mmsearch.data.tables import read_judgments, read_videos
from mmsearch.errors import TableError


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("v.csv", "doc_id;title\na;b\n", "a semicolon parts the columns where a .csv file needs a comma; save it so"),
        ("v.csv", "\ufeffdoc_id;title, short\na;b\n", "a semicolon parts"),
        ("v.csv", '"doc_id";"title"\na;b\n', "a semicolon parts"),
        ("v.csv", "title\tdoc_id\r\nb\ta\r\n", "a tab parts the columns where a .csv file needs a comma"),
        ("v.csv", "doc_id|title\na|b\n", "a bar parts"),
        ("v.tsv", "doc_id,title\na,b\n", "a comma parts the columns where a .tsv file needs a tab; save it so"),
        ("v.csv", "id;name\na;b\n", "doc_id: the column is missing; the columns here: id;name"),
        ("v.csv", '"id";"name"\na;b\n', "the header is not valid CSV"),
    ],
)
def test_the_separator_is_named_where_it_parts_known_columns(tmp_path, name, text, told):
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(TableError, match=rf"{name}:1: .*{told}|{name}:1: {told}"):
        list(read_videos(tmp_path / name))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_the_unicode_text_of_spreadsheets_is_named(tmp_path, encoding):
    mark = "" if encoding == "utf-16" else "\ufeff"
    (tmp_path / "v.csv").write_bytes(f"{mark}doc_id,title\na,标题\n".encode(encoding))
    with pytest.raises(TableError, match=r"v\.csv:1: the file is UTF-16; save the table as UTF-8"):
        list(read_videos(tmp_path / "v.csv"))


def test_a_packed_table_is_to_be_unpacked(tmp_path):
    (tmp_path / "v.csv.GZ").write_bytes(b"\x1f\x8b")
    with pytest.raises(TableError, match=r"v\.csv\.GZ: is packed; unpack it first"):
        list(read_videos(tmp_path / "v.csv.GZ"))


def test_texts_may_hold_any_of_them(tmp_path):
    (tmp_path / "a.csv").write_text("query,doc_id;x,grade,doc_id\na;b,c|d,1,e\tf\n", encoding="utf-8")
    (row,) = read_judgments(tmp_path / "a.csv")
    assert (row.query, row.doc_id) == ("a;b", "e\tf")
