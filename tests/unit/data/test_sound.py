"""The sound of a video file: mono, 16 kHz, within limits; and files that have none."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import av
import numpy as np
import pytest

from mmsearch.data.media import MediaLimits
from mmsearch.data.sound import RATE, decode_sound
from mmsearch.errors import MediaError

LIMITS = MediaLimits()


def write(path: Path, seconds: float = 2.0, *, rate: int = 44_100, codec: str = "aac", layout: str = "stereo") -> Path:
    """Write a film with a tone of 440 Hz at half of full scale on the left, and at a quarter on the right."""
    tone = np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate).astype(np.float32)
    with av.open(str(path), "w") as file:
        film = file.add_stream("mpeg4", rate=5)
        film.width, film.height, film.pix_fmt = 64, 64, "yuv420p"
        track = file.add_stream(codec, rate=rate, layout=layout)
        for _ in range(round(5 * seconds)):
            file.mux(film.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        file.mux(film.encode())
        both = np.stack([tone / 2, tone / 4]) if layout == "stereo" else tone[None] / 2
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(both), format="fltp", layout=layout)
        frame.sample_rate = rate
        file.mux(track.encode(frame))
        file.mux(track.encode())
    return path


def sound(path: Path, max_s: float = 60.0, limits: MediaLimits = LIMITS):
    return decode_sound(str(path), max_s=max_s, limits=limits)


def reason(path: Path, **changes) -> str:
    with pytest.raises(MediaError) as caught:
        sound(path, limits=MediaLimits(**changes))
    return caught.value.reason


@pytest.mark.parametrize(
    ("name", "rate", "codec", "layout", "level"),
    [
        ("a.mp4", 44_100, "aac", "stereo", 0.375),
        ("a.mkv", 48_000, "aac", "mono", 0.5),
        ("a.mov", 8_000, "aac", "mono", 0.5),
        ("a.avi", 22_050, "mp2", "mono", 0.5),
    ],
)
def test_a_tone_comes_back_as_it_was(tmp_path, name, rate, codec, layout, level):
    heard = sound(write(tmp_path / name, rate=rate, codec=codec, layout=layout))
    assert heard.dtype == np.float32
    assert len(heard) / RATE == pytest.approx(2.0, abs=0.2)
    middle = heard[RATE // 2 : RATE // 2 + RATE]  # one second: bin k of its spectrum is k Hz
    assert int(np.abs(np.fft.rfft(middle)).argmax()) == 440
    assert float(np.sqrt(2 * np.square(middle).mean())) == pytest.approx(level, rel=0.05)


def test_loud_channels_do_not_overflow(tmp_path):
    path, loud = tmp_path / "loud.mkv", np.full((2, 16_000), 32_000, np.int16)
    with av.open(str(path), "w") as file:
        track = file.add_stream("pcm_s16le", rate=16_000, layout="stereo")
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(loud.T.reshape(1, -1)), format="s16", layout="stereo")
        frame.sample_rate = 16_000
        file.mux([*track.encode(frame), *track.encode()])
    assert sound(path) == pytest.approx(np.full(16_000, 32_000 / 32_768), abs=1e-3)


def test_only_the_beginning_is_decoded(tmp_path):
    path = write(tmp_path / "a.mp4")
    assert len(sound(path, max_s=0.5)) == RATE // 2
    assert (sound(path, max_s=0.5) == sound(path)[: RATE // 2]).all()


def test_a_film_without_sound_has_none(tmp_path, make_video):
    assert sound(make_video(tmp_path / "silent.mp4", 5)) is None


def test_limits_and_broken_files(tmp_path):
    path = write(tmp_path / "a.mp4")
    assert reason(path, max_duration_s=1.5) == "too_long"
    assert reason(path, max_cpu_s=1e-9) == "too_slow"
    assert reason(path, max_video_bytes=100) == "too_many_bytes"
    (tmp_path / "cut.mp4").write_bytes(path.read_bytes()[:3000])
    assert reason(tmp_path / "cut.mp4") == "truncated"
    (tmp_path / "list.mp4").write_text("#EXTM3U\nfile:///etc/passwd\n")
    assert reason(tmp_path / "list.mp4") == "playlist"
    assert reason(tmp_path / "absent.mp4") == "missing_file"


def test_noise_in_the_file_gives_sound_or_a_reason(tmp_path):
    data = write(tmp_path / "a.mkv", 1.0).read_bytes()
    chance = np.random.default_rng(5)
    for _ in range(20):
        noisy = bytearray(data)
        for at in chance.integers(0, len(data), 30):
            noisy[at] = int(chance.integers(0, 256))
        (tmp_path / "noisy.mkv").write_bytes(noisy)
        with suppress(MediaError):  # anything else would end a worker, and fails the test
            heard = sound(tmp_path / "noisy.mkv")
            assert heard is None or float(np.abs(heard).max(initial=0.0)) <= 1.0
