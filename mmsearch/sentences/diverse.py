"""Choose sentences that matter and do not repeat each other, within a budget of characters."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

#: So many of the most relevant sentences are looked at: it bounds the cost of a transcript that is made to cost much.
MAX_COMPARED = 1000
#: Term -> weight, of one sentence.
Vector = Mapping[str, float]


def choose_diverse(
    relevance: Sequence[float],
    vectors: Sequence[Vector],
    lengths: Sequence[int],
    budget: float,
    redundancy: float,
    most: int | None = None,
) -> list[int]:
    """Give the numbers of the chosen sentences, in the order of choice.

    Maximal marginal relevance (Carbonell and Goldstein 1998) under a budget: each step takes, of the sentences that
    still fit, the one with the highest `relevance[i] - redundancy * max_j cos(vectors[i], vectors[j])` over the chosen
    j. Ties go to the earlier sentence. It ends when nothing fits, or `most` are chosen.

    Args:
        relevance: a value for each sentence, best between 0 and 1; -inf = never.
        vectors: the terms of each, weights not negative.
        lengths: characters of each. A chosen sentence but the first costs one more, for the line end between.
        budget: characters of all chosen together, or infinity.
        redundancy: how much likeness costs; 0 = relevance alone.
        most: bound on the number of chosen sentences.

    Cost: (chosen sentences) x (sentences, the `MAX_COMPARED` most relevant at most), and likeness only for pairs that
    share a term.
    """
    able = (number for number, value in enumerate(relevance) if value > -math.inf and lengths[number] <= budget)
    left = set(sorted(able, key=lambda i: (-relevance[i], i))[:MAX_COMPARED])
    norms = {i: math.sqrt(sum(weight * weight for weight in vectors[i].values())) for i in left}
    holders: defaultdict[str, list[int]] = defaultdict(list)
    for number in left:
        for term in vectors[number]:
            holders[term].append(number)
    likeness = dict.fromkeys(left, 0.0)
    chosen: list[int] = []
    while left and (most is None or len(chosen) < most):
        room = budget - (1 if chosen else 0)
        left = {number for number in left if lengths[number] <= room}
        if not left:
            break
        best = min(left, key=lambda i: (redundancy * likeness[i] - relevance[i], i))
        left.discard(best)
        chosen.append(best)
        budget = room - lengths[best]
        for number, value in _likeness(best, vectors, norms, holders).items():
            likeness[number] = max(likeness[number], value)
    return chosen


def without_worst(relevance: Sequence[float], least: float) -> list[float]:
    """Give -inf for what is worth less than `least`; where all is, everything stays as it is."""
    if max(relevance, default=0.0) < least:
        return list(relevance)
    return [value if value >= least else -math.inf for value in relevance]


def _likeness(
    chosen: int, vectors: Sequence[Vector], norms: Mapping[int, float], holders: Mapping[str, list[int]]
) -> dict[int, float]:
    """Give the cosine of one sentence with all that share a term with it."""
    products: defaultdict[int, float] = defaultdict(float)
    for term, weight in vectors[chosen].items():
        for number in holders[term]:
            products[number] += weight * vectors[number][term]
    return {i: product / (norms[chosen] * norms[i]) for i, product in products.items() if product > 0}
