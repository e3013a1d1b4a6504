"""The cross-encoder against a loop that reads one pair after another, of its real tokens alone."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsearch.matching import CrossEncoderSettings
from mmsearch.types import Modality

ASKED, WIDTH = 6, 8
SIZES = {"depth": 2, "heads": 2}


def make(seed=0):
    torch.manual_seed(seed)
    return CrossEncoderSettings(**SIZES).build(ASKED, WIDTH).eval()


def pairs(count, asked, shown, seed=0):
    """Random tokens, masks and modalities; the first pair has none of its own, nor any but the first modality's."""
    random = torch.Generator().manual_seed(seed)
    query, document = (torch.randn(count, n, w, generator=random) for n, w in ((asked, ASKED), (shown, WIDTH)))
    query_mask, document_mask = (torch.rand(count, n, generator=random) < 0.7 for n in (asked, shown))
    document_mask[0] = False
    modality = torch.randint(len(Modality), (shown,), generator=random)
    return query, query_mask, document, document_mask, modality


def naive(model, query, query_mask, document, document_mask, modality):
    """Score pair by pair: cut to what is real, there is nothing left to mask."""
    found = []
    for i in range(len(query)):
        tokens = [model.score_token]
        for token in query[i][query_mask[i]]:
            tokens.append(model.from_query(token) + model.type_embed.weight[len(Modality)])
        for token, kind, real in zip(document[i], modality.tolist(), document_mask[i].tolist(), strict=True):
            tokens += [token + model.type_embed.weight[kind]] if real else []
        read = model.transformer(torch.stack(tokens).unsqueeze(0))
        found.append((read[0, 0] * model.head.weight[0]).sum())
    return torch.stack(found)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 6), st.integers(0, 99))
def test_scores_equal_those_of_one_pair_after_another(count, asked, shown, seed):
    given_pairs = pairs(count, asked, shown, seed)
    model = make(seed)
    found = model(*given_pairs)
    assert found.shape == (count,)
    torch.testing.assert_close(found, naive(model, *given_pairs))


@pytest.mark.parametrize("garbage", [float("nan"), float("inf"), 1e30])
def test_what_stands_at_masked_places_changes_nothing(garbage):
    model = make()
    query, query_mask, document, document_mask, modality = pairs(4, 3, 6)
    expected = model(query, query_mask, document, document_mask, modality)
    spoiled = [
        torch.where(mask.unsqueeze(-1), tokens, garbage).requires_grad_()
        for tokens, mask in ((query, query_mask), (document, document_mask))
    ]
    found = model(spoiled[0], query_mask, spoiled[1], document_mask, modality)
    assert torch.equal(found, expected)
    found.sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)
    for tokens, mask in zip(spoiled, (query_mask, document_mask), strict=True):
        assert tokens.grad.isfinite().all()
        assert (tokens.grad[~mask] == 0).all()
        assert (tokens.grad[mask].abs().sum(-1) > 0).all()


@pytest.mark.parametrize("missing", [[m] for m in range(len(Modality))] + [list(range(len(Modality)))])
def test_any_modality_may_be_missing(missing):
    model = make()
    query, query_mask, document, _, _ = pairs(3, 2, 2 * len(Modality))
    modality = torch.arange(len(Modality)).repeat(2)
    mask = torch.ones(3, 2 * len(Modality), dtype=torch.bool)
    mask[:, torch.isin(modality, torch.tensor(missing))] = False
    found = model(query, query_mask, document, mask, modality)
    assert found.isfinite().all()
    torch.testing.assert_close(found, naive(model, query, query_mask, document, mask, modality))


def test_the_order_of_pairs_and_more_padding_change_nothing():
    model = make()
    query, query_mask, document, document_mask, modality = pairs(4, 3, 5)
    expected = model(query, query_mask, document, document_mask, modality)
    order = torch.tensor([2, 0, 3, 1])
    turned = model(query[order], query_mask[order], document[order], document_mask[order], modality)
    torch.testing.assert_close(turned, expected[order])
    longer = torch.cat([document, torch.randn(4, 7, WIDTH)], 1), torch.cat([document_mask, torch.zeros(4, 7) > 0], 1)
    padded = model(query, query_mask, *longer, torch.cat([modality, torch.zeros(7, dtype=torch.int64)]))
    torch.testing.assert_close(padded, expected)


def test_it_knows_the_query_and_every_modality_apart():
    model = make()
    asked, shown = torch.randn(1, 1, ASKED), torch.randn(1, 1, WIDTH)
    real = torch.ones(1, 1, dtype=torch.bool)
    scores = [model(asked, real, shown, real, torch.tensor([kind])).item() for kind in range(len(Modality))]
    scores.append(model(asked, real, shown, ~real, torch.tensor([0])).item())
    scores.append(model(asked, ~real, shown, real, torch.tensor([0])).item())
    assert len({round(score, 6) for score in scores}) == len(scores)
