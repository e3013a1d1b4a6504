"""A small sheet."""

import pytest

from mmsearch.sentences.extract import SpokenVideo
from mmsearch.sentences.grading import Plan, build_sheet, contenders
from mmsearch.sentences.settings import SentenceSettings

PARTS = ("We meet the {0} of the old harbour.", "He paints the {0} every morning.", "It rains a lot here.")
HAN = ("今天我们来看{0}怎么做。", "先把{0}洗干净，再切成小块。", "大家记得点赞。")


def spoken_videos(number=12):
    """Videos of both languages, about different things, each four times longer than the small budget."""
    videos = []
    for at in range(number):
        is_han = at % 3 == 0
        thing = "土豆豆腐鱼虾面饭"[at % 8] if is_han else f"boat{at}"
        filler = "这是第{1}个视频的第{0}句话，没有说什么。" if is_han else "Line {0} of video {1} says little."
        lines = [part.format(thing) for part in (HAN if is_han else PARTS)]
        lines += [filler.format(line, at) for line in range(6)]
        videos.append(SpokenVideo(f"v{at:02d}", f"the {thing} of the harbour {thing}", "\n".join(lines)))
    return videos


@pytest.fixture
def videos():
    return spoken_videos()


@pytest.fixture
def plan():
    return Plan(*contenders(SentenceSettings(max_chars=80, max_sentence_chars=60, segmenter="bigrams")), num_videos=6)


@pytest.fixture
def sheet(videos, plan):
    return build_sheet(videos, plan, {"videos": "hash"} | plan.record())
