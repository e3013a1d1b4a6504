"""How well a video is found by its key sentences alone: the transcript cut at the limit, greedy, a language model.

    python tests/benchmark/key_sentences.py --data DIR [--gguf FILE] [--cache FILE] [--max-chars 200]

A video is what the method leaves of its transcript, and no more; queries find it by BM25 (Robertson & Zaragoza 2009,
k1 = 1.2, b = 0.75) over the terms of `mmsearch.sentences`.

- exercises: the graded queries of the data set, PNR over judged pairs. Choosers see the title, the searcher's queries
  are other words.
- lectures: the title is the query, all lectures are ranked, mean reciprocal rank. A chooser that has seen the title
  knows the query; so greedy is measured without it, too, and the figures with it are marked: they say how much of a
  title can be found in the sentences, not what a search engine would gain.

Intervals are bootstraps over queries, differences to `cut` paired by query. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table as RichTable

from mmsearch.metrics import Scored, Statistic
from mmsearch.metrics.measures import Table, compute
from mmsearch.metrics.significance import bootstrap_intervals, paired_bootstrap
from mmsearch.sentences import DocumentFrequencies, KeySentenceExtractor, SentenceSettings, SpokenVideo
from mmsearch.sentences.models import LanguageModelSettings
from mmsearch.sentences.models.by_gguf import GgufModelSettings
from mmsearch.sentences.terms import terms_of

K1, B = 1.2, 0.75
#: What a set is measured on: rows of (query, doc_id, grade).
Rows = list[tuple[str, str, int]]


class Bm25:
    """Scores of documents that are what a method left of them."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._counts = {doc_id: Counter(terms_of(text)) for doc_id, text in texts.items()}
        lengths = {doc_id: sum(counts.values()) for doc_id, counts in self._counts.items()}
        mean = max(1.0, sum(lengths.values()) / max(1, len(lengths)))
        self._norm = {doc_id: K1 * (1 - B + B * length / mean) for doc_id, length in lengths.items()}
        self._in = Counter(term for counts in self._counts.values() for term in counts)

    def score(self, query: str, doc_id: str) -> float:
        counts, total = self._counts[doc_id], 0.0
        for term in terms_of(query):
            idf = math.log1p((len(self._counts) - self._in[term] + 0.5) / (self._in[term] + 0.5))
            total += idf * counts[term] * (K1 + 1) / (counts[term] + self._norm[doc_id])
        return total


def left_by(
    settings: SentenceSettings, videos: Sequence[SpokenVideo], *, titles: bool = True
) -> tuple[dict[str, str], float]:
    """Give what a method leaves of each transcript, and its seconds."""
    shown = videos if titles else [SpokenVideo(v.doc_id, None, v.transcript) for v in videos]
    frequencies = DocumentFrequencies.of(video.transcript for video in videos)
    with KeySentenceExtractor(settings, frequencies) as extractor:
        begun = time.perf_counter()
        found = {one.doc_id: one.text for one in extractor.extract(shown, len(shown))}
        return found, time.perf_counter() - begun


def measured(measure: str, rows: Rows, texts: Mapping[str, str]) -> Statistic:
    ranker = Bm25(texts)
    columns = [[row[i] for row in rows] for i in range(3)]
    scores = [ranker.score(query, doc_id) for query, doc_id, _ in rows]
    return compute(measure, Table(Scored.from_columns(columns[0], columns[1], columns[2], scores)))


