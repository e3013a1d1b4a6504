"""Every fusion against its definition, written as loops over videos, modalities, heads and tokens that are there."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from mmsearch.fusion import FusionSettings
from mmsearch.types import TEXTS, Modality

WIDTH, HEADS = 6, 2
ORDER = list(Modality)
METHODS = {
    "concat": {"mlp_ratio": 1.5},
    "gated_sum": {},
    "tfn": {"modality_dim": 2},
    "lmf": {"rank": 3},
    "cross_attention": {"depth": 2, "heads": HEADS},
    "transformer": {"depth": 2, "heads": HEADS},
}


def make(method, modalities, seed, num_codes=3):
    """A fusion that has learned something: no parameter is at its start."""
    torch.manual_seed(seed)
    chosen = {"type": method, "num_codes": num_codes, "modality_dropout": 0.0}
    fusion = TypeAdapter(FusionSettings).validate_python(chosen | METHODS[method]).build(WIDTH, modalities)
    with torch.no_grad():
        for parameter in fusion.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return fusion.double().eval()


@st.composite
def videos(draw):
    """Modalities that are read, tokens of any number of each, in any order, and which of them are real."""
    modalities = draw(st.lists(st.sampled_from(ORDER), min_size=1, max_size=4, unique=True).map(sorted_by_place))
    placed = draw(st.lists(st.sampled_from([ORDER.index(m) for m in modalities]), max_size=7))
    rows = draw(st.integers(1, 3))
    mask = [draw(st.lists(st.booleans(), min_size=len(placed), max_size=len(placed))) for _ in range(rows)]
    seed = draw(st.integers(0, 1000))
    torch.manual_seed(seed)
    tokens = torch.randn(rows, len(placed), WIDTH, dtype=torch.float64)
    numbers = torch.tensor(placed, dtype=torch.int64)
    return modalities, tokens, torch.tensor(mask, dtype=torch.bool).view(rows, len(placed)), numbers, seed


def sorted_by_place(modalities):
    return tuple(sorted(modalities, key=ORDER.index))


def means_of(tokens, mask, modality):
    """The mean token of each modality of one video that has one, by its number."""
    real = {}
    for token, there, number in zip(tokens, mask.tolist(), modality.tolist(), strict=True):
        if there:
            real.setdefault(number, []).append(token)
    return {number: sum(found) / len(found) for number, found in real.items()}


def mean(vectors):
    return sum(vectors) / len(vectors) if vectors else torch.zeros(WIDTH, dtype=torch.float64)


def of_layer_norm(norm, x):
    return F.layer_norm(x, (len(x),), norm.weight, norm.bias, norm.eps)


def flags_and_means(fusion, means):
    slots = [ORDER.index(m) for m in fusion.modalities]
    nothing = torch.zeros(WIDTH, dtype=torch.float64)
    flags = torch.tensor([float(s in means) for s in slots], dtype=torch.float64)
    return slots, torch.cat([*(means.get(s, nothing) for s in slots), flags])


def naive_gates(fusion, means, number):
    """The weighting `number` of the gate network over what is there, by the modality's number."""
    slots, seen = flags_and_means(fusion, means)
    layer, k = fusion.gate.logits, len(slots)
    logits = {s: layer.weight[number * k + i] @ seen + layer.bias[number * k + i] for i, s in enumerate(slots)}
    total = sum(logits[s].exp() for s in means)
    return {s: logits[s].exp() / total for s in means}


def naive_concat(fusion, means):
    _, seen = flags_and_means(fusion, means)
    first, _, last = fusion.mlp
    hidden = F.gelu(first.weight @ seen + first.bias)
    added = (last.weight @ hidden + last.bias).view(-1, WIDTH)
    return [
        of_layer_norm(fusion.norm, c + mean(list(means.values())) + a) for c, a in zip(fusion.codes, added, strict=True)
    ]


def naive_gated_sum(fusion, means):
    codes = []
    for number, learned in enumerate(fusion.codes):
        gates, total = naive_gates(fusion, means, number), learned
        for s, z in means.items():
            i = [ORDER.index(m) for m in fusion.modalities].index(s)
            total = total + gates[s] * (z + torch.tanh(z @ fusion.matrices[i] + fusion.biases[i]))
        codes.append(of_layer_norm(fusion.norm, total))
    return codes


def naive_lmf(fusion, means):
    gates, h = naive_gates(fusion, means, 0), torch.zeros(WIDTH, dtype=torch.float64)
    for r in range(len(fusion.factors)):
        factor = torch.ones(WIDTH, dtype=torch.float64)
        for i, m in enumerate(fusion.modalities):
            s = ORDER.index(m)
            moved = len(means) * gates[s] * means[s] @ fusion.factors[r, i] if s in means else 0.0
            factor = factor * (1 + moved + fusion.biases[r, i])
        h = h + factor
    added = (fusion.out.weight @ of_layer_norm(fusion.norm_product, h) + fusion.out.bias).view(-1, WIDTH)
    start = sum((gates[s] * z for s, z in means.items()), torch.zeros(WIDTH, dtype=torch.float64))
    return [of_layer_norm(fusion.norm, c + start + a) for c, a in zip(fusion.codes, added, strict=True)]


def naive_tfn(fusion, means):
    parts = []
    for i, m in enumerate(fusion.modalities):
        z = means.get(ORDER.index(m))
        v = [0.0, 0.0] if z is None else torch.tanh(z @ fusion.matrices[i] + fusion.biases[i]).tolist()
        parts.append([*v, 1.0])
    tensor = []
    for chosen in product(*parts):
        number = 1.0
        for factor in chosen:
            number *= factor
        tensor.append(number)
    first, norm, _, last = fusion.mlp
    hidden = F.gelu(of_layer_norm(norm, first.weight @ torch.tensor(tensor, dtype=torch.float64) + first.bias))
    added = (last.weight @ hidden + last.bias).view(-1, WIDTH)
    return [
        of_layer_norm(fusion.norm, c + mean(list(means.values())) + a) for c, a in zip(fusion.codes, added, strict=True)
    ]


