"""What the fusions have in common, by configuration: choice, start, dropout; and what each can express."""

import pytest
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter, ValidationError

from mmsearch.fusion import Fusion, FusionSettings, FusionTransformerSettings, TensorFusion
from mmsearch.fusion.base import mean_of_modalities
from mmsearch.types import CONTENT, PERCEPTION

SETTINGS = TypeAdapter(FusionSettings)
METHODS = ["concat", "gated_sum", "tfn", "lmf", "cross_attention", "transformer"]
POOLED = ["concat", "gated_sum", "tfn", "lmf"]
NUMBERS = torch.arange(7).repeat_interleave(2)


def make(method, width=16, modalities=CONTENT, **more):
    torch.manual_seed(0)
    return SETTINGS.validate_python({"type": method, **more}).build(width, modalities)


def some_videos(rows=6, width=16):
    torch.manual_seed(1)
    return torch.randn(rows, len(NUMBERS), width), torch.rand(rows, len(NUMBERS)) < 0.6, NUMBERS


@pytest.mark.parametrize("method", METHODS)
def test_a_configuration_chooses_the_method(method):
    fusion = make(method, num_codes=2)
    assert isinstance(fusion, Fusion)
    assert fusion.modalities == CONTENT
    assert (fusion.num_codes, fusion.modality_dropout) == (2, 0.15)
    assert fusion(*some_videos()).shape == (6, 2, 16)


def test_without_a_type_it_is_the_transformer():
    assert SETTINGS.validate_python({"depth": 1}) == FusionTransformerSettings(depth=1)
    with pytest.raises(ValidationError, match="bilinear"):
        SETTINGS.validate_python({"type": "bilinear"})
    with pytest.raises(ValidationError, match="heads"):  # a setting of another method
        SETTINGS.validate_python({"type": "lmf", "heads": 2})


@pytest.mark.parametrize("method", POOLED)
def test_an_untrained_fusion_of_means_is_their_mean(method):
    fusion, videos = make(method).eval(), some_videos()
    start = fusion.codes + mean_of_modalities(*videos).unsqueeze(1)
    torch.testing.assert_close(fusion(*videos), F.layer_norm(start, (16,)))


@pytest.mark.parametrize("method", ["cross_attention", "transformer"])
def test_an_untrained_fusion_by_attention_is_near_the_mean(method):
    fusion, videos = make(method, width=96, depth=1).eval(), some_videos(64, 96)
    means = mean_of_modalities(*videos).unsqueeze(1)
    assert F.cosine_similarity(fusion(*videos), means, dim=-1).mean() > 0.6
    assert F.cosine_similarity(fusion(*videos), means.roll(1, 0), dim=-1).mean().abs() < 0.3


@pytest.mark.parametrize("method", METHODS)
def test_modality_dropout_acts_in_training_alone_and_never_on_weights(method):
    fusion, videos = make(method, modality_dropout=0.9), some_videos(32)
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    fusion.eval()
    assert torch.equal(fusion(*videos), fusion(*videos))
    fusion.train()
    assert not torch.allclose(fusion(*videos), fusion(*videos))
    shares = fusion.weights(*videos)
    if shares is not None:
        assert torch.equal(shares, fusion.eval().weights(*videos))


@pytest.mark.parametrize("method", sorted({*METHODS} - {"gated_sum"}))
def test_it_learns_a_product_of_two_modalities(method):
    """No mean of tokens gives an exclusive or: the target is the product of two signs, one in each modality.

    A gated sum stays at half the loss, whatever it starts from: its gates weigh modalities, and do not multiply them.
    """
    fusion = make(method, modality_dropout=0.0, num_codes=1)
    torch.manual_seed(2)
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    tokens = torch.zeros(4, 14, 16)
    title, cover = torch.randn(2, 16)
    tokens[:, NUMBERS == 0] = signs[:, :1, None] * title
    tokens[:, NUMBERS == 2] = signs[:, 1:, None] * cover
    mask = ((NUMBERS == 0) | (NUMBERS == 2)).expand(4, -1)
    head = torch.nn.Linear(16, 1)
    optimizer = torch.optim.AdamW([*fusion.parameters(), *head.parameters()], lr=0.01)
    for _ in range(80):
        loss = F.mse_loss(head(fusion(tokens, mask, NUMBERS)[:, 0])[:, 0], signs.prod(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05


@pytest.mark.parametrize("method", ["gated_sum", "lmf"])
def test_gates_are_uniform_over_what_is_there_until_they_have_learned(method):
    tokens, mask, modality = some_videos()
    shares = make(method).weights(tokens, mask, modality)
    there = torch.stack([mask[:, modality == n].any(1) for n in range(7)], 1).float()
    torch.testing.assert_close(shares, there / there.sum(1, keepdim=True))


def test_gates_learn_to_shut_noise_out():
    """The title says what is asked for, the speech is noise: the gate moves to the title."""
    fusion = make("gated_sum", modalities=CONTENT, modality_dropout=0.0)
    torch.manual_seed(3)
    optimizer = torch.optim.AdamW(fusion.parameters(), lr=0.01)
    modality, mask = torch.tensor([0, 6]), torch.ones(32, 2, dtype=torch.bool)
    for _ in range(100):
        tokens = torch.randn(32, 2, 16)
        loss = -F.cosine_similarity(fusion(tokens, mask, modality), tokens[:, :1], dim=-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert fusion.weights(tokens, mask, modality)[:, 0].mean() > 0.8


@pytest.mark.parametrize("method", METHODS)
def test_it_works_in_mixed_precision(method):
    fusion, videos = make(method).eval(), some_videos()
    for parameter in fusion.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    with torch.autocast("cpu", torch.bfloat16):
        rough, shares = fusion(*videos), fusion.weights(*videos)
    torch.testing.assert_close(rough.float(), fusion(*videos), rtol=0, atol=0.15)
    if shares is not None:
        torch.testing.assert_close(shares.float(), fusion.weights(*videos), rtol=0, atol=0.02)


def test_a_tensor_that_is_too_large_is_refused_by_its_size():
    with pytest.raises(ValidationError, match=r"modality_dim of 4 gives 5\^7 = 78,125 products"):
        SETTINGS.validate_python({"type": "tfn", "modality_dim": 4})
    with pytest.raises(ValueError, match=r"15\^4 = 50,625 products"):
        TensorFusion(8, PERCEPTION, modality_dim=14, num_codes=1, modality_dropout=0.0)
    assert make("tfn", width=4, modality_dim=3).mlp[0].in_features == 4**7


@pytest.mark.parametrize(
    ("method", "counted"),
    [
        ("concat", 446_592),
        ("gated_sum", 89_656),
        ("tfn", 258_830),
        ("lmf", 312_920),
        ("cross_attention", 449_856),
        ("transformer", 448_704),
    ],
)
def test_defaults_have_sizes_of_one_order(method, counted):
    """At the demo's width; comparisons name them, so that they may not move unnoticed."""
    assert sum(parameter.numel() for parameter in make(method, width=96).parameters()) == counted