def compare(
    title: str, measure: str, rows: Rows, ways: Mapping[str, tuple[Mapping[str, str], float]]
) -> dict[str, Any]:
    statistics = {name: measured(measure, rows, texts) for name, (texts, _) in ways.items()}
    intervals = bootstrap_intervals(list(statistics.values()), resamples=2_000)
    shown = RichTable("method", measure, "95 %", "minus cut", "95 %", "characters", "seconds", title=title)
    told: dict[str, Any] = {}
    for (name, one), between in zip(statistics.items(), intervals, strict=True):
        change = paired_bootstrap(one, statistics["cut"], resamples=2_000)
        texts, seconds = ways[name]
        length = float(np.mean([len(text) for text in texts.values()]))
        told[name] = {
            "value": one.value,
            "interval": [between.low, between.high],
            "minus_cut": change.difference,
            "minus_cut_interval": [change.interval.low, change.interval.high],
            "characters": length,
            "seconds": seconds,
        }
        shown.add_row(
            name,
            f"{one.value:.3f}",
            f"{between.low:.3f} … {between.high:.3f}",
            f"{change.difference:+.3f}",
            f"{change.interval.low:+.3f} … {change.interval.high:+.3f}",
            f"{length:.0f}",
            f"{seconds:.1f}",
        )
    Console(width=140).print(shown)
    return told


def ways_of(
    videos: Sequence[SpokenVideo],
    max_chars: int,
    model: LanguageModelSettings | None,
    cache: Path | None,
    *,
    titles_are_queries: bool,
) -> dict[str, tuple[dict[str, str], float]]:
    greedy = SentenceSettings(max_chars=max_chars)
    whole = {video.doc_id: video.transcript for video in videos}
    found = {
        "whole transcript": (whole, 0.0),
        "cut": ({doc_id: text[:max_chars] for doc_id, text in whole.items()}, 0.0),
        "greedy, no title": left_by(greedy, videos, titles=False),
    }
    mark = " (knows the query)" if titles_are_queries else ""
    found[f"greedy{mark}"] = left_by(greedy, videos)
    if model is not None:
        asked = SentenceSettings(max_chars=max_chars, method="likelihood", model=model, cache=cache)
        found[f"likelihood{mark}"] = left_by(asked, videos)
    return found


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def exercises(folder: Path, num_videos: int) -> tuple[list[SpokenVideo], Rows]:
    rows = [row for row in lines_of(folder / "videos.jsonl") if row.get("asr")][:num_videos]
    videos = [SpokenVideo(row["doc_id"], row["title"], row["asr"]) for row in rows]
    known = {video.doc_id for video in videos}
    judged = [
        (r["query"], r["doc_id"], r["grade"]) for r in lines_of(folder / "judgments.jsonl") if r["doc_id"] in known
    ]
    return videos, judged


def lectures(folder: Path, num_videos: int) -> tuple[list[SpokenVideo], Rows]:
    rows = [row for row in lines_of(folder / "videos.jsonl") if row.get("title")][:num_videos]
    videos = [SpokenVideo(row["doc_id"], row["title"], "\n".join(s[2] for s in row["segments"])) for row in rows]
    return videos, [(one["title"], two["doc_id"], int(one is two)) for one in rows for two in rows]


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with exercises/ and lectures/")
    parser.add_argument("--gguf", type=Path, help="a language model, for `likelihood`")
    parser.add_argument("--cache", type=Path, help="keeps what the model said, so that a killed run goes on")
    parser.add_argument("--max-chars", type=int, default=200)
    parser.add_argument("--videos", type=int, default=615)
    parser.add_argument("--lectures", type=int, default=110)
    given = parser.parse_args(None if arguments is None else list(arguments))
    model = None if given.gguf is None else GgufModelSettings(path=given.gguf)
    told = {}
    for name, load, count, measure in (
        ("exercises", exercises, given.videos, "pnr"),
        ("lectures", lectures, given.lectures, "mrr"),
    ):
        videos, rows = load(given.data / name, count)
        ways = ways_of(videos, given.max_chars, model, given.cache, titles_are_queries=name == "lectures")
        told[name] = compare(f"{name}: {len(videos)} videos, {given.max_chars} characters", measure, rows, ways)
    print(json.dumps({"benchmark": "key_sentences", "max_chars": given.max_chars, **told}))


if __name__ == "__main__":
    main()
