"""What was recognised is kept: by content and settings, by several processes, and read with care."""

import pickle
import sqlite3
import subprocess
import sys

import numpy as np
import pytest

from mmsearch.errors import DataError
from mmsearch.protocols import Segment, TextBox
from mmsearch.recognition.kept import Kept, KeptReader, KeptTranscriber
from mmsearch.recognition.speech import FasterWhisperSettings

PICTURE = np.arange(8 * 9 * 3, dtype=np.uint8).reshape(8, 9, 3)
SOUND = np.linspace(-1, 1, 16_000, dtype=np.float32)
CORNERS = np.array([(0, 0), (9.25, 0), (9.25, 3), (0, 3)], np.float32)
WRITER = """
import sys
from pathlib import Path
from mmsearch.recognition.kept import Kept
kept = Kept(Path(sys.argv[1]))
for number in range(50):
    kept.put(f"{sys.argv[2]}-{number}", [number])
"""


@pytest.fixture
def kept(tmp_path):
    opened = Kept(tmp_path / "recognised.sqlite")
    yield opened
    opened.close()


class Counting:
    def __init__(self):
        self.calls = 0

    def read(self, picture):
        self.calls += 1
        return [TextBox(CORNERS, "红 half \ud800", 0.8)]

    def transcribe(self, sound):
        self.calls += 1
        return [Segment(0.5, 1.25, "so we begin")]


def test_a_picture_is_read_once_by_the_same_settings(kept):
    reader = Counting()
    first, again, other = (KeptReader(reader, kept, recipe) for recipe in ("a", "a", "b"))
    (box,), (same,) = first.read(PICTURE), again.read(PICTURE.copy())
    assert (same.text, same.confidence) == (box.text, box.confidence)
    assert np.array_equal(same.corners, CORNERS)
    assert reader.calls == 1
    other.read(PICTURE)
    first.read(PICTURE.reshape(9, 8, 3))
    first.read(PICTURE + 1)
    assert reader.calls == 4


def test_a_sound_is_heard_once_and_segments_keep_their_times(kept):
    transcriber = Counting()
    for _ in range(2):
        assert KeptTranscriber(transcriber, kept, "a").transcribe(SOUND) == [Segment(0.5, 1.25, "so we begin")]
    assert transcriber.calls == 1
    KeptTranscriber(transcriber, kept, "a").transcribe(SOUND[:-1])
    assert transcriber.calls == 2
    kept.put_speech("v1", [Segment(0.5, 1.23456, "so we begin")])
    assert kept.speech("v1") == [Segment(0.5, 1.235, "so we begin")]
    assert kept.speech("v2") is None


def test_the_recipe_of_a_recogniser_is_what_its_segments_depend_on(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"weights")
    settings = FasterWhisperSettings(model=str(tmp_path))
    same = settings.model_copy(update={"max_s": 9.0, "extra_wall_s": 9.0})
    other = settings.model_copy(update={"beam_size": 1})
    assert settings.recipe == same.recipe != other.recipe
    before = settings.recipe
    (tmp_path / "model.bin").write_bytes(b"other weights")
    assert settings.recipe != before


@pytest.mark.parametrize(
    "found", ["{", "3", "[[1]]", '[[[[1, 2]], "a", 0.5]]', '[[[[NaN, 0], [0, 0], [0, 0], [0, 0]], "a", 1]]']
)
def test_rows_of_strangers_are_as_if_absent(kept, found):
    reader = Counting()
    KeptReader(reader, kept, "a").read(PICTURE)
    with sqlite3.connect(kept.path) as database:
        database.execute("UPDATE recognised SET found = ?", (found,))
    database.close()
    assert KeptReader(reader, kept, "a").read(PICTURE)[0].text.startswith("红")
    assert reader.calls == 2


def test_it_goes_to_other_processes_which_write_at_the_same_time(kept):
    kept.put("here", [1])
    assert pickle.loads(pickle.dumps(kept)).path == kept.path
    running = [subprocess.Popen([sys.executable, "-c", WRITER, str(kept.path), name]) for name in "ab"]
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    assert all(kept.get(f"{name}-{number}") == [number] for name in "ab" for number in range(50))


def test_a_file_that_fails_costs_what_is_kept_and_no_more(tmp_path):
    (tmp_path / "other.sqlite").write_bytes(b"this is no database at all, " * 100)
    broken, reader = Kept(tmp_path / "other.sqlite"), Counting()
    with pytest.raises(DataError, match=r"other\.sqlite: cannot keep what is recognised"):
        broken.check()
    assert KeptReader(reader, broken, "a").read(PICTURE)[0].confidence == 0.8
    broken.put_speech("v", [])
    with pytest.raises(DataError, match="cannot be read"):
        broken.speech("v")
