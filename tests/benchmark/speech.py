"""How well and how fast speech is recognised: videos whose true words are known.

    python tests/benchmark/speech.py SPOKEN.jsonl type=faster_whisper model=DIR [KEY=VALUE ...]

SPOKEN.jsonl has rows {"video": path relative to the table, "text": true words, "language": any label}; KEY=VALUE are
settings of a recogniser. A line for each video, then one JSON object: for each language the word error rate (edit
distance over true words, without case and marks; Chinese by characters, as is usual, so traditional characters for
simplified ones count as errors), and processor seconds of recognising for a second of sound, the model's loading left
out; last, the peak memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
import unicodedata
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from mmsearch.config import Settings, load_settings
from mmsearch.data.media import MediaLimits
from mmsearch.data.sound import RATE, decode_sound
from mmsearch.recognition.speech import SoundText, SpeechSettings


class Measured(Settings):
    """The recogniser that is measured."""

    speech: SpeechSettings
    """Its settings."""


def words(text: str) -> list[str]:
    """Split into words without marks and case; Chinese characters stand alone."""
    plain = "".join(c if c.isalnum() or c == "'" else " " for c in unicodedata.normalize("NFKC", text).casefold())
    return "".join(f" {c} " if "\u4e00" <= c <= "\u9fff" else c for c in plain).split()


def distance(first: list[str], second: list[str]) -> int:
    """Give the edit distance (Levenshtein)."""
    before = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        row = [i]
        for j, b in enumerate(second, 1):
            row.append(min(row[-1] + 1, before[j] + 1, before[j - 1] + (a != b)))
        before = row
    return before[-1]


def measure(table: Path, sounds: SoundText) -> dict[str, dict[str, float]]:
    """Recognise every video of the table and count."""
    counts: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    noise = np.random.default_rng(0).normal(0, 0.01, RATE).astype(np.float32)
    sounds.read(noise)  # loads the model
    for row in map(json.loads, table.read_text(encoding="utf-8").splitlines()):
        sound = decode_sound(str(table.parent / row["video"]), max_s=1800.0, limits=MediaLimits())
        if sound is None:
            continue
        start = time.process_time()
        said = sounds.read(sound) or ""
        count = counts[row.get("language", "all")]
        count["cpu_s"] += time.process_time() - start
        count["seconds"] += len(sound) / RATE
        count["words"] += len(words(row["text"]))
        count["errors"] += distance(words(row["text"]), words(said))
        print(f"{row['video']}\t{row['text']}\t{' '.join(said.split())}")
    return {language: _figures(count) for language, count in counts.items()}


def _figures(count: dict[str, float]) -> dict[str, float]:
    return {
        "seconds": round(count["seconds"], 1),
        "words": int(count["words"]),
        "word_error_rate": round(count["errors"] / max(1.0, count["words"]), 4),
        "cpu_s_per_second": round(count["cpu_s"] / max(1e-9, count["seconds"]), 3),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="JSONL: video, text, language")
    parser.add_argument("settings", nargs="+", metavar="KEY=VALUE", help="settings of a recogniser")
    options = parser.parse_args()
    speech: Any = load_settings(Measured, None, [f"speech.{setting}" for setting in options.settings]).speech
    result = measure(options.table, SoundText(speech.build(), max_chars=speech.max_chars))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result | {"peak_mib": round(peak), "settings": speech.model_dump(mode="json")}))


if __name__ == "__main__":
    main()
