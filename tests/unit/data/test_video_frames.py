"""Every decoder gives exactly the frames that are shown at the wanted times, whatever the container and codec."""

from __future__ import annotations

import itertools

import av
import numpy as np
import pytest

from mmsearch.data.decoders import by_decord, by_torchcodec
from mmsearch.data.decoders.by_pyav import decode
from mmsearch.data.decoders.index import read_index
from mmsearch.data.media import MediaLimits
from mmsearch.data.video import decode_frames
from mmsearch.errors import MissingExtraError

LIMITS = MediaLimits()
RANDOM = np.random.default_rng(3)
TIMES = np.cumsum(RANDOM.integers(8, 150, 75)).tolist()

#: name -> how to write it (75 frames)
KINDS = {
    "b_frames.mp4": {},
    "b_frames.mkv": {},
    "b_frames.avi": {},
    "b_frames.flv": {},
    "b_frames.ts": {},
    "fragmented.mov": {"key_every": 30},
    "one_key.mp4": {"key_every": 250, "b_frames": 3},
    "open_groups.mp4": {"options": {"x264-params": "open-gop=1"}, "b_frames": 3},
    "open_groups.ts": {"options": {"x264-params": "open-gop=1"}, "b_frames": 3},
    "gradual_refresh.mp4": {"options": {"x264-params": "intra-refresh=1"}, "b_frames": 0},
    "ten_bit.mp4": {"pixel_format": "yuv420p10le"},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "av1.mp4": {"codec": "libsvtav1", "options": {"preset": "12"}},
    "packed.avi": {"codec": "mpeg4"},
    "windows.wmv": {"codec": "mpeg4", "container": "asf"},
    "program.mpg": {"codec": "mpeg2video"},
    "variable_rate.mp4": {"times_ms": TIMES},
    "variable_rate.mkv": {"times_ms": TIMES},
}
DECODERS = ("pyav", "decord", "torchcodec")


def torchcodec_works() -> bool:
    try:
        from torchcodec.decoders import VideoDecoder  # noqa: F401
    except (ImportError, RuntimeError):  # RuntimeError: no FFmpeg libraries on this machine
        return False
    return True


@pytest.fixture(scope="module")
def videos(tmp_path_factory, make_video):
    folder = tmp_path_factory.mktemp("videos")
    try:
        av.logging.set_level(av.logging.PANIC)
        return {name: make_video(folder / name, **how) for name, how in KINDS.items()}
    finally:
        av.logging.set_level(None)


def skip_without(decoder: str) -> None:
    if decoder == "decord":
        pytest.importorskip("decord")
    if decoder == "torchcodec" and not torchcodec_works():
        pytest.skip("torchcodec or its FFmpeg is not installed")


def expected(times_ms, count: int) -> list[int]:
    """The naive twin: walk over the frames, in milliseconds, until the next one begins too late."""
    end = times_ms[-1] + (40 if times_ms[1] - times_ms[0] == 40 else times_ms[-1] - times_ms[-2])
    centres = [times_ms[0] + (i + 0.5) * (end - times_ms[0]) / count for i in range(count)]
    return [max(n for n, t in enumerate(times_ms) if t <= centre) for centre in centres]


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("name", KINDS)
def test_frames_are_those_shown_at_the_centres_of_equal_parts(videos, read_number, name, decoder):
    skip_without(decoder)
    times = TIMES if name.startswith("variable") else [40 * n for n in range(75)]
    for count in (1, 5, 8):
        got = decode_frames(str(videos[name]), count, decoder=decoder)
        numbers = [read_number(frame) for frame in got.frames]
        # The length of the last frame is what the container says, and only mkv and mp4 of a fixed rate agree on it.
        slack = 1 if name.startswith("variable") else 0
        assert np.abs(np.subtract(numbers, expected(times, count))).max() <= slack
        assert got.times_s == pytest.approx([(times[n] - times[0]) / 1000 for n in numbers], abs=2e-3)
        assert all(frame.shape == (96, 160, 3) and frame.dtype == np.uint8 for frame in got.frames)


