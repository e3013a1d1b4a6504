"""How well and how fast text in pictures is read: covers and films of the demo world, whose true texts are known.

    python tests/benchmark/ocr.py [--videos N] [--data DIR] [KEY=VALUE ...]

KEY=VALUE are settings of OCR (`min_side=736`). Characters are compared without case, width, blanks and marks. The
last line is one JSON object: share of texts read without an error, character error rate (edit distance over true
characters), lines read that were never drawn per picture, processor seconds a picture, and peak memory. Where
`DIR/clips` is, what is read in those clips is shown (their true text is not known; most hold none).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mmsearch.config import load_settings
from mmsearch.data.images import UInt8, read_image
from mmsearch.data.media import MediaLimits
from mmsearch.data.video import decode_frames
from mmsearch.demo.settings import WorldSettings
from mmsearch.demo.world import draw, plan_world
from mmsearch.recognition.ocr import OcrSettings, PictureText, spread
from mmsearch.recognition.ocr.merge import compared

LIMITS = MediaLimits()
NUM_FRAMES = 8


def distance(first: str, second: str) -> int:
    """Give the edit distance (Levenshtein)."""
    before = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        row = [i]
        for j, b in enumerate(second, 1):
            row.append(min(row[-1] + 1, before[j] + 1, before[j - 1] + (a != b)))
        before = row
    return before[-1]


class Score:
    """Counts over pictures."""

    def __init__(self) -> None:
        self.texts = self.exact = self.characters = self.errors = self.extra = self.pictures = 0
        self.cpu_s = 0.0

    def add(self, truth: Sequence[str], read: str | None, cpu_s: float, pictures: int) -> None:
        """Add what was read: each true text is compared with the line (or all lines joined) that is nearest."""
        lines = [compared(line) for line in (read or "").split("\n") if compared(line)]
        for text in map(compared, truth):
            nearest = min((distance(text, line) for line in [*lines, "".join(lines)]), default=len(text))
            self.texts, self.exact = self.texts + 1, self.exact + (nearest == 0)
            self.characters, self.errors = self.characters + len(text), self.errors + min(nearest, len(text))
        drawn = [compared(text) for text in truth]
        self.extra += sum(all(distance(line, text) > 0.5 * len(text) for text in drawn) for line in lines)
        self.cpu_s, self.pictures = self.cpu_s + cpu_s, self.pictures + pictures

    def result(self) -> dict[str, float]:
        """Give the figures."""
        return {
            "texts": self.texts,
            "exact": round(self.exact / max(1, self.texts), 3),
            "character_error_rate": round(self.errors / max(1, self.characters), 4),
            "false_lines_per_picture": round(self.extra / max(1, self.pictures), 3),
            "cpu_s_per_picture": round(self.cpu_s / max(1, self.pictures), 3),
        }


def cover_pixels(path: Path, settings: OcrSettings) -> UInt8:
    """Give a cover as `prepare` gives it to the reader."""
    return np.asarray(read_image(str(path), limits=LIMITS, size=settings.max_side // 2))


def measure(folder: Path, settings: OcrSettings, num_videos: int) -> dict[str, dict[str, float]]:
    """Draw a part of the demo world and read it."""
    world, text = WorldSettings(), PictureText(settings)
    text.read_cover(np.zeros((64, 64, 3), np.uint8))  # loads the models
    covers, films = Score(), Score()
    listings = [one for one in plan_world(world).listings if one.video.cover and one.video.video and one.slogan]
    for entry in spread(listings, num_videos):
        for part in ("covers", "video"):
            (folder / part).mkdir(exist_ok=True)
        draw(world, folder, entry)
        picture = cover_pixels(folder / str(entry.video.cover), settings)
        start = time.process_time()
        covers.add([entry.slogan], text.read_cover(picture), time.process_time() - start, 1)
        frames = spread(decode_frames(str(folder / str(entry.video.video)), NUM_FRAMES).frames, settings.max_frames)
        start = time.process_time()
        films.add(entry.captions, text.read_frames(frames), time.process_time() - start, len(frames))
    return {"covers": covers.result(), "films": films.result()}


def show_clips(clips: Path, settings: OcrSettings) -> None:
    """Print what is read in filmed clips."""
    text, start = PictureText(settings), time.process_time()
    paths = sorted(clips.iterdir())
    for path in paths:
        frames = spread(decode_frames(str(path), NUM_FRAMES).frames, settings.max_frames)
        print(f"{path.stem}\t{text.read_frames(frames)!r}")
    print(f"clips: {(time.process_time() - start) / len(paths):.2f} CPU s each, {settings.max_frames} frames")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=40, help="videos of the demo world")
    parser.add_argument("--data", type=Path, default=os.environ.get("MMSEARCH_DATA"), help="folder of real data")
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE", help="settings of OCR")
    options = parser.parse_args()
    settings = load_settings(OcrSettings, None, ["reader=rapidocr", *options.settings])
    if options.data and (options.data / "clips").is_dir():
        show_clips(options.data / "clips" / "video", settings)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), settings, options.videos)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result | {"peak_mib": round(peak), "settings": settings.model_dump(mode="json")}))


if __name__ == "__main__":
    main()
