"""Transcripts come in as text or as files, and come out as one segment a line."""

from __future__ import annotations

import json
import os

import pytest

from mmsearch.data.media import MediaLimits
from mmsearch.data.transcripts import transcript_text
from mmsearch.errors import MediaError

LIMITS = MediaLimits(max_transcript_bytes=10_000)

SRT = """\ufeff1
00:00:00,000 --> 00:00:02,500
<i>Welcome back.</i>

2
00:00:02,500 --> 00:00:05,000
今天我们做红烧肉
with two lines

"""
VTT = """WEBVTT - a title

STYLE
::cue { color: red }

NOTE a remark

intro
00:00.000 --> 00:02.000 align:start
rolling captions

00:02.000 --> 00:04.000
rolling captions

00:04.000 --> 00:06.000
<c.loud>say it once</c>
"""


def read(path, text: str) -> str:
    path.write_text(text)
    return transcript_text(str(path), LIMITS)


def reason(asr: str) -> str:
    with pytest.raises(MediaError) as caught:
        transcript_text(asr, LIMITS)
    return caught.value.reason


def test_subtitles_as_they_are_in_the_world(tmp_path):
    blank = SRT.replace("今天我们做红烧肉\n", "今天我们做红烧肉\n\n")
    assert read(tmp_path / "blank.srt", blank) == "Welcome back.\n今天我们做红烧肉\nwith two lines"
    assert read(tmp_path / "mac.srt", SRT.replace("\n", "\r")) == read(tmp_path / "a.srt", SRT)
    said = "&gt;&gt; R&amp;D&nbsp;at <b>3 < 5</b> and 7 > 6, <00:00:01.500>AT&T &#39;quoted&#x27; &unknown; {\\an8}top"
    wanted = ">> R&D at 3 < 5 and 7 > 6, AT&T 'quoted' &unknown; top"
    assert read(tmp_path / "b.vtt", f"WEBVTT\n\n00:00.000 --> 00:02.000\n{said}\n") == wanted
    assert read(tmp_path / "b.srt", f"1\n00:00:00,000 --> 00:00:02,000\n{said}\n") == wanted
    assert read(tmp_path / ".srt", SRT) == read(tmp_path / "a.srt", SRT)


def test_a_text_is_the_transcript_itself():
    for text in ("one line", "two\nlines", "he said: see notes.json", "/not/a/path.srt\nbut a line of text", "x.vtt"):
        assert transcript_text(text, LIMITS) == text


def test_subtitles_lose_times_and_markup(tmp_path):
    assert read(tmp_path / "a.srt", SRT) == "Welcome back.\n今天我们做红烧肉 with two lines"
    assert read(tmp_path / "dos.SRT", SRT.replace("\n", "\r\n")) == "Welcome back.\n今天我们做红烧肉 with two lines"
    assert read(tmp_path / "a.vtt", VTT) == "rolling captions\nsay it once"
    assert read(tmp_path / "empty.vtt", "WEBVTT\n") == ""


@pytest.mark.parametrize(
    "value",
    [
        [[0, 1.5, "first"], [1.5, 3, " 第二 句 "]],
        [{"start": 0, "end": 1.5, "text": "first"}, {"start": 1.5, "end": 3, "text": "第二 句"}],
        {"language": "zh", "segments": [{"start": 0, "end": 1, "text": "first"}, {"text": "第二\n句"}]},
    ],
)
def test_json_segments(tmp_path, value):
    assert read(tmp_path / "a.json", json.dumps(value)) == "first\n第二 句"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", "{"),
        ("a.json", '"words"'),
        ("a.json", '[["only", "two"]]'),
        ("a.json", '[{"start": 0}]'),
        ("a.json", "[" * 9_000),
        ("a.srt", "just prose without any times"),
        ("a.srt", SRT.replace("00:00:02,500 -->", "00:00:02,500 ->")),
        ("a.vtt", "<html>not found</html>"),
    ],
)
def test_files_that_are_no_transcripts(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert reason(str(tmp_path / name)) == "bad_transcript"


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "long.srt").write_bytes(b"x" * 10_001)
    (tmp_path / "gbk.srt").write_bytes("红烧肉".encode("gbk"))
    (tmp_path / "empty.srt").touch()
    os.mkfifo(tmp_path / "pipe.srt")
    assert reason(str(tmp_path / "absent.srt")) == "missing_file"
    assert reason(str(tmp_path / "long.srt")) == "too_many_bytes"
    assert reason(str(tmp_path / "gbk.srt")) == "bad_transcript"
    assert reason(str(tmp_path / "empty.srt")) == "empty_file"
    assert reason(str(tmp_path / "pipe.srt")) == "not_a_file"
    assert reason("https://example.org/a.vtt") == "remote"
