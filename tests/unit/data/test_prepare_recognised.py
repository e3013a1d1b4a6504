"""What is recognised while a corpus is prepared: from what, when, and what it changes."""

from __future__ import annotations

import dataclasses
import json

import av
import numpy as np
import pytest
from PIL import Image

from mmsearch.data.prepare import prepare
from mmsearch.data.prepare_plan import plan_shards
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.data.prepare_video import VideoPreparer
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.demo.lettering import write_slogan
from mmsearch.errors import ConfigError
from mmsearch.files import read_json
from mmsearch.protocols import Float32, Segment, TextBox, UInt8
from mmsearch.recognition.kept import RECOGNISED, Kept
from mmsearch.recognition.ocr import OcrSettings
from mmsearch.recognition.ocr.by_rapidocr import RapidOcrReader
from mmsearch.recognition.speech import FasterWhisperSettings
from mmsearch.recognition.speech.by_faster_whisper import FasterWhisper
from mmsearch.types import Modality, Video

OFF = PrepareSettings(num_frames=4, image_size=32)
ON = OFF.model_copy(update={"ocr": OcrSettings(reader="rapidocr", max_frames=2)})
SPEECH = OFF.model_copy(update={"speech": FasterWhisperSettings(model="/absent/whisper", max_s=0.5)})


@pytest.fixture
def heard(monkeypatch) -> list[int]:
    """A recogniser in place of the real one: it notes the number of samples of each sound."""
    heard: list[int] = []

    def transcribe(self: FasterWhisper, sound: Float32) -> list[Segment]:
        heard.append(len(sound))
        if len(heard) > 1:
            raise RuntimeError("tired")
        return [Segment(0.0, 0.1, "so we begin"), Segment(0.1, 0.2, "so we begin"), Segment(0.2, 9.0, "with salt")]

    monkeypatch.setattr(FasterWhisper, "transcribe", transcribe)
    return heard


@pytest.fixture
def spoken(tmp_path) -> Video:
    """A film of one second with a tone."""
    with av.open(str(tmp_path / "spoken.mkv"), "w") as file:
        film, track = file.add_stream("mpeg4", rate=10), file.add_stream("aac", rate=16_000, layout="mono")
        film.width, film.height, film.pix_fmt = 64, 64, "yuv420p"
        for _ in range(10):
            file.mux(film.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        tone = np.sin(np.arange(16_000, dtype=np.float32) / 6)[None]
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone), format="fltp", layout="mono")
        frame.sample_rate = 16_000
        file.mux([*film.encode(), *track.encode(frame), *track.encode()])
    return Video("v1", title="t", video=str(tmp_path / "spoken.mkv"))


@pytest.fixture
def seen(monkeypatch, read_number) -> list[tuple[int, tuple[int, ...]]]:
    """A reader in place of the real one: it notes number and shape of each picture, and reads the number."""
    seen: list[tuple[int, tuple[int, ...]]] = []

    def read(self: RapidOcrReader, picture: UInt8) -> list[TextBox]:
        number = read_number(picture)
        seen.append((number, picture.shape))
        if number == 13:
            raise RuntimeError("unlucky")
        corners = np.array([(0, 0), (90, 0), (90, 30), (0, 30)], np.float32)
        return [TextBox(corners, chr(ord("a") + number) * 4, 0.9)]

    monkeypatch.setattr(RapidOcrReader, "read", read)
    return seen


@pytest.fixture
def video(tmp_path, make_video, make_picture) -> Video:
    cover = make_picture(tmp_path / "cover.png", 5)
    return Video("v1", title="t", cover=str(cover), video=str(make_video(tmp_path / "film.mp4", 16)))


def test_cover_and_frames_are_read_at_their_own_size(video, seen):
    prepared = VideoPreparer(ON)(video).video
    assert prepared.texts == {
        Modality.TITLE: "t",
        Modality.COVER_OCR: "ffff",
        Modality.CONTENT_OCR: "gggg\noooo",
    }
    assert seen == [(number, (96, 160, 3)) for number in (5, 6, 14)]
    assert {Modality.COVER_OCR, Modality.CONTENT_OCR} < set(prepared.hashes)