def naive_attention(queries, keys, values):
    """Each query's mixture of values, head by head, and what it pays to each key, averaged over heads."""
    size, mixed, paid = WIDTH // HEADS, [], []
    for q in queries:
        row, shares = [], torch.zeros(len(keys), dtype=torch.float64)
        for h in range(HEADS):
            at = slice(h * size, (h + 1) * size)
            weights = torch.stack([(q[at] * k[at]).sum() / size**0.5 for k in keys]).softmax(0)
            row.append(sum(w * v[at] for w, v in zip(weights, values, strict=True)))
            shares = shares + weights / HEADS
        mixed.append(torch.cat(row))
        paid.append(shares)
    return mixed, paid


def self_attention(block, stream):
    q, k, v = zip(*(block.qkv(of_layer_norm(block.norm_attention, x)).chunk(3) for x in stream), strict=True)
    mixed, paid = naive_attention(q, k, v)
    return [x + block.out(m) for x, m in zip(stream, mixed, strict=True)], paid


def per_token(block, stream):
    return [x + block.mlp(of_layer_norm(block.norm_mlp, x)) for x in stream]


def real_tokens(fusion, tokens, mask, modality):
    """Number and typed token of what is there."""
    numbers = [n for n, there in zip(modality.tolist(), mask.tolist(), strict=True) if there]
    return [(n, t + fusion.type_embed.weight[n]) for n, t in zip(numbers, tokens[mask], strict=True)]


def shares_of(numbers, paid):
    """Sums by modality, of sum 1."""
    found = torch.zeros(len(ORDER), dtype=torch.float64)
    for number, weight in zip(numbers, paid, strict=True):
        found[number] += weight
    return found / found.sum() if numbers else found


def naive_transformer(fusion, tokens, mask, modality):
    real, start = real_tokens(fusion, tokens, mask, modality), mean(list(means_of(tokens, mask, modality).values()))
    stream, m, total = [c + start for c in fusion.codes] + [t for _, t in real], len(fusion.codes), 0.0
    for block in fusion.transformer.blocks:
        stream, paid = self_attention(block, stream)
        stream = per_token(block, stream)
        total = total + sum(paid[:m])[m:]
    return [of_layer_norm(fusion.transformer.norm, x) for x in stream[:m]], shares_of([n for n, _ in real], total)


def naive_cross_attention(fusion, tokens, mask, modality):
    real, start = real_tokens(fusion, tokens, mask, modality), mean(list(means_of(tokens, mask, modality).values()))
    texts = [(n, t) for n, t in real if ORDER[n] in TEXTS]
    pictures = [(n, t) for n, t in real if ORDER[n] not in TEXTS]
    stream, m, total = [c + start for c in fusion.codes] + [t for _, t in texts], len(fusion.codes), 0.0
    for block in fusion.blocks:
        stream, to_texts = self_attention(block, stream)
        seen = [of_layer_norm(block.norm_pictures, t) for t in (fusion.nothing, *(t for _, t in pictures))]
        k, v = zip(*(block.key_value(x).chunk(2) for x in seen), strict=True)
        mixed, paid = naive_attention([block.query(of_layer_norm(block.norm_cross, x)) for x in stream], k, v)
        stream = per_token(block, [x + block.cross_out(f) for x, f in zip(stream, mixed, strict=True)])
        total = total + torch.cat([sum(to_texts[:m])[m:], sum(paid[:m])[1:]])
    shares = shares_of([n for n, _ in texts + pictures], total)
    return [of_layer_norm(fusion.norm, x) for x in stream[:m]], shares


def naive_gate_shares(fusion, means, gates):
    found = torch.zeros(len(ORDER), dtype=torch.float64)
    for number in range(gates):
        for s, gate in naive_gates(fusion, means, number).items():
            found[s] += gate / gates
    return found


def naive(method, fusion, tokens, mask, modality):
    """Codes and shares of one video; None where the method has no shares."""
    if method in ("transformer", "cross_attention"):
        return {"transformer": naive_transformer, "cross_attention": naive_cross_attention}[method](
            fusion, tokens, mask, modality
        )
    means = means_of(tokens, mask, modality)
    codes = {"concat": naive_concat, "gated_sum": naive_gated_sum, "lmf": naive_lmf, "tfn": naive_tfn}[method]
    gates = {"gated_sum": len(fusion.codes), "lmf": 1}.get(method)
    return codes(fusion, means), None if gates is None else naive_gate_shares(fusion, means, gates)


@pytest.mark.parametrize("method", METHODS)
@settings(max_examples=25, deadline=None)
@given(drawn=videos())
@torch.no_grad()
def test_codes_and_shares_are_those_of_the_loops(method, drawn):
    modalities, tokens, mask, modality, seed = drawn
    fusion = make(method, modalities, seed)
    codes, shares = fusion(tokens, mask, modality), fusion.weights(tokens, mask, modality)
    for row in range(len(tokens)):
        expected, expected_shares = naive(method, fusion, tokens[row], mask[row], modality)
        torch.testing.assert_close(codes[row], torch.stack(expected), rtol=1e-9, atol=1e-9)
        if expected_shares is None:
            assert shares is None
        else:
            torch.testing.assert_close(shares[row], expected_shares, rtol=1e-9, atol=1e-9)
