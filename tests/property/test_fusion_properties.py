"""Laws of every fusion: what is missing has no influence, padding and other videos have none, shares sum to 1."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from mmsearch.fusion import FusionSettings
from mmsearch.types import CONTENT, PERCEPTION, Modality

WIDTH = 8
ORDER = list(Modality)
METHODS = {
    "concat": {},
    "gated_sum": {},
    "tfn": {"modality_dim": 1},
    "lmf": {"rank": 2},
    "cross_attention": {"depth": 2, "heads": 2},
    "transformer": {"depth": 2, "heads": 2},
}
GARBAGE = (float("nan"), float("inf"), -float("inf"), 1e30)
few = settings(max_examples=20, deadline=None)
every_method = pytest.mark.parametrize("method", METHODS)


def make(method, modalities, seed=0):
    """A fusion that has learned something: no parameter is at its start."""
    torch.manual_seed(seed)
    chosen = {"type": method, "num_codes": 3, "modality_dropout": 0.0}
    fusion = TypeAdapter(FusionSettings).validate_python(chosen | METHODS[method]).build(WIDTH, modalities)
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return fusion


@st.composite
def videos(draw):
    """Modalities of a domain, one to three tokens of each, and which modalities and tokens each video has."""
    modalities = draw(st.sampled_from([PERCEPTION, CONTENT]))
    sizes = draw(st.lists(st.integers(1, 3), min_size=len(modalities), max_size=len(modalities)))
    numbers = torch.tensor([ORDER.index(m) for m in modalities]).repeat_interleave(torch.tensor(sizes))
    rows = draw(st.integers(1, 4))
    has = torch.tensor([draw(st.lists(st.booleans(), min_size=7, max_size=7)) for _ in range(rows)])
    torch.manual_seed(draw(st.integers(0, 1000)))
    real = torch.rand(rows, len(numbers)) < draw(st.sampled_from([0.5, 1.0]))
    return modalities, torch.randn(rows, len(numbers), WIDTH), has[:, numbers] & real, numbers


@every_method
@few
@given(drawn=videos())
def test_whatever_is_missing_codes_and_gradients_are_finite(method, drawn):
    modalities, tokens, mask, modality = drawn
    fusion, tokens = make(method, modalities), tokens.requires_grad_()
    codes = fusion(tokens, mask, modality)
    assert codes.shape == (len(tokens), 3, WIDTH)
    assert codes.isfinite().all()
    (codes * torch.randn_like(codes)).sum().backward()
    for name, parameter in fusion.named_parameters():
        assert parameter.grad is not None, name  # or the processes of a parallel run would wait for each other
        assert parameter.grad.isfinite().all(), name
    assert tokens.grad.isfinite().all()
    assert (tokens.grad[~mask] == 0).all()


@every_method
@pytest.mark.parametrize("modalities", [PERCEPTION, CONTENT], ids=["perception", "content"])
def test_every_set_of_modalities_may_be_missing(method, modalities):
    fusion = make(method, modalities).eval()
    sets = torch.cartesian_prod(*[torch.tensor([False, True])] * len(modalities))
    numbers = torch.tensor([ORDER.index(m) for m in modalities]).repeat_interleave(2)
    mask = sets.repeat_interleave(2, 1)
    tokens = torch.randn(1, len(numbers), WIDTH).expand(len(sets), -1, -1).clone()
    tokens[~mask] = float("nan")
    codes = fusion(tokens, mask, numbers)
    assert codes.isfinite().all()
    flat = codes.flatten(1)
    apart = torch.cdist(flat, flat) + torch.eye(len(flat))
    assert apart.min() > 1e-4  # each set gives codes of its own: no modality is passed over


@every_method
@few
@given(drawn=videos(), garbage=st.sampled_from(GARBAGE))
@torch.no_grad()
def test_what_stands_at_masked_places_changes_no_bit(method, drawn, garbage):
    modalities, tokens, mask, modality = drawn
    fusion = make(method, modalities).eval()
    dirty = torch.where(mask.unsqueeze(-1), tokens, garbage)
    assert torch.equal(fusion(dirty, mask, modality), fusion(tokens, mask, modality))
    clean = fusion.weights(tokens, mask, modality)
    if clean is not None:
        assert torch.equal(fusion.weights(dirty, mask, modality), clean)


@every_method
@few
@given(drawn=videos())
def test_gradients_do_not_see_what_stands_at_masked_places(method, drawn):
    modalities, tokens, mask, modality = drawn
    fusion, found = make(method, modalities), []
    for content in (tokens, torch.where(mask.unsqueeze(-1), tokens, float("nan"))):
        fusion.zero_grad()
        fusion(content, mask, modality).square().sum().backward()
        found.append([parameter.grad.clone() for parameter in fusion.parameters()])
    for clean, dirty in zip(*found, strict=True):
        assert torch.equal(clean, dirty)


@every_method
@few
@given(drawn=videos(), data=st.data())
@torch.no_grad()
def test_videos_do_not_see_each_other_and_tokens_have_no_order(method, drawn, data):
    modalities, tokens, mask, modality = drawn
    fusion = make(method, modalities).eval().double()
    tokens = tokens.double()
    codes = fusion(tokens, mask, modality)
    rows = torch.tensor(data.draw(st.permutations(range(len(tokens)))))
    places = torch.tensor(data.draw(st.permutations(range(len(modality)))))
    torch.testing.assert_close(fusion(tokens[rows], mask[rows], modality), codes[rows])
    torch.testing.assert_close(fusion(tokens[:, places], mask[:, places], modality[places]), codes)
    torch.testing.assert_close(fusion(tokens[:1], mask[:1], modality), codes[:1])


@every_method
@few
@given(drawn=videos(), data=st.data())
@torch.no_grad()
def test_padding_of_a_modality_changes_nothing(method, drawn, data):
    modalities, tokens, mask, modality = drawn
    fusion = make(method, modalities).eval().double()
    tokens = tokens.double()
    added = torch.tensor(data.draw(st.lists(st.sampled_from([ORDER.index(m) for m in modalities]), max_size=5)))
    padding = torch.full((len(tokens), len(added), WIDTH), float("nan"), dtype=torch.float64)
    longer = torch.cat([tokens, padding], 1), torch.cat([mask, mask.new_zeros(padding.shape[:2])], 1)
    both = torch.cat([modality, added.long()])
    torch.testing.assert_close(fusion(*longer, both), fusion(tokens, mask, modality))
    shares = fusion.weights(tokens, mask, modality)
    if shares is not None:
        torch.testing.assert_close(fusion.weights(*longer, both), shares)


@pytest.mark.parametrize("method", ["gated_sum", "lmf", "cross_attention", "transformer"])
@few
@given(drawn=videos())
@torch.no_grad()
def test_shares_are_of_what_is_there_and_sum_to_one(method, drawn):
    modalities, tokens, mask, modality = drawn
    shares = make(method, modalities).eval().weights(tokens, mask, modality)
    assert shares.shape == (len(tokens), len(Modality))
    there = torch.stack([mask[:, modality == n].any(1) for n in range(len(Modality))], 1)
    assert (shares[there] > 0).all()
    assert (shares[~there] == 0).all()
    torch.testing.assert_close(shares.sum(1), there.any(1).float())