def test_what_the_table_says_wins(video, seen):
    given = dataclasses.replace(video, cover_ocr="from the table", content_ocr="this too")
    assert VideoPreparer(ON)(given) == VideoPreparer(OFF)(given)
    assert seen == []
    half = VideoPreparer(ON)(dataclasses.replace(video, content_ocr="this too")).video
    assert half.texts[Modality.CONTENT_OCR] == "this too"
    assert [number for number, _ in seen] == [5]


def test_listed_pictures_are_read_once(tmp_path, make_picture, seen):
    paths = tuple(str(make_picture(tmp_path / f"{n}.png", n)) for n in (3, 9))
    prepared = VideoPreparer(ON)(Video("v", frames=paths)).video
    assert prepared.texts == {Modality.CONTENT_OCR: "dddd\njjjj"}
    assert [number for number, _ in seen] == [3, 9]


def test_pictures_and_the_hashes_of_all_else_stay_what_they_were(video, seen):
    off, on = VideoPreparer(OFF)(video).video, VideoPreparer(ON)(video).video
    assert (on.cover, on.frames) == (off.cover, off.frames)
    assert {m: h for m, h in on.hashes.items() if m in off.hashes} == off.hashes


def test_a_reader_that_fails_costs_the_video_or_the_modality(video, tmp_path, make_picture, seen):
    unlucky = dataclasses.replace(video, cover=str(make_picture(tmp_path / "unlucky.png", 13)))
    whole = VideoPreparer(ON)(unlucky)
    assert whole.video is None
    assert [(r.modality, r.reason) for r in whole.rejections] == [("cover_ocr", "ocr_failed")]
    part = VideoPreparer(ON.model_copy(update={"on_bad_media": "drop_modality"}))(unlucky).video
    assert set(part.texts) == {Modality.TITLE, Modality.CONTENT_OCR}
    assert part.cover is not None


def test_a_video_that_is_lost_anyhow_is_not_read(video, seen):
    broken = dataclasses.replace(video, video="/absent.mp4")
    assert VideoPreparer(ON)(broken).video is None
    assert seen == []


def test_speech_becomes_lines(spoken, heard):
    prepared = VideoPreparer(SPEECH)(spoken).video
    assert prepared.texts == {Modality.TITLE: "t", Modality.ASR: "so we begin\nwith salt"}
    assert heard == [8_000]
    assert (
        prepared.hashes[Modality.ASR]
        == VideoPreparer(OFF)(dataclasses.replace(spoken, asr="so we begin\nwith salt")).video.hashes[Modality.ASR]
    )


def test_a_transcript_of_the_table_wins_and_a_silent_film_says_nothing(spoken, video, heard):
    assert VideoPreparer(SPEECH)(dataclasses.replace(spoken, asr="given")).video.texts[Modality.ASR] == "given"
    assert set(VideoPreparer(SPEECH)(video).video.texts) == {Modality.TITLE}
    assert set(VideoPreparer(SPEECH)(Video("v", title="t")).video.texts) == {Modality.TITLE}
    assert heard == []


def test_a_recogniser_that_fails_costs_the_video_or_the_modality(spoken, heard):
    VideoPreparer(SPEECH)(spoken)
    whole = VideoPreparer(SPEECH)(spoken)
    assert whole.video is None
    assert [(r.modality, r.reason) for r in whole.rejections] == [("asr", "speech_failed")]
    part = VideoPreparer(SPEECH.model_copy(update={"on_bad_media": "drop_modality"}))(spoken)
    assert set(part.video.texts) == {Modality.TITLE}
    assert part.rejections == whole.rejections


