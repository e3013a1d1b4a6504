"""Poly scores against a loop that builds every query's own video vector."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmsearch.matching import PolySettings, mean_code, paired_poly_scores, poly_scores


def naive(query: torch.Tensor, codes: torch.Tensor, selection: str, sharpness: float) -> list[list[float]]:
    table = []
    for q in query.tolist():
        row = []
        for video in codes.tolist():
            each = [sum(a * b for a, b in zip(q, code, strict=True)) for code in video]
            if selection == "max":
                row.append(max(each))
            elif selection == "min":
                row.append(min(each))
            elif selection == "mean":
                mean = [sum(column) / len(video) for column in zip(*video, strict=True)]
                length = math.sqrt(sum(x * x for x in mean))
                row.append(sum(a * b / length for a, b in zip(q, mean, strict=True)))
            else:
                weights = [math.exp(sharpness * s) for s in each]
                vector = [
                    sum(w / sum(weights) * code[d] for w, code in zip(weights, video, strict=True))
                    for d in range(len(q))
                ]
                row.append(sum(a * b for a, b in zip(q, vector, strict=True)))
        table.append(row)
    return table


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(1, 6),
    st.sampled_from(["max", "min", "mean", "weighted"]),
    st.sampled_from([0.5, 1.0, 30.0]),
)
def test_scores_equal_the_naive_loop(num_queries, num_videos, num_codes, selection, sharpness):
    torch.manual_seed(num_queries * 100 + num_videos * 10 + num_codes)
    query = F.normalize(torch.randn(num_queries, 8), dim=-1)
    codes = F.normalize(torch.randn(num_videos, num_codes, 8), dim=-1)
    found = poly_scores(query, codes, PolySettings(selection=selection, sharpness=sharpness))
    torch.testing.assert_close(found, torch.tensor(naive(query, codes, selection, sharpness)))


@pytest.mark.parametrize("selection", ["max", "min", "mean", "weighted"])
def test_paired_scores_are_the_diagonal(selection):
    torch.manual_seed(0)
    query = F.normalize(torch.randn(6, 8), dim=-1)
    codes = F.normalize(torch.randn(6, 5, 8), dim=-1)
    poly = PolySettings(selection=selection)
    torch.testing.assert_close(paired_poly_scores(query, codes, poly), poly_scores(query, codes, poly).diagonal())


def test_one_code_makes_every_selection_a_cosine():
    query = F.normalize(torch.randn(3, 8), dim=-1)
    codes = F.normalize(torch.randn(4, 1, 8), dim=-1)
    for selection in ("max", "min", "mean", "weighted"):
        torch.testing.assert_close(poly_scores(query, codes, PolySettings(selection=selection)), query @ codes[:, 0].T)


def test_max_sends_gradient_to_the_closest_code_only():
    query = F.normalize(torch.randn(1, 8), dim=-1)
    codes = F.normalize(torch.randn(1, 5, 8), dim=-1).requires_grad_()
    poly_scores(query, codes, PolySettings(selection="max")).sum().backward()
    assert codes.grad is not None
    closest = int((codes @ query[0]).argmax())
    assert codes.grad[0].abs().sum(-1).nonzero().flatten().tolist() == [closest]


def test_sharpness_leads_from_the_mean_of_the_scores_to_the_closest_code():
    query = F.normalize(torch.randn(3, 8), dim=-1)
    codes = F.normalize(torch.randn(4, 5, 8), dim=-1)
    soft, sharp = (poly_scores(query, codes, PolySettings(selection="weighted", sharpness=x)) for x in (1e-4, 1e4))
    torch.testing.assert_close(soft, torch.einsum("qd,vmd->qvm", query, codes).mean(-1), rtol=0, atol=1e-3)
    torch.testing.assert_close(sharp, poly_scores(query, codes, PolySettings(selection="max")), rtol=0, atol=1e-3)


def test_codes_that_cancel_out_have_a_mean_of_zeros():
    one = F.normalize(torch.randn(1, 8), dim=-1)
    assert torch.equal(mean_code(torch.stack([one, -one], 1)), torch.zeros(1, 8))
