"""A GGUF file in llama.cpp. With a real file where MMSEARCH_MODELS names a folder that holds one."""

import os
from pathlib import Path

import pytest

from mmsearch.errors import ConfigError
from mmsearch.sentences.answer import read_answer
from mmsearch.sentences.ask_likelihood import weigh_by_likelihood
from mmsearch.sentences.models import GgufModelSettings, ModelRefusedError, Prompt


def test_a_file_that_is_absent_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.gguf: no such file"):
        GgufModelSettings(path=tmp_path / "absent.gguf").build()


def test_a_file_that_is_none_is_named(tmp_path):
    pytest.importorskip("xllamacpp", exc_type=ImportError)
    (tmp_path / "text.gguf").write_bytes(b"this is no model")
    with pytest.raises(ConfigError, match=r"text\.gguf: llama\.cpp cannot load it"):
        GgufModelSettings(path=tmp_path / "text.gguf").build()


@pytest.fixture(scope="module")
def model():
    pytest.importorskip("xllamacpp", exc_type=ImportError)
    folder = os.environ.get("MMSEARCH_MODELS")
    files = sorted(Path(folder).rglob("*.gguf")) if folder else []
    if not files:
        pytest.skip("no GGUF file; set MMSEARCH_MODELS to a folder that holds one")
    opened = GgufModelSettings(path=files[0], max_tokens=512).build()
    yield opened
    opened.close()


@pytest.mark.real_data
def test_likelihoods_are_those_of_what_the_model_samples_itself(model):
    """llama.cpp's own path (sampling several tokens) and ours (each token forced) agree."""
    prefix = "The capital of France is"
    body = {"prompt": model._tokens(prefix, special=True), "max_tokens": 6, "temperature": 0, "logprobs": 1}
    choice = model._server.handle_completions(body)["choices"][0]
    sampled = [token["logprob"] for token in choice["logprobs"]["content"]]
    (found,) = model.log_probabilities([prefix], choice["text"])
    assert found.log_probability == pytest.approx(sum(sampled) / len(sampled), abs=0.02)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("title", "about", "others"),
    [
        (
            "What are vectors?",
            "A vector is an arrow in space, with a length and a direction.",
            ["Please subscribe to my channel.", "The weather is nice."],
        ),
        ("如何制作番茄炒蛋", "今天我们来做番茄炒蛋。", ["请大家关注我的频道。", "天气很好。"]),
    ],
)
def test_a_sentence_about_the_title_makes_it_likeliest(model, title, about, others):
    gains = weigh_by_likelihood(model, title, [*others, about]).gains
    assert max(gains) == gains[-1] > 0.5


@pytest.mark.real_data
def test_what_does_not_fit_the_context_is_refused(model):
    with pytest.raises(ModelRefusedError, match=r"llama\.cpp"):
        model.complete(Prompt("a", "many words " * 600), max_tokens=5)
    with pytest.raises(ModelRefusedError, match=r"llama\.cpp"):
        model.log_probabilities(["many words " * 600], " title")


@pytest.mark.real_data
def test_an_answer_is_held_to_the_schema(model):
    from mmsearch.sentences.answer import answer_schema

    answer = model.complete(Prompt("Answer in JSON.", "Pick a sentence."), max_tokens=60, schema=answer_schema(3))
    assert read_answer(answer.text, 10**9)
    assert answer.prompt_tokens > 5