def test_a_model_that_is_absent_ends_the_run(spoken, tmp_path):
    row = {"doc_id": "v1", "title": "t", "video": "spoken.mkv"}
    (tmp_path / "videos.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(ConfigError, match=r"speech\.model: /absent/whisper: no such folder"):
        prepare(tmp_path / "videos.jsonl", tmp_path / "corpus", SPEECH.model_copy(update={"num_workers": 1}))
    assert not (tmp_path / "corpus" / "corpus.json").exists()


def test_settings_of_before_have_the_keys_of_before():
    """Recognition that is off leaves no trace in records: corpora of earlier versions are kept and read."""
    record = OFF.for_record()
    assert not {"ocr", "speech"} & set(record)
    assert PrepareSettings(**record) == OFF
    assert PrepareSettings(**ON.for_record()) == ON
    assert PrepareSettings(**SPEECH.for_record()) == SPEECH
    other = ON.model_copy(update={"ocr": OcrSettings(reader="rapidocr", min_confidence=0.9)})
    keys = [next(iter(plan_shards([Video("v")], settings))).key for settings in (OFF, ON, other, SPEECH)]
    assert len(set(keys)) == 4


def test_recognition_has_time_and_memory_of_its_own():
    assert (OFF.max_wall_s, OFF.max_memory_bytes) == (OFF.limits.max_wall_s, OFF.limits.max_memory_bytes)
    assert ON.max_wall_s == OFF.limits.max_wall_s + ON.ocr.extra_wall_s
    both = ON.model_copy(update={"speech": SPEECH.speech})
    assert both.max_memory_bytes == ON.max_memory_bytes + SPEECH.speech.extra_memory_bytes
    assert ON.max_memory_bytes == OFF.limits.max_memory_bytes + ON.ocr.extra_memory_bytes


def test_a_corpus_with_the_real_reader_in_a_limited_worker(tmp_path):
    pytest.importorskip("rapidocr")
    cover = Image.new("RGB", (320, 240), "#2f6f8f")
    write_slogan(cover, "红色机器人")
    cover.save(tmp_path / "cover.png")
    rows = [{"doc_id": "read", "cover": "cover.png"}, {"doc_id": "given", "cover": "cover.png", "cover_ocr": "given"}]
    (tmp_path / "videos.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = ON.model_copy(update={"num_workers": 1})
    summary = prepare(tmp_path / "videos.jsonl", tmp_path / "corpus", settings)
    assert summary.rejected == {}
    corpus = PreparedCorpus.open(tmp_path / "corpus")
    assert [v.texts[Modality.COVER_OCR] for v in corpus.read(range(2))] == ["红色机器人", "given"]
    assert corpus.settings == settings.model_copy(update={"num_workers": None})
    assert read_json(tmp_path / "corpus" / "corpus.json")["settings"]["ocr"]["reader"] == "rapidocr"
    kept = Kept(tmp_path / "corpus" / RECOGNISED)
    assert kept._database.execute("SELECT count(*) FROM recognised").fetchall() == [(1,)]
    kept.close()
    assert prepare(tmp_path / "videos.jsonl", tmp_path / "corpus", settings).num_reused == 2


def test_a_second_try_reads_and_hears_nothing_again(video, spoken, seen, heard, tmp_path):
    kept = Kept(tmp_path / "recognised.sqlite")
    both = ON.model_copy(update={"speech": SPEECH.speech})
    shown = dataclasses.replace(spoken, cover=video.cover)
    first = VideoPreparer(both, kept)(shown)
    assert (len(seen), len(heard)) == (2, 1)
    assert (
        VideoPreparer(both, Kept(kept.path))(dataclasses.replace(shown, doc_id="again")).video.texts
        == first.video.texts
    )
    assert (len(seen), len(heard)) == (2, 1)
    times = [(0.0, 0.1, "so we begin"), (0.2, 0.5, "with salt")]
    assert kept.speech("again") == kept.speech("v1") == [Segment(*one) for one in times]
    stricter = both.model_copy(update={"ocr": both.ocr.model_copy(update={"min_confidence": 0.99})})
    assert Modality.COVER_OCR not in VideoPreparer(stricter, kept)(shown).video.texts
    assert len(seen) == 2  # what is kept are boxes, before they are chosen from
    kept.close()
