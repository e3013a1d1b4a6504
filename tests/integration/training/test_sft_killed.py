"""Fine-tuning a tiny language model for real: kill -9 changes nothing of what comes out."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from mmsearch.sentences import answer_of, select_prompt, split_sentences
from mmsearch.torchvision_guard import guard_torchvision
from training.__main__ import sft

guard_torchvision()

CHECKOUT = Path(__file__).parents[3]
TALKS = [
    " ".join(f"Sentence {i} of talk {n} is about a {thing}." for i in range(6))
    for n, thing in enumerate(("river", "stone", "bridge", "cook", "garden", "engine"))
]
SENTENCES = {"max_chars": 60, "max_sentence_chars": 50, "segmenter": "bigrams", "select": {"max_answer_tokens": 32}}


@pytest.fixture(scope="module")
def llm(tmp_path_factory):
    """A random Llama, without a chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("llm")
    prompts = [select_prompt("Talk", split_sentences(talk, 50), 60) for talk in TALKS]
    texts = [text for prompt in prompts for text in (prompt.system, prompt.user, answer_of([1, 2]))]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=["</s>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>").save_pretrained(folder)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    torch.manual_seed(4)
    LlamaForCausalLM(LlamaConfig(vocab_size=500, bos_token_id=None, eos_token_id=0, **sizes)).save_pretrained(folder)
    return folder


def command(llm, folder, run):
    pairs = folder / "pairs.jsonl"
    rows = [{"doc_id": str(n), "transcript": talk, "sentence_ids": [n % 6]} for n, talk in enumerate(TALKS)]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    given = {
        "run": {"dir": str(run), "save_every": 2, "validate_every": 3, "decoded": 1, "num_threads": 1, "device": "cpu"},
        "data": {"pairs": str(pairs), "val_pairs": str(pairs)},
        "model": {"source": str(llm)},
        "lora": {"rank": 2, "dropout": 0.2},
        "sentences": SENTENCES,
        "optim": {"lr": 1e-2, "warmup_steps": 2},
    }
    config = folder / f"{run.name}.yaml"
    config.write_text(json.dumps({**given, "steps": 30, "batch_size": 3, "chunk_size": 2}), encoding="utf-8")
    return [sys.executable, "-m", "training", "sft", str(config)]


def start(arguments):
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.Popen(arguments, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.nightly
def test_a_killed_run_goes_on_to_the_same_bytes(llm, tmp_path, caplog, capsys):
    killed, through = tmp_path / "killed", tmp_path / "through"
    process = start(command(llm, tmp_path, killed))
    end = time.monotonic() + 200
    while not any((killed / "checkpoints").glob("0*")) and time.monotonic() < end and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert any((killed / "checkpoints").glob("0*"))
    assert not (killed / "merged").exists()
    with caplog.at_level("INFO", logger="training"):
        sft(Path(command(llm, tmp_path, killed)[-1]))
    assert capsys.readouterr().out.splitlines()[-1] == str(killed)
    assert "going on from step" in caplog.text
    sft(Path(command(llm, tmp_path, through)[-1]))
    for name in ("merged/model.safetensors", "adapter/adapter_model.safetensors", "merged/config.json"):
        assert (killed / name).read_bytes() == (through / name).read_bytes(), name
    one, other = (
        [{k: v for k, v in json.loads(line).items() if k != "tokens_per_s"} for line in file.read_text().splitlines()]
        for file in (killed / "metrics.jsonl", through / "metrics.jsonl")
    )
    assert one == other
