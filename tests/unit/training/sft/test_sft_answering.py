import math

import pytest
import torch

from training.sft.answering import answer_loss, answers
from training.sft.examples import IGNORED, Example, Order, hash_of, pad
from training.sft.model import adapter_weights, checkpoint_activations, load_base, load_tokenizer, with_adapter
from training.sft.settings import BaseModelSettings, LoraSettings
from training.sft.validation import AnswerValidation, figures_of

CPU = torch.device("cpu")


def example(prompt, answer, chosen=(1,), shown=5):
    return Example("x", tuple(prompt), tuple(answer), shown, frozenset(chosen))


def naive_loss(model, one):
    """-ln p of each token of the answer, one after another, without padding."""
    told = 0.0
    for at in range(len(one.answer)):
        ids = torch.tensor([[*one.prompt, *one.answer[:at]]])
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0, -1]
        told -= float(logits.double().log_softmax(-1)[one.answer[at]])
    return told


def test_padding_stands_on_the_left_and_prompts_have_no_targets():
    tokens = pad([example([5, 6, 7], [8, 9]), example([3], [4, 2, 1])], answers=True, device=CPU)
    assert tokens.ids.tolist() == [[5, 6, 7, 8, 9], [0, 3, 4, 2, 1]]
    assert tokens.mask.int().tolist() == [[1, 1, 1, 1, 1], [0, 1, 1, 1, 1]]
    assert tokens.targets.tolist() == [[IGNORED, 8, 9], [4, 2, 1]]
    assert tokens.positions.tolist() == [[0, 1, 2, 3, 4], [0, 0, 1, 2, 3]]
    prompts = pad([example([5, 6, 7], [8, 9]), example([3], [4])], answers=False, device=CPU)
    assert prompts.ids.tolist() == [[5, 6, 7], [0, 0, 3]]
    assert prompts.targets.shape == (2, 0)


def test_the_loss_is_that_of_a_loop_over_the_tokens_of_the_answers(adapted, examples):
    model, _ = adapted
    batch = [examples[0], example(examples[1].prompt[:40], [9, 4, 2]), example([7], [8])]
    with torch.no_grad():
        assert float(answer_loss(model, batch)) == pytest.approx(sum(naive_loss(model, one) for one in batch), rel=1e-5)


def test_what_stands_in_other_rows_changes_nothing(adapted, examples):
    model, _ = adapted
    with torch.no_grad():
        alone = [float(answer_loss(model, [one])) for one in examples[:4]]
        assert float(answer_loss(model, examples[:4])) == pytest.approx(sum(alone), rel=1e-5)


def test_no_gradient_comes_from_the_prompts(tiny_llm):
    """The logits at a prompt's places move nothing: only those that tell tokens of the answer have a gradient."""
    model = load_base(tiny_llm, BaseModelSettings(source=str(tiny_llm)))
    kept = []
    model.lm_head.register_forward_hook(lambda *call: (call[2].retain_grad(), kept.append(call[2]))[1])
    batch = [example(range(10, 30), [5, 2]), example(range(10, 18), [6, 7, 8, 2])]
    answer_loss(model, batch).backward()
    touched = kept[0].grad.abs().sum(-1) > 0
    assert touched.tolist() == [[False, False, True, True, False], [True, True, True, True, False]]


def test_bf16_is_near(adapted, examples):
    model, _ = adapted
    with torch.no_grad():
        exact, near = float(answer_loss(model, examples[:3])), float(answer_loss(model, examples[:3], "bf16"))
    assert near != exact
    assert near == pytest.approx(exact, rel=0.05)


def test_checkpointed_activations_give_the_same_gradient(tiny_llm, examples):
    gradients, passes = [], []
    for checkpointing in (False, True):
        base = load_base(tiny_llm, BaseModelSettings(source=str(tiny_llm)))
        base.model.layers[0].self_attn.register_forward_hook(lambda *_, at=checkpointing: passes.append(at))
        model = with_adapter(base, LoraSettings(dropout=0.2), seed=3)
        if checkpointing:
            checkpoint_activations(model)
        torch.manual_seed(1)
        answer_loss(model.train(), examples[:2]).backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert passes == [False, True, True]
    assert gradients[0].keys() == gradients[1].keys() == adapter_weights(model).keys()
    assert any(g.abs().sum() > 0 for g in gradients[0].values())
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)


def test_answers_are_the_likeliest_tokens_each_time(adapted, examples):
    model, tokenizer = adapted
    batch = [examples[0], example(examples[1].prompt[:40], [2]), example(examples[2].prompt[:25], [2])]
    expected = []
    for one in batch:
        ids = list(one.prompt)
        while len(ids) < len(one.prompt) + 6:
            with torch.no_grad():
                ids.append(int(model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == tokenizer.eos_token_id:
                break
        expected.append(tokenizer.decode(ids[len(one.prompt) :], skip_special_tokens=True))
    assert answers(model, tokenizer, batch, 6) == expected
    assert len(set(expected)) > 1


def test_every_example_comes_once_an_epoch_and_steps_need_no_memory():
    found = [example([n], [n]) for n in range(10)]
    order = Order(found, 4, seed=1)
    seen = [one for step in range(5) for one in order(step)]
    assert sorted(one.prompt[0] for one in seen[:10]) == sorted(one.prompt[0] for one in seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:]
    assert Order(found, 4, seed=1)(3) == order(3)
    assert [Order(found, 4, seed=2)(step) for step in range(3)] != [order(step) for step in range(3)]
    assert len(Order(found[:3], 8, seed=1)(0)) == 8


def test_the_hash_knows_where_a_prompt_ends():
    assert hash_of([example([1, 2], [3])]) != hash_of([example([1], [2, 3])])
    assert hash_of([example([1], [2])]) == hash_of([example([1], [2])])


def test_figures_compare_sets_of_sentences():
    wanted = [example([1], [1], chosen=(1, 3))] * 6
    replies = [
        '{"sentences": [3, 1]}',
        '{"sentences": [1]}',
        '{"sentences": [1, 2, 4]}',
        "[1, 3]",
        "",
        '{"sentences": [9]}',
    ]
    figures = figures_of(replies, wanted)
    assert figures == pytest.approx({"valid": 3 / 6, "exact": 1 / 6, "jaccard": (1 + 1 / 2 + 1 / 4) / 6})


def test_validation_is_the_mean_over_tokens(adapted, examples):
    model, tokenizer = adapted
    some = examples[:5]
    figures = AnswerValidation(some, tokenizer, 2, 8, 2, "fp32")(model)
    expected = sum(naive_loss(model, one) for one in some) / sum(len(one.answer) for one in some)
    assert figures["loss"] == pytest.approx(expected, rel=1e-5)
    assert set(figures) == {"loss", "valid", "exact", "jaccard"}
    assert set(AnswerValidation(some, tokenizer, 0, 8, 2, "fp32")(model)) == {"loss"}
    assert AnswerValidation([], tokenizer, 2, 8, 2, "fp32")(model) == {}
    assert math.isfinite(figures["loss"])


def test_the_tokenizer_must_know_the_end_of_a_text(tiny_llm, tmp_path):
    from mmsearch.errors import ConfigError

    tokenizer = load_tokenizer(tiny_llm)
    tokenizer.eos_token = None
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="has no eos_token"):
        load_tokenizer(tmp_path)
