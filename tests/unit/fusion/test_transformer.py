"""The fusion transformer: masks, missing modalities, modality dropout."""

import torch

from mmsearch.fusion import FusionTransformer
from mmsearch.fusion.base import hide_modalities
from mmsearch.types import CONTENT


def fusion(dropout=0.0):
    torch.manual_seed(0)
    return FusionTransformer(16, CONTENT, depth=2, heads=4, num_codes=5, modality_dropout=dropout)


def test_a_missing_modality_does_not_matter_whatever_its_memory_holds():
    tower = fusion().eval()
    modality = torch.tensor([0, 0, 2, 2, 4])
    tokens, mask = torch.randn(3, 5, 16), torch.tensor([[True, True, False, False, True]] * 3)
    clean = tower(tokens, mask, modality)
    for garbage in (0.0, 1e30, float("nan"), float("inf")):
        dirty = tokens.clone()
        dirty[:, 2:4] = garbage
        torch.testing.assert_close(tower(dirty, mask, modality), clean)


def test_a_video_without_anything_is_finite_and_the_same_for_all():
    codes = fusion().eval()(torch.randn(2, 3, 16), torch.zeros(2, 3, dtype=torch.bool), torch.tensor([0, 1, 2]))
    assert codes.shape == (2, 5, 16)
    assert torch.isfinite(codes).all()
    torch.testing.assert_close(codes[0], codes[1])


def test_modalities_are_told_apart_by_their_type():
    tower = fusion().eval()
    tokens, mask = torch.randn(1, 1, 16), torch.ones(1, 1, dtype=torch.bool)
    title, speech = tower(tokens, mask, torch.tensor([0])), tower(tokens, mask, torch.tensor([6]))
    assert not torch.allclose(title, speech)


def test_dropout_hides_whole_modalities_and_never_everything():
    torch.manual_seed(0)
    modality = torch.tensor([0, 0, 1, 2, 2, 2])
    mask = torch.ones(2000, 6, dtype=torch.bool)
    mask[:, 5] = False
    kept = hide_modalities(mask, modality, 0.5)
    assert kept.any(1).all()
    assert not (kept & ~mask).any()
    assert torch.equal(kept[:, 0], kept[:, 1])
    assert torch.equal(kept[:, 3], kept[:, 4])
    share = kept[:, 2].float().mean().item()
    assert 0.5 < share < 0.63  # a half, and the eighth in which the draw would have hidden all


def test_dropout_acts_in_training_alone():
    tower = fusion(dropout=0.9)
    tokens, mask, modality = torch.randn(64, 7, 16), torch.ones(64, 7, dtype=torch.bool), torch.arange(7)
    tower.eval()
    torch.testing.assert_close(tower(tokens, mask, modality), tower(tokens, mask, modality))
    tower.train()
    assert not torch.allclose(tower(tokens, mask, modality), tower(tokens, mask, modality))


def test_folders_of_before_the_other_fusions_still_load():
    names = list(fusion().state_dict())
    layer = ["norm_attention", "qkv", "out", "norm_mlp", "mlp.0", "mlp.2"]
    blocks = [f"transformer.blocks.{n}.{part}" for n in range(2) for part in layer]
    expected = [f"{part}.{kind}" for part in [*blocks, "transformer.norm"] for kind in ("weight", "bias")]
    assert names == ["codes", "type_embed.weight", *expected]


def test_weights_follow_attention_that_is_made_to_look_at_one_modality():
    """With keys that point to the covers and queries that look that way, the covers get nearly all."""
    tower = fusion().eval()
    with torch.no_grad():
        for block in tower.transformer.blocks:
            q, k, _ = block.qkv.weight.chunk(3)
            q.copy_(30 * torch.eye(16))
            k.copy_(30 * torch.eye(16))
            block.out.weight.zero_()
            block.mlp[2].weight.zero_()
    tokens, modality = torch.zeros(1, 4, 16), torch.tensor([0, 2, 2, 6])
    tokens[..., 0], tokens[0, 1:3] = -1.0, torch.linspace(0, 4, 16)
    tower.codes.data[:] = 10 * torch.linspace(0, 4, 16)
    shares = tower.weights(tokens, torch.ones(1, 4, dtype=torch.bool), modality)[0]
    assert shares[2] > 0.99
    assert shares[[1, 3, 4, 5]].tolist() == [0.0] * 4
