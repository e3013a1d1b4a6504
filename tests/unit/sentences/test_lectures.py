"""Greedy key sentences of real lectures, English and Chinese."""

import json

import pytest

from mmsearch.sentences import DocumentFrequencies, KeySentenceExtractor, SentenceSettings, SpokenVideo, split_sentences

NUM_LECTURES = 12


@pytest.fixture(scope="module")
def lectures(real_data):
    with (real_data / "lectures" / "videos.jsonl").open(encoding="utf-8") as file:
        rows = [json.loads(line) for _, line in zip(range(NUM_LECTURES), file, strict=False)]
    both = [(row, language) for row in rows for language in ("", "_zh") if row.get(f"segments{language}")]
    return [
        SpokenVideo(
            row["doc_id"] + language, row[f"title{language}"], "\n".join(s[2] for s in row[f"segments{language}"])
        )
        for row, language in both
    ]


@pytest.mark.real_data
def test_sentences_of_real_speech_are_verbatim_within_the_budget_and_about_the_title(lectures):
    frequencies = DocumentFrequencies.of((video.transcript for video in lectures), "bigrams")
    with KeySentenceExtractor(SentenceSettings(segmenter="bigrams"), frequencies) as extractor:
        results = list(extractor.extract(lectures))
    for video, result in zip(lectures, results, strict=True):
        assert 0 < len(result.text) <= 200
        at = 0
        for sentence in result.sentences:
            at = video.transcript.index(sentence, at) + len(sentence)
    assert {result.method for result in results} == {"greedy"}


@pytest.mark.real_data
def test_real_speech_is_split_where_sentences_end(lectures):
    ends = [sentence[-1] for video in lectures for sentence in split_sentences(video.transcript, 400)]
    assert sum(end in '.?!。？！…"”' for end in ends) > 0.9 * len(ends)
