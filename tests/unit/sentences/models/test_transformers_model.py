"""A causal language model of transformers: tiny, random, made here."""

import pytest

from mmsearch.errors import ConfigError
from mmsearch.sentences.models import ModelRefusedError, Prompt, TransformersModelSettings

torch = pytest.importorskip("torch", exc_type=ImportError)
pytest.importorskip("transformers", exc_type=ImportError)

CHAT = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|answer|>{% endif %}"
)
WORDS = "the red panda eats bamboo Title : a b c ( ) 1 2".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from tokenizers import Tokenizer, models, pre_tokenizers

    from mmsearch.torchvision_guard import guard_torchvision

    guard_torchvision()  # transformers may import torchvision behind any of its models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("llm")
    special = ["<unk>", "<s>", "</s>", "<|system|>", "<|user|>", "<|answer|>"]
    words = {word: number for number, word in enumerate(special + WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(special)
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, chat_template=CHAT, **names).save_pretrained(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(3)
    config = LlamaConfig(vocab_size=len(words), **sizes, max_position_embeddings=128, bos_token_id=1, eos_token_id=2)
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(folder):
    opened = TransformersModelSettings(source=str(folder), batch_size=2, max_tokens=64).build()
    yield opened
    opened.close()


def by_loop(model, prefix, text):
    """One token after another, without padding or batches."""
    ids = model._tokenizer.encode(prefix) or [model._pad()]
    values = []
    for token in model._tokenizer.encode(text, add_special_tokens=False):
        with torch.inference_mode():
            logits = model._model(torch.tensor([ids])).logits[0, -1]
        values.append(float(logits.log_softmax(-1)[token]))
        ids.append(token)
    return sum(values) / len(values)


def test_likelihoods_equal_those_of_a_loop(model):
    prefixes = ["the red panda eats\nTitle:", "\nTitle:", "a", "", "bamboo bamboo bamboo a b c\nTitle:"]
    found = model.log_probabilities(prefixes, " red panda b")
    expected = [by_loop(model, prefix, " red panda b") for prefix in prefixes]
    assert [one.log_probability for one in found] == pytest.approx(expected, abs=1e-5)
    assert found[0].num_tokens == 6 + 3
    assert model.log_probabilities([], "a") == []


def test_an_answer_follows_the_chat_template(model):
    answer = model.complete(Prompt("a b", "red panda"), max_tokens=5, schema={"type": "object"})
    assert answer.prompt_tokens == 7
    assert 1 <= answer.completion_tokens <= 5
    assert model.complete(Prompt("a b", "red panda"), max_tokens=5).text == answer.text


def test_what_does_not_fit_is_refused(model):
    with pytest.raises(ModelRefusedError, match="leaves no room within 64"):
        model.complete(Prompt("a", "b " * 60), max_tokens=5)
    with pytest.raises(ModelRefusedError, match="does not fit within 64"):
        model.log_probabilities(["a " * 100], "b")
    with pytest.raises(ValueError, match="no tokens"):
        model.log_probabilities(["a"], " ")


def test_weights_trained_anew_in_the_same_folder_have_another_name(model, folder, tmp_path):
    import shutil

    from safetensors.torch import load_file, save_file

    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    assert TransformersModelSettings(source=str(copy)).build().name == model.name
    weights = load_file(copy / "model.safetensors")
    config = (copy / "tokenizer_config.json").read_text()
    (copy / "tokenizer_config.json").write_text(config + "\n")
    assert TransformersModelSettings(source=str(copy)).build().name != model.name
    (copy / "tokenizer_config.json").write_text(config)
    (copy / "notes.md").write_text("not read by a model")
    assert TransformersModelSettings(source=str(copy)).build().name == model.name
    save_file({name: tensor + 1 for name, tensor in weights.items()}, copy / "model.safetensors", {"format": "pt"})
    assert TransformersModelSettings(source=str(copy)).build().name != model.name


def test_a_folder_without_a_model_is_refused_by_name(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="not a causal language model"):
        TransformersModelSettings(source=str(tmp_path)).build()
    with pytest.raises(ConfigError, match="no such file or folder"):
        TransformersModelSettings(source=str(tmp_path / "absent")).build()
