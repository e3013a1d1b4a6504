import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from mmsearch.config import load_settings
from mmsearch.errors import ConfigError, CorruptIndexError, DataError, MissingExtraError
from mmsearch.sentences import DocumentFrequencies, KeySentenceExtractor, SentenceSettings, SpokenVideo
from training.sft.loop import SftLoop
from training.sft.model import (
    adapter_weights,
    load_base,
    load_tokenizer,
    put_adapter,
    save_adapter,
    save_merged,
    with_adapter,
)
from training.sft.run import sft
from training.sft.settings import BaseModelSettings, LoraSettings, SftSettings
from training.tracking import read_metrics


def base_of(folder):
    return load_base(folder, BaseModelSettings(source=str(folder))).eval()


def logits(model):
    ids = torch.arange(40)[None] + 5
    with torch.no_grad():
        return model(input_ids=ids).logits


def files_of(run):
    return {
        name: (run / name).read_bytes() for name in ("adapter/adapter_model.safetensors", "merged/model.safetensors")
    }


class Killed(Exception):
    pass


@pytest.fixture
def killed_at(monkeypatch):
    """Let a run die before it takes a step."""

    def at(step):
        take = SftLoop._step

        def dying(self, batch, number):
            if number == step:
                raise Killed
            return take(self, batch, number)

        monkeypatch.setattr(SftLoop, "_step", dying)
        return lambda: monkeypatch.setattr(SftLoop, "_step", take)

    return at


@pytest.fixture(scope="module")
def learned_run(settings_in, pairs_file, tmp_path_factory):
    """A run that learned all pairs by heart, and was validated on the same."""
    changes = ["steps=30", "batch_size=8", "chunk_size=8", "run.validate_every=15", "run.save_every=100"]
    strong = ["lora={rank: 16, alpha: 64, dropout: 0}", f"data.val_pairs={pairs_file}", "run.decoded=4"]
    return sft(settings_in(tmp_path_factory.mktemp("learned") / "run", *changes, *strong))


def test_a_few_pairs_are_learned(learned_run):
    lines = read_metrics(learned_run / "metrics.jsonl")
    losses = [line["loss"] for line in lines if line["kind"] == "train"]
    assert len(losses) == 30
    assert sum(losses[-5:]) < 0.1 * sum(losses[:5])
    before, middle, after = [line for line in lines if line["kind"] == "validation"]
    assert [before["total_steps"], middle["total_steps"], after["total_steps"]] == [0, 15, 30]
    assert before["loss"] > middle["loss"] > after["loss"]
    assert before["valid"] == 0.0
    assert after["valid"] == 1.0  # JSON of numbers of sentences that were shown
    assert 0 <= after["exact"] <= after["jaccard"] <= 1
    figures = json.loads((learned_run / "fingerprints.json").read_text(encoding="utf-8"))["figures"]
    assert figures == {name: after[name] for name in ("loss", "valid", "exact", "jaccard")}
    assert load_settings(SftSettings, learned_run / "config.yaml").run.dir == learned_run


def test_extraction_uses_what_was_learned(learned_run, sentence_settings, pairs_file):
    select = {"method": "select", "model": {"type": "transformers", "source": str(learned_run / "merged")}}
    settings = SentenceSettings.model_validate(sentence_settings.model_dump() | select)
    rows = [json.loads(line) for line in pairs_file.read_text(encoding="utf-8").splitlines()]
    frequencies = DocumentFrequencies.of((row["transcript"] for row in rows), "bigrams")
    videos = [SpokenVideo(row["doc_id"], row["title"], row["transcript"]) for row in rows[:4]]
    with KeySentenceExtractor(settings, frequencies) as extractor:
        found = list(extractor.extract(videos))
    assert [(one.method, one.fallback) for one in found] == [("select", None)] * 4
    assert all(one.sentences for one in found)


def test_going_on_equals_running_through(tiny_settings, tmp_path, killed_at):
    through = sft(tiny_settings(f"run.dir={tmp_path / 'through'}"))
    settings = tiny_settings()
    for step in (1, 3):  # before the first checkpoint, and behind one
        alive = killed_at(step)
        with pytest.raises(Killed):
            sft(settings)
        alive()
        assert not (settings.run.dir / "fingerprints.json").exists()
    assert files_of(sft(settings)) == files_of(through)
    lines = [
        [{k: v for k, v in line.items() if k != "tokens_per_s"} for line in read_metrics(run / "metrics.jsonl")]
        for run in (settings.run.dir, through)
    ]
    assert lines[0] == lines[1]


