"""How fast videos are decoded by each decoder, and how much faster a prepared corpus is read.

    python tests/benchmark/decode.py [--data DIR] [--rounds N]

Makes a 20 s clip of 854 x 480 (H.264, a key frame every 2 s) and, where `DIR/clips` is, takes those clips too. The
decoders take turns within each round, so that a busy machine slows all of them; the table shows medians of
`decode_frames`, which reads the frame index with PyAV first whatever the decoder. The last line is one JSON object:
videos read from the prepared corpus in a second, against decoding them again.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np

from mmsearch.data.decoders import DECODERS, DecoderName
from mmsearch.data.images import from_jpeg
from mmsearch.data.prepare import prepare
from mmsearch.data.prepare_settings import PrepareSettings
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.data.video import decode_frames
from mmsearch.errors import MissingExtraError

NUM_FRAMES = 8
TARGET = 10.0


def make_clip(path: Path, seconds: int = 20) -> Path:
    """Write a clip of moving noise and gradients: as hard to decode as filmed pictures."""
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 80, (480, 854, 3), dtype=np.uint8) + np.linspace(0, 170, 854, dtype=np.uint8)[:, None]
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"preset": "veryfast", "crf": "28"})
        stream.width, stream.height, stream.pix_fmt = 854, 480, "yuv420p"
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = 50, 2
        for number in range(25 * seconds):
            frame = av.VideoFrame.from_ndarray(np.roll(texture, 3 * number, axis=1), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def usable_decoders(clip: Path) -> list[DecoderName]:
    """Give the decoders whose libraries are here."""
    usable: list[DecoderName] = []
    for name in DECODERS:
        try:
            decode_frames(str(clip), 1, decoder=name)
            usable.append(name)
        except MissingExtraError as error:
            print(f"{name}: left out: {error}")
    return usable


def interleaved(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Give the median seconds of each call; all are called once in each round."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def decode_all(paths: Sequence[Path], count: int, decoder: DecoderName) -> None:
    """Decode frames of every video."""
    for path in paths:
        decode_frames(str(path), count, decoder=decoder)


def decode_table(title: str, paths: Sequence[Path], decoders: Sequence[DecoderName], rounds: int) -> None:
    """Print the milliseconds a video of every decoder."""
    print(f"\n{title}, {len(paths)} video(s): ms a video")
    print(f"{'frames':>8} " + " ".join(f"{name:>12}" for name in decoders))
    for count in (1, NUM_FRAMES, 32):
        calls = {name: partial(decode_all, paths, count, name) for name in decoders}
        taken = interleaved(calls, rounds)
        print(f"{count:>8} " + " ".join(f"{1e3 * taken[name] / len(paths):12.1f}" for name in decoders))


def read_corpus(corpus: PreparedCorpus, rows: Sequence[int]) -> None:
    """Read videos as training does: rows, then pixels."""
    for video in corpus.read(rows):
        for frame in video.frames:
            from_jpeg(frame)


def reading_against_decoding(paths: Sequence[Path], folder: Path, rounds: int) -> dict[str, object]:
    """Compare the reading of prepared videos with decoding them again, both up to 224 px frames as pixels."""
    rows = [{"doc_id": f"v{n}", "video": str(path.resolve())} for n, path in enumerate(paths)]
    table = folder / "videos.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    prepare(table, folder / "corpus", PrepareSettings(num_frames=NUM_FRAMES, num_workers=1))
    everything = range(len(paths))
    taken = interleaved(
        {
            "bytes": lambda: PreparedCorpus.open(folder / "corpus").read(everything),
            "pixels": lambda: read_corpus(PreparedCorpus.open(folder / "corpus"), everything),
            "decode": partial(decode_all, paths, NUM_FRAMES, "pyav"),
        },
        rounds,
    )
    speed = {name: len(paths) / seconds for name, seconds in taken.items()}
    print(f"\nA corpus of {len(paths)} videos, {NUM_FRAMES} frames of 224 px: videos a second")
    print(f"  read the JPEG bytes {speed['bytes']:12,.0f}")
    print(f"  read and unpack     {speed['pixels']:12,.0f}")
    print(f"  decode the videos   {speed['decode']:12,.1f}")
    ratio = speed["pixels"] / speed["decode"]
    return {
        "name": "read prepared videos, pixels included",
        "value": round(speed["pixels"], 1),
        "unit": "videos/s",
        "ratio": round(ratio, 1),
        "against": f"decoding them with pyav ({speed['decode']:.1f} videos/s)",
        "target": TARGET,
        "met": ratio >= TARGET,
    }


def main() -> None:
    """Run all and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("MMSEARCH_DATA", Path(__file__).parents[3] / "shared" / "data")
    parser.add_argument("--data", type=Path, default=Path(default), help="folder that may hold clips/video")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = make_clip(folder / "clip.mp4")
        decoders = usable_decoders(clip)
        decode_table("20 s, 854 x 480, H.264", [clip], decoders, arguments.rounds)
        clips = sorted((arguments.data / "clips" / "video").glob("*.mp4"))
        if clips:
            decode_table("Filmed clips, 1 to 12 s, 320 x 180", clips, decoders, arguments.rounds)
        print(json.dumps(reading_against_decoding([clip] * 8, folder, arguments.rounds)))


if __name__ == "__main__":
    main()
