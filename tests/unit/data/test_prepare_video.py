"""One video: what is stored of it, what its hashes depend on, and what happens to broken parts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image

from mmsearch.data.images import from_jpeg, to_square
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.data.prepare_video import VideoPreparer
from mmsearch.types import Modality, Video

SETTINGS = PrepareSettings(num_frames=4, image_size=64)


@pytest.fixture
def video(tmp_path, make_video, make_picture) -> Video:
    cover = make_picture(tmp_path / "cover.jpg", 5, quality=95)
    film = make_video(tmp_path / "film.mp4", 40)
    return Video("v1", title="红烧肉", account="chef", cover=str(cover), video=str(film), asr="so we begin")


def prepare(video: Video, **changes):
    return VideoPreparer(SETTINGS.model_copy(update=changes))(video)


def test_pictures_are_squares_of_the_right_frames(video, read_number):
    prepared = prepare(video).video
    assert prepared.doc_id == "v1"
    assert read_number(from_jpeg(prepared.cover)) == 5
    assert [read_number(from_jpeg(frame)) for frame in prepared.frames] == [5, 15, 25, 35]
    assert from_jpeg(prepared.frames[0]).shape == (64, 64, 3)
    assert prepared.texts == {Modality.TITLE: "红烧肉", Modality.ACCOUNT: "chef", Modality.ASR: "so we begin"}
    assert set(prepared.hashes) == {*prepared.texts, Modality.COVER, Modality.FRAMES}


def test_a_hash_changes_with_its_content_and_its_settings_and_nothing_else(video, tmp_path, make_picture):
    hashes = prepare(video).video.hashes

    def changed(other) -> set[str]:
        return {m.value for m in Modality if hashes.get(m) != other.video.hashes.get(m)}

    assert changed(prepare(video)) == set()
    assert changed(prepare(dataclasses.replace(video, doc_id="v2", duration_s=9.0))) == set()
    assert changed(prepare(dataclasses.replace(video, title="红烧鱼"))) == {"title"}
    other = str(make_picture(tmp_path / "other.png", 6))
    assert changed(prepare(dataclasses.replace(video, cover=other))) == {"cover"}
    assert changed(prepare(dataclasses.replace(video, video=None))) == {"frames"}
    assert changed(prepare(video, num_frames=5)) == {"frames"}
    assert changed(prepare(video, image_size=32)) == {"cover", "frames"}
    assert changed(prepare(video, jpeg_quality=80)) == {"cover", "frames"}
    assert changed(prepare(video, fit="crop")) == {"cover", "frames"}
    assert changed(prepare(video, num_workers=7, shard_size=3)) == set()


def test_listed_pictures_are_frames(tmp_path, make_picture, read_number):
    pictures = tuple(str(make_picture(tmp_path / f"{n}.png", n)) for n in range(11))

    def numbers(count: int) -> list[int]:
        frames = prepare(Video("v", frames=pictures[:count])).video.frames
        return [read_number(from_jpeg(frame)) for frame in frames]

    assert numbers(11) == [1, 4, 6, 9]
    assert numbers(4) == [0, 1, 2, 3]
    assert numbers(2) == [0, 0, 1, 1]
    assert numbers(1) == [0, 0, 0, 0]


def test_what_is_missing_stays_missing(tmp_path):
    prepared = prepare(Video("v", title="only words")).video
    assert (prepared.cover, prepared.frames, set(prepared.hashes)) == (None, (), {Modality.TITLE})


def test_broken_files_reject_the_video_or_the_modality(video):
    broken = dataclasses.replace(video, video="/absent.mp4", asr="/absent.srt")
    whole = prepare(broken)
    assert whole.video is None
    assert [(r.doc_id, r.modality, r.reason) for r in whole.rejections] == [
        ("v1", "asr", "missing_file"),
        ("v1", "frames", "missing_file"),
    ]
    part = prepare(broken, on_bad_media="drop_modality")
    assert set(part.video.hashes) == {Modality.TITLE, Modality.ACCOUNT, Modality.COVER}
    assert part.rejections == whole.rejections
    nothing = prepare(Video("v", video="/absent.mp4"), on_bad_media="drop_modality")
    assert nothing.video is None
    assert [r.reason for r in nothing.rejections] == ["missing_file", "no_content"]


def test_fits():
    wide = Image.fromarray(np.repeat(np.repeat(np.array([[0, 255, 255, 0]], np.uint8), 32, 1), 64, 0)).convert("RGB")
    squashed, cropped, padded = (np.asarray(to_square(wide, 32, fit))[..., 0] for fit in ("squash", "crop", "pad"))
    assert [picture.shape for picture in (squashed, cropped, padded)] == [(32, 32)] * 3
    assert squashed[16, 2] < 10 < 245 < squashed[16, 16]
    assert cropped[:, 2:-2].min() > 200
    assert padded[:4].max() < 10
    assert padded[16].max() > 245
