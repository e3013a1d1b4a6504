"""A tiny language model, made here: a random Qwen2 with a tokenizer trained on what it will be asked."""

import json
from functools import partial

import pytest
import torch

from mmsearch.sentences import SentenceSettings, answer_of, select_prompt, split_sentences
from mmsearch.torchvision_guard import guard_torchvision

guard_torchvision()

CHAT = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
THINGS = ("kettle", "bicycle", "violin", "penguin", "glacier", "lantern", "compass", "orchard")
SETTINGS = SentenceSettings(max_chars=90, max_sentence_chars=60, segmenter="bigrams")


def transcript_of(number):
    """Eight sentences, one of them about a thing."""
    lines = [f"This is sentence number {i} of speaker {number % 3}." for i in range(8)]
    lines[number % 7] = f"Here we repair the old {THINGS[number % 8]} by hand."
    return " ".join(lines)


def row_of(number):
    """A row of a file of pairs."""
    thing = THINGS[number % 8]
    return {
        "doc_id": f"d{number}",
        "title": f"The {thing}",
        "transcript": transcript_of(number),
        "sentence_ids": [number % 7],
    }


@pytest.fixture(scope="session")
def sentence_settings():
    """How transcripts are split and shown in these tests."""
    return SETTINGS


@pytest.fixture(scope="session")
def pairs_file(tmp_path_factory):
    """Twelve pairs."""
    path = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    path.write_text("".join(json.dumps(row_of(n)) + "\n" for n in range(12)), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def tiny_llm(tmp_path_factory):
    """A folder of transformers with random weights."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    folder = tmp_path_factory.mktemp("llm")
    texts = []
    for number in range(8):
        sentences = split_sentences(transcript_of(number), 60)
        prompt = select_prompt(f"The {THINGS[number]}", sentences, 90)
        texts += [prompt.system, prompt.user, answer_of([number + 1])]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=640, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", chat_template=CHAT)
    fast.save_pretrained(folder)
    config = Qwen2Config(
        vocab_size=640,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        initializer_range=0.3,  # frozen output vectors that can tell tokens apart
        bos_token_id=None,
        eos_token_id=2,
    )
    torch.manual_seed(11)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def settings_in(tiny_llm, pairs_file):
    """Give settings of a short run in a folder, with changes as dotted.key=value."""
    from mmsearch.config import load_settings
    from training.sft.settings import SftSettings

    def make(folder, *changes):
        given = [
            f"run.dir={folder}",
            "run.num_threads=1",
            "run.validate_every=2",
            "run.save_every=2",
            "run.log_every=1",
            "run.decoded=2",
            "run.device=cpu",
            f"data.pairs={pairs_file}",
            "data.val_share=0.2",
            f"model.source={tiny_llm}",
            "lora={rank: 4, alpha: 8, dropout: 0.1}",
            f"sentences={json.dumps(SETTINGS.model_dump(mode='json'))}",
            "sentences.select.max_answer_tokens=16",
            "steps=4",
            "batch_size=4",
            "chunk_size=3",
            "optim={lr: 1e-2, warmup_steps: 0}",
        ]
        return load_settings(SftSettings, None, [*given, *changes])

    return make


@pytest.fixture
def tiny_settings(settings_in, tmp_path):
    """Give settings of a short run, with changes as dotted.key=value."""
    return partial(settings_in, tmp_path / "run")


@pytest.fixture
def adapted(tiny_llm):
    """Give the tiny model with an adapter that changes it, its tokenizer, and settings that made it."""
    from training.sft.model import load_base, load_tokenizer, with_adapter
    from training.sft.settings import BaseModelSettings, LoraSettings

    model = with_adapter(load_base(tiny_llm, BaseModelSettings(source=str(tiny_llm))), LoraSettings(dropout=0), seed=5)
    generator = torch.Generator().manual_seed(6)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval(), load_tokenizer(tiny_llm)


@pytest.fixture
def examples(tiny_llm, pairs_file, sentence_settings):
    """Examples of the pairs."""
    from mmsearch.sentences import DocumentFrequencies
    from training.sft.asking import ExampleMaker
    from training.sft.model import load_tokenizer
    from training.sft.pairs import read_pairs

    pairs = read_pairs(pairs_file, sentence_settings)
    frequencies = DocumentFrequencies.of((pair.transcript for pair in pairs), "bigrams")
    return ExampleMaker(load_tokenizer(tiny_llm), sentence_settings, frequencies, 1024).make_all(pairs, "here")
