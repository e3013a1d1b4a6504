"""Cached gradients against the same chunks in one graph."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmsearch.losses import info_nce
from training.gradient_cache import cached_backward
from training.representations import Representations

WIDTH = 6


class TwoTowers(nn.Module):
    """Queries and videos, with dropout and a temperature."""

    def __init__(self, width=WIDTH):
        super().__init__()
        self.query, self.video = (
            nn.Sequential(nn.Linear(WIDTH, width), nn.Dropout(0.4), nn.Tanh(), nn.Linear(width, 3)) for _ in range(2)
        )
        self.log_scale = nn.Parameter(torch.tensor(1.0))

    def embed(self, chunk):
        queries, videos = chunk
        vectors, present = {}, {}
        if queries is not None:
            vectors["teacher/cover"] = self.query(queries)
        if videos is not None:
            vectors["codes/cover"] = self.video(videos).unsqueeze(1)
            present["cover"] = videos[:, 0] > -1
        return Representations(vectors, present)

    def losses(self, found):
        query, codes = found.vectors["teacher/cover"], found.vectors["codes/cover"]
        logits = self.log_scale.exp() * query @ codes.squeeze(1).T
        loss = info_nce(logits, torch.eye(len(logits), dtype=torch.bool), columns=found.present["cover"])
        return {"loss": loss, "scale": self.log_scale.exp()}


class Engine:
    """The smallest engine: it remembers how it was called."""

    def __init__(self):
        self.lasts = []

    def __call__(self, tensor, last):
        self.lasts.append(last)
        tensor.backward()


def towers(width=WIDTH):
    torch.manual_seed(0)
    return TwoTowers(width).double()


def gradients(model):
    return {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()}


def in_one_graph(model, chunks):
    torch.manual_seed(1)
    model.zero_grad()
    found = model.losses(Representations.joined([model.embed(chunk) for chunk in chunks]))
    found["loss"].backward()
    return found["loss"].detach(), gradients(model), torch.rand(())


def with_cache(model, chunks):
    torch.manual_seed(1)
    model.zero_grad()
    engine = Engine()
    found = cached_backward(model.embed, chunks, model.losses, engine)
    calls = 1 if len(chunks) == 1 else len(chunks) + 1
    assert engine.lasts == [False] * (calls - 1) + [True]
    assert not found["loss"].requires_grad
    return found["loss"], gradients(model), torch.rand(())


def assert_equal(model, chunks):
    torch.testing.assert_close(
        with_cache(model, chunks), in_one_graph(model, chunks), rtol=1e-6, atol=1e-12, check_dtype=True
    )


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_equals_one_graph_with_dropout_whatever_the_chunks(sizes):
    data = torch.Generator().manual_seed(2)
    chunks = [tuple(torch.randn(2, size, WIDTH, generator=data, dtype=torch.float64)) for size in sizes]
    model = towers()
    assert_equal(model, chunks)
    assert model.log_scale.grad is not None


def test_without_dropout_the_chunks_make_no_difference():
    model = towers().eval()
    queries, videos = torch.randn(2, 7, WIDTH, dtype=torch.float64)
    whole = in_one_graph(model, [(queries, videos)])[:2]
    chunks = list(zip(queries.split(3), videos.split(3), strict=True))
    torch.testing.assert_close(with_cache(model, chunks)[:2], whole, rtol=1e-6, atol=1e-12)


def test_a_chunk_may_lack_queries_or_videos():
    queries, videos = torch.randn(2, 5, WIDTH, dtype=torch.float64)
    model = towers()
    assert_equal(model, [(queries[:2], videos[:3]), (queries[2:], None), (None, videos[3:])])
    assert_equal(model, [(queries, None), (None, videos[:4]), (None, videos[4:])])


def test_a_chunk_where_nothing_learns_is_still_told_to_the_engine():
    queries, videos = torch.randn(2, 4, WIDTH, dtype=torch.float64)
    model = towers()
    model.query.requires_grad_(False)
    assert_equal(model, [(None, videos), (queries, None)])
    assert model.query[0].weight.grad is None


def test_what_the_loss_does_not_read_keeps_no_gradient():
    queries, videos = torch.randn(2, 4, WIDTH, dtype=torch.float64)
    model = towers()
    model.losses = lambda found: {"loss": found.vectors["codes/cover"].square().sum()}
    assert_equal(model, [(queries[:2], videos[:2]), (queries[2:], videos[2:])])
    assert model.query[0].weight.grad is None


def test_an_autocast_around_the_whole_step_does_not_cut_gradients_off():
    queries, videos = torch.randn(2, 4, WIDTH)
    model = towers().float()
    chunks = [(queries[:2], videos[:2]), (queries[2:], videos[2:])]
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(with_cache(model, chunks), in_one_graph(model, chunks), rtol=0.05, atol=0.02)


class Saved:
    """What autograd keeps for backward, counted while it is alive; the weights are there anyhow."""

    alive = peak = 0
    weights: frozenset[int] = frozenset()

    def __init__(self, tensor):
        self.tensor = tensor
        self.size = 0 if tensor.untyped_storage().data_ptr() in Saved.weights else tensor.nbytes
        Saved.alive += self.size
        Saved.peak = max(Saved.peak, Saved.alive)

    def __del__(self):
        Saved.alive -= self.size


@pytest.mark.parametrize("num_chunks", [4, 16])
def test_activations_of_one_chunk_are_alive_at_a_time(num_chunks):
    model = towers(width=4096)
    queries, videos = torch.randn(2, 32, WIDTH, dtype=torch.float64)
    chunks = list(zip(queries.chunk(num_chunks), videos.chunk(num_chunks), strict=True))
    Saved.weights = frozenset(p.untyped_storage().data_ptr() for p in model.parameters())
    peaks = []
    for way in (in_one_graph, with_cache):
        Saved.alive = Saved.peak = 0
        with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
            way(model, chunks)
        peaks.append(Saved.peak)
    assert 0 < peaks[1] < 1.1 * peaks[0] / num_chunks