def test_a_run_that_died_while_it_merged_goes_on(tiny_settings, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    settings = tiny_settings()
    with monkeypatch.context() as patched:
        patched.setattr("training.sft.model._fsync", full)
        with pytest.raises(DataError, match="make room, and the same command goes on"):
            sft(settings)
    ended = files_of(sft(settings))
    lines = (settings.run.dir / "metrics.jsonl").read_text(encoding="utf-8")
    assert files_of(sft(settings)) == ended  # it has ended: nothing is done
    assert (settings.run.dir / "metrics.jsonl").read_text(encoding="utf-8") == lines


def test_an_adapter_that_never_got_better_is_told(tiny_settings, caplog):
    with caplog.at_level("WARNING", "training"):
        sft(tiny_settings("steps=2", "run.select=exact"))  # so few steps name no sentence, before or after
    assert "the adapter changes nothing" in caplog.text
    caplog.clear()
    sft(tiny_settings("steps=2", "run.dir=" + str(tiny_settings().run.dir) + "-loss"))
    assert "the adapter changes nothing" not in caplog.text


def test_another_run_does_not_go_on_in_the_folder(tiny_settings, pairs_file, tmp_path):
    settings = tiny_settings("steps=1")
    sft(settings)
    moved = tmp_path / "moved.jsonl"
    moved.write_bytes(pairs_file.read_bytes())
    sft(tiny_settings("steps=1", f"data.pairs={moved}", "run.log_every=7"))  # the same data: it has ended
    with pytest.raises(ConfigError, match="finished run with other settings or data"):
        sft(tiny_settings("steps=2"))
    moved.write_text(pairs_file.read_text(encoding="utf-8").replace("kettle", "cattle"), encoding="utf-8")
    with pytest.raises(ConfigError, match="finished run with other settings or data"):
        sft(tiny_settings("steps=1", f"data.pairs={moved}"))


def test_only_the_adapter_learns(tiny_settings, tiny_llm, monkeypatch):
    kept = []
    monkeypatch.setattr("training.sft.run.save_adapter", lambda folder, model: kept.append(model))
    monkeypatch.setattr("training.sft.run.save_merged", lambda *_: None)
    sft(tiny_settings("lora.targets=[q_proj, v_proj]", "data.val_share=0", "run.select=loss"))
    base = dict(base_of(tiny_llm).named_parameters())
    changed, same = set(), set()
    for name, parameter in kept[0].named_parameters():
        if "lora_" in name:
            assert parameter.requires_grad
            changed.add(name)
            assert parameter.abs().sum() > 0
        else:
            plain = name.removeprefix("base_model.model.").replace(".base_layer", "")
            assert torch.equal(parameter, base[plain])
            assert not parameter.requires_grad
            same.add(plain)
    assert same == set(base)
    assert len(changed) == 2 * 2 * 2  # A and B of two projections in two layers


def test_a_fresh_adapter_changes_nothing_and_its_seed_decides_it(tiny_llm):
    one, same, other = (with_adapter(base_of(tiny_llm), LoraSettings(), seed) for seed in (1, 1, 2))
    assert torch.equal(logits(one), logits(base_of(tiny_llm)))
    a, b, c = map(adapter_weights, (one, same, other))
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert any(not torch.equal(a[name], c[name]) for name in a)


def test_the_merged_model_is_the_adapted_one(adapted, tiny_llm, tmp_path):
    model, tokenizer = adapted
    wanted = logits(model)
    assert not torch.allclose(wanted, logits(base_of(tiny_llm)), atol=0.1)
    save_adapter(tmp_path / "adapter", model)
    save_merged(tmp_path / "merged", model, tokenizer)
    torch.testing.assert_close(logits(base_of(tmp_path / "merged")), wanted, atol=1e-4, rtol=1e-4)
    names = {path.name for path in (tmp_path / "merged").iterdir()}
    assert names >= {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "chat_template.jinja",
    }
    assert (
        load_file(tmp_path / "merged" / "model.safetensors").keys() == load_file(tiny_llm / "model.safetensors").keys()
    )
    import peft

    with pytest.warns(FutureWarning):
        again = peft.PeftModel.from_pretrained(base_of(tiny_llm), tmp_path / "adapter").eval()
    assert torch.equal(logits(again), wanted)


def test_generation_ends_where_the_answers_end(adapted, tmp_path):
    model, tokenizer = adapted
    model.generation_config.eos_token_id = 0  # as that of a base model
    save_merged(tmp_path / "merged", model, tokenizer)
    assert base_of(tmp_path / "merged").generation_config.eos_token_id == [0, tokenizer.eos_token_id]


def test_a_chat_models_habits_of_generating_are_left_behind(tiny_llm, tmp_path):
    folder = tmp_path / "chatty"
    shutil.copytree(tiny_llm, folder)
    habits = {"do_sample": True, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.3}
    (folder / "generation_config.json").write_text(json.dumps(habits | {"eos_token_id": [2, 0], "pad_token_id": 0}))
    model = with_adapter(base_of(folder), LoraSettings(), seed=1)
    save_merged(tmp_path / "merged", model, load_tokenizer(folder))
    written = json.loads((tmp_path / "merged" / "generation_config.json").read_text(encoding="utf-8"))
    assert written["eos_token_id"] == [2, 0]
    assert written["pad_token_id"] == 0
    assert not {"temperature", "top_p", "top_k", "repetition_penalty"} & written.keys()
    assert not written.get("do_sample")


def test_low_precision_leaves_the_adapter_in_float32(tiny_settings):
    changes = ["steps=2", "model.dtype=bfloat16", "run.precision=bf16", "run.activation_checkpointing=true"]
    run = sft(tiny_settings(*changes))
    assert {t.dtype for t in load_file(run / "adapter" / "adapter_model.safetensors").values()} == {torch.float32}
    assert {t.dtype for t in load_file(run / "merged" / "model.safetensors").values()} == {torch.bfloat16}
    lines = read_metrics(run / "metrics.jsonl")
    assert [line["total_steps"] for line in lines if line["kind"] == "train"] == [1, 2]


def test_an_adapter_of_another_shape_is_refused(tiny_llm):
    model = with_adapter(base_of(tiny_llm), LoraSettings(rank=4), seed=1)
    with pytest.raises(CorruptIndexError, match="another adapter"):
        put_adapter(model, adapter_weights(with_adapter(base_of(tiny_llm), LoraSettings(rank=2), seed=1)))


def test_patience_ends_a_run(tiny_settings):
    settings = tiny_settings("steps=30", "optim.lr=30", "run.validate_every=1", "patience=2", "run.decoded=0")
    lines = read_metrics(sft(settings) / "metrics.jsonl")
    validations = [line for line in lines if line["kind"] == "validation"]
    best = max(at for at, line in enumerate(validations) if line.get("best"))
    assert len(validations) == best + 3 < 31
    left = json.loads((settings.run.dir / "fingerprints.json").read_text(encoding="utf-8"))["figures"]
    assert left["loss"] == validations[best]["loss"] == min(line["loss"] for line in validations)


def test_a_gradient_that_is_no_number_names_the_pairs(tiny_settings):
    with pytest.raises(
        DataError, match=r"step \d+: the loss or its gradient is not finite; the batch begins with d\d+"
    ):
        sft(tiny_settings("steps=30", "optim.lr=1e30", "optim.clip_norm=1e30", "data.val_share=0"))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("lora.targets=[nothing]", "lora.targets: .*nothing"),
        ("model.source=/nowhere", "language model '/nowhere': no such file or folder"),
        ("data.val_share=0.99", "no pair is left to learn from"),
    ],
)
def test_what_cannot_be_run_is_told(tiny_settings, change, told):
    with pytest.raises((ConfigError, DataError), match=told):
        sft(tiny_settings(change))


def test_a_folder_without_weights_is_no_model(tiny_llm, tmp_path):
    (tmp_path / "config.json").write_bytes((tiny_llm / "config.json").read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(ConfigError, match="not a causal language model"):
        base_of(tmp_path)


@pytest.mark.parametrize(
    ("change", "told"), [("patience=2", "patience needs"), ("run.select=exact", "needs run.decoded above 0")]
)
def test_settings_that_contradict_each_other(tiny_settings, change, told):
    with pytest.raises(ConfigError, match=told):
        tiny_settings("data.val_share=0", "run.decoded=0", change)


def test_without_peft_the_pip_line_is_told(tiny_llm, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'mmsearch\[sft\]'"):
        with_adapter(base_of(tiny_llm), LoraSettings(), 1)


def test_one_process_alone(tiny_settings, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="one process"):
        sft(tiny_settings())