@pytest.mark.parametrize("name", KINDS)
def test_every_single_frame_can_be_had(videos, read_number, name):
    index = read_index(str(videos[name]), LIMITS)
    assert len(index.pts) == 75
    for start in (0, 1, 7):  # different starts: different jumps to key frames
        wanted = np.arange(start, 75, 11)
        assert [read_number(f) for f in decode(index, wanted, LIMITS)] == wanted.tolist()


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_pictures_stand_upright(tmp_path, make_video, rotate, read_number, decoder, degrees):
    skip_without(decoder)
    path = make_video(tmp_path / "turned.mp4", 20)
    rotate(path, degrees)
    frames = decode_frames(str(path), 4, decoder=decoder).frames
    assert frames[0].shape == ((160, 96, 3) if degrees != 180 else (96, 160, 3))
    upright = [np.rot90(frame, degrees // 90) for frame in frames]  # undo a turn clockwise
    assert [read_number(frame) for frame in upright] == [2, 7, 12, 17]


@pytest.mark.parametrize("decoder", DECODERS)
def test_an_edit_list_cuts(tmp_path, make_video, edit, read_number, decoder):
    skip_without(decoder)
    path = make_video(tmp_path / "edited.mp4")
    edit(path, first=17, count=50)
    frames = decode_frames(str(path), 5, decoder=decoder).frames
    assert [read_number(frame) for frame in frames] == [22, 32, 42, 52, 62]


def test_fewer_frames_than_wanted_repeat(tmp_path, make_video, read_number):
    path = make_video(tmp_path / "short.mp4", 3)
    assert [read_number(f) for f in decode_frames(str(path), 8).frames] == [0, 0, 0, 1, 1, 2, 2, 2]
    assert [read_number(f) for f in decode_frames(str(make_video(tmp_path / "one.mp4", 1)), 3).frames] == [0, 0, 0]


def test_a_gif_is_a_video(tmp_path, read_number):
    from PIL import Image

    from mmsearch.data.images import to_jpeg

    pictures = [Image.fromarray(np.full((40, 60, 3), 40 * n, np.uint8)) for n in range(6)]
    pictures[0].save(tmp_path / "moving.gif", save_all=True, append_images=pictures[1:], duration=100)
    frames = decode_frames(str(tmp_path / "moving.gif"), 3, decoder="decord").frames
    assert [round(frame.mean() / 40) for frame in frames] == [1, 3, 5]
    assert to_jpeg(Image.fromarray(frames[0]), 90)[:2] == b"\xff\xd8"


def test_names_do_not_matter(videos, tmp_path, read_number):
    for name in ("b_frames.mkv", "b_frames.ts", "vp9.webm"):
        wrong = tmp_path / f"{name}.mp4"
        wrong.write_bytes(videos[name].read_bytes())
        assert [read_number(f) for f in decode_frames(str(wrong), 2).frames] == [18, 56]


def test_decord_gets_only_what_it_reads_rightly(videos):
    pytest.importorskip("decord")
    served = set()
    for name, path in videos.items():
        index = read_index(str(path), LIMITS)
        if by_decord.decode(index, index.choose(8), LIMITS) is not None:
            served.add(name)
    by_itself = {"b_frames.mp4", "b_frames.mkv", "fragmented.mov", "one_key.mp4", "vp9.webm"}
    assert served == by_itself | {"variable_rate.mp4", "variable_rate.mkv"}


def test_torchcodec_without_ffmpeg_says_what_to_do(videos):
    if torchcodec_works():
        pytest.skip("torchcodec and its FFmpeg are installed")
    index = read_index(str(videos["b_frames.mp4"]), LIMITS)
    with pytest.raises(MissingExtraError, match=r"FFmpeg|pip install"):
        by_torchcodec.decode(index, index.choose(2), LIMITS)


def test_decoders_give_the_same_pixels(videos):
    for first, second in itertools.pairwise(d for d in DECODERS if d != "torchcodec" or torchcodec_works()):
        skip_without(second)
        a = decode_frames(str(videos["one_key.mp4"]), 4, decoder=first).frames
        b = decode_frames(str(videos["one_key.mp4"]), 4, decoder=second).frames
        assert np.abs(np.stack(a).astype(int) - np.stack(b)).max() <= 3
