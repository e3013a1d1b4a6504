"""What a model is taught is what it will be asked."""

import json
import random

import pytest

from mmsearch.errors import DataError
from mmsearch.sentences import DocumentFrequencies, KeySentenceExtractor, SentenceSettings, SpokenVideo, split_sentences
from mmsearch.sentences.models import Completion, Prompt, TransformersModelSettings
from mmsearch.sentences.models.by_transformers import prompt_ids
from training.sft.asking import ExampleMaker
from training.sft.model import load_tokenizer
from training.sft.pairs import Pair


class Recorder:
    """A model that keeps what it is asked, and names the first sentence."""

    name, concurrency = "recorder", 1

    def __init__(self):
        self.prompts = []

    def complete(self, prompt, *, max_tokens, schema=None):
        self.prompts.append(prompt)
        return Completion('{"sentences": [1]}', 0, 0)

    def log_probabilities(self, prefixes, text):
        raise AssertionError("select asks for no probabilities")

    def close(self):
        pass


def talk(seed, count):
    """Sentences of random words, some of them hostile."""
    chosen = random.Random(seed)
    words = ["river", "stone", "bridge", "</data>", "水", "桥梁", "cook", "[1]", "\u202e", "now", "<|im_end|>"]
    return " ".join(" ".join(chosen.choices(words, k=chosen.randint(3, 9))) + "." for _ in range(count))


def make(tokenizer, settings, pairs, max_tokens=8192):
    frequencies = DocumentFrequencies.of((pair.transcript for pair in pairs), "bigrams")
    return ExampleMaker(tokenizer, settings, frequencies, max_tokens), frequencies


def pair_of(transcript, chosen=(0,), title="The bridge", settings=None):
    sentences = split_sentences(transcript, (settings or SentenceSettings()).max_sentence_chars)
    return Pair("a", title, transcript, tuple(sentences), tuple(chosen))


@pytest.mark.parametrize("room", [12_000, 900])
def test_the_prompts_are_those_of_extraction(tiny_llm, room):
    tokenizer = load_tokenizer(tiny_llm)
    settings = SentenceSettings(
        method="select",
        model={"type": "transformers", "source": str(tiny_llm)},
        max_chars=60,
        max_sentence_chars=50,
        segmenter="bigrams",
        select={"max_prompt_chars": room, "max_shown_chars": 40},
    )
    pairs = [pair_of(talk(seed, 40), title=title, settings=settings) for seed, title in enumerate(("The 桥梁", None))]
    maker, frequencies = make(tokenizer, settings, pairs)
    recorder = Recorder()
    with KeySentenceExtractor(settings, frequencies, recorder) as extractor:
        first = [extractor.extract_one(SpokenVideo("a", pair.title, pair.transcript)).numbers for pair in pairs]
    for pair, numbers, prompt in zip(pairs, first, recorder.prompts, strict=True):
        made = maker.make(Pair(pair.name, pair.title, pair.transcript, pair.sentences, numbers))
        assert made.prompt == tuple(prompt_ids(tokenizer, prompt))
        assert made.chosen == {1}  # the recorder named the first that it was shown
        assert (made.num_shown < len(pair.sentences)) == (room == 900)


def test_the_tokens_of_a_prompt_are_those_of_extraction(tiny_llm):
    prompt = Prompt("Pick 句子.", "<data 1>\nHello\n</data 1>")
    for chat in (True, False):
        tokenizer = load_tokenizer(tiny_llm)
        if not chat:
            tokenizer.chat_template = None
        model = TransformersModelSettings(source=str(tiny_llm)).build()
        model._tokenizer = tokenizer
        seen = []
        model._model.model.embed_tokens.register_forward_hook(lambda *call, seen=seen: seen.append(call[1][0]))
        model.complete(prompt, max_tokens=2)
        assert seen[0].tolist() == [prompt_ids(tokenizer, prompt)]
        text = tokenizer.decode(seen[0][0])
        assert text.endswith("<|im_start|>assistant\n") if chat else text == f"{prompt.system}\n\n{prompt.user}\n"


def test_the_answer_is_the_json_asked_for_and_the_end_of_the_turn(tiny_llm, examples):
    tokenizer = load_tokenizer(tiny_llm)
    for number, example in enumerate(examples):
        *answer, end = example.answer
        assert json.loads(tokenizer.decode(answer)) == {"sentences": [number % 7 + 1]}
        assert end == tokenizer.eos_token_id


def test_the_order_of_a_pair_is_taught(tiny_llm, sentence_settings):
    pair = pair_of(talk(1, 20), (7, 2, 5), settings=sentence_settings)
    maker, _ = make(load_tokenizer(tiny_llm), sentence_settings, [pair])
    made = maker.make(pair)
    assert json.loads(load_tokenizer(tiny_llm).decode(made.answer[:-1])) == {"sentences": [8, 3, 6]}
    assert made.chosen == {8, 3, 6}


def reason(tokenizer, pair, max_tokens=8192, **select):
    """Say why a pair can be no example."""
    settings = SentenceSettings(max_chars=90, max_sentence_chars=60, segmenter="bigrams", select=select)
    made = make(tokenizer, settings, [pair], max_tokens)[0].make(pair)
    return made if isinstance(made, str) else None


def test_what_cannot_be_an_example_is_told(tiny_llm, sentence_settings):
    tokenizer = load_tokenizer(tiny_llm)
    short = pair_of("Short talk. It fits.", settings=sentence_settings)
    long = pair_of(talk(2, 20), range(12), settings=sentence_settings)
    assert reason(tokenizer, long) is None
    assert "whole transcript fits" in reason(tokenizer, short)
    assert "more than 100 tokens" in reason(tokenizer, long, 100)
    assert "answer is longer" in reason(tokenizer, long, max_answer_tokens=16)
    alone = [pair_of(talk(2, 20), [n], None, sentence_settings) for n in range(len(long.sentences))]
    told = [reason(tokenizer, pair, max_prompt_chars=200) for pair in alone]
    assert {None, "no key sentence is among those that a prompt has room for (sentences.select.max_prompt_chars)"} == {
        *told
    }


def test_what_is_left_out_is_counted(tiny_llm, sentence_settings, caplog):
    short = pair_of("Short talk. It fits.", settings=sentence_settings)
    good = pair_of(talk(4, 12), (1,), settings=sentence_settings)
    maker, _ = make(load_tokenizer(tiny_llm), sentence_settings, [short, good])
    assert maker.make_all([short, good], "to learn from") == [maker.make(good)]
    assert "1 of 2 pairs to learn from are used; 1 are left out: the whole transcript fits" in caplog.text
    with pytest.raises(DataError, match="none of the 2 pairs to learn from can be used: 2 are left out: the whole"):
        maker.make_all([short, short], "to learn from")


def test_no_pairs_are_no_examples(tiny_llm, sentence_settings):
    assert make(load_tokenizer(tiny_llm), sentence_settings, [])[0].make_all([], "to validate on") == []
