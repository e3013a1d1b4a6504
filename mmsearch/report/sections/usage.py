"""What the model makes of each modality: left out, shuffled, and what its fusion weighs."""

from __future__ import annotations

from collections.abc import Sequence

from mmsearch.report.charts import Bar, Mark, forest, shares, span_of, widest
from mmsearch.report.diagnostics import Change, Diagnostics, FusionWeights, Share
from mmsearch.report.markup import Child, Html
from mmsearch.report.sections.parts import (
    MODALITIES,
    Section,
    command,
    estimate,
    folded,
    interval,
    notice,
    number,
    numbers_of,
    panels,
    percent,
    prose,
    signed,
    table,
)
from mmsearch.types import Modality

_DIAGNOSE = "python -m training diagnose RUN --corpus CORPUS --judgments JUDGMENTS"
_KINDS = {"left_out": "left out", "shuffled": "shuffled"}
#: What the weights of fusions that attend are; those of all others are gates.
_ATTENTION = {
    "transformer": (
        "Attention: the share of each modality in what the codes of the fusion look at (mean over codes, heads and "
        "layers, and over the judged videos that have it). Looking at all tokens alike gives a modality its share "
        "of the tokens (ring), so long texts get much; a bar beyond its ring gets more than its length explains."
    ),
    "cross_attention": (
        "Attention: the share of each modality in what the codes of the fusion look at (mean over codes, heads and "
        "layers, and over the judged videos that have it). Texts share one attention, cover and frames another: "
        "compare texts with texts and pictures with pictures. The more tokens a modality has, the more it gets."
    ),
}
_GATES = (
    "Gates: the share of each modality in what the fusion mixes (mean over the judged videos that have it). Without "
    "preference all modalities of a video get the same (stroke)."
)


def ablation(found: Diagnostics | None) -> Section:
    """Give what happens to PNR without a modality and with a wrong one, and beside it gates or attention."""
    title = "What the model uses"
    if found is None:
        told = notice("Not measured yet. It needs the model itself: ", command(_DIAGNOSE))
        return Section("ablation", title, (told,))
    weights = [one.weights for one in found.spaces.values() if one.weights is not None]
    body = [
        prose(
            "Left out: no video has the modality when it is scored. Shuffled: each video gets it from another one "
            f"({found.num_shuffles} shuffles, pooled), so that it is there and wrong. Shown is how PNR changes: far "
            "below 0 stands what the model leans on, at 0 what it does not use, above 0 what does harm on these "
            f"judgments.{' Videos are scored by all of their codes.' if found.served == 'codes' else ''}"
        ),
        *_explained(weights),
        panels(_charts(found)),
        _changes(found),
    ]
    if weights:
        body.append(_weights(found, _named(weights[0])))
    return Section("ablation", title, tuple(body))


def _charts(found: Diagnostics) -> list[tuple[Child, Html]]:
    """Draw three charts a space, or two where its fusion has no weights; those of a kind have one axis."""
    marks = {
        (space, kind): [_mark(modality, change) for modality, change in getattr(told, kind).items()]
        for space, told in found.spaces.items()
        for kind in _KINDS
    }
    bars = {
        space: [_bar(modality, share, told.weights) for modality, share in told.weights.shares.items()]
        for space, told in found.spaces.items()
        if told.weights is not None
    }
    span = span_of((m for those in marks.values() for m in those), "change of PNR", 0.0, "nothing changes")
    end = widest(bar for those in bars.values() for bar in those)
    charts: list[tuple[Child, Html]] = []
    for space, told in found.spaces.items():
        for kind, named in _KINDS.items():
            chart = forest(f"{space}, {kind}", marks[space, kind], span)
            charts.append((f"{space}: one modality {named}", chart))
        if told.weights is not None:
            name = f"{space}: {_named(told.weights)} by modality"
            charts.append((name, shares(name, bars[space], end)))
    return charts


def _explained(weights: Sequence[FusionWeights]) -> list[Html]:
    """Say what gates or attention are, and what they are not."""
    told = (
        "This is where the model looks, not what counts: a large share may change nothing and a small one decide. What "
        "the ranking depends on is seen where a modality is left out or shuffled."
    )
    return [prose(f"{_ATTENTION.get(one.method, _GATES)} {told}") for one in weights[:1]]  # of all spaces the same


def _named(weights: FusionWeights) -> str:
    return "attention" if weights.method in _ATTENTION else "gates"


def _by_tokens(share: Share, weights: FusionWeights) -> float | None:
    """Give the share of the tokens where weights that prefer nothing would be that."""
    return share.by_tokens if weights.method == "transformer" else None


def _mark(modality: Modality, change: Change) -> Mark:
    value, between = numbers_of(change.change)
    shown = f"{signed(value)}  ({interval(between, sign=True)})"
    return Mark(MODALITIES[modality], value, between.low, between.high, shown, "c4")


def _bar(modality: Modality, share: Share, weights: FusionWeights) -> Bar:
    value, between = numbers_of(share.share)
    shown = f"{percent(value)}  ({percent(between.low)}\u00a0…\u00a0{percent(between.high)})"
    even, tokens = (float("nan") if one is None else one for one in (share.even, _by_tokens(share, weights)))
    shown = shown if share.num_videos else "no videos"
    return Bar(MODALITIES[modality], value, between.low, between.high, shown, even, tokens)


def _changes(found: Diagnostics) -> Html:
    rows: list[Sequence[Child]] = []
    for space, told in found.spaces.items():
        rows.append([f"{space} · everything in place", estimate(told.whole), "–", "–"])
        for kind, named in _KINDS.items():
            for modality, change in getattr(told, kind).items():
                cells: list[Child] = [
                    estimate(change.pnr),
                    estimate(change.change, sign=True),
                    f"{change.num_videos:,}",
                ]
                rows.append([f"{space} · {MODALITIES[modality]} {named}", *cells])
    caption = f"PNR on {found.num_queries:,} queries, {found.num_judged:,} graded videos"
    return folded(
        "Numbers: left out and shuffled",
        table(["space · modality", "PNR", "change", "videos that have it"], rows, caption),
    )


def _weights(found: Diagnostics, named: str) -> Html:
    rows: list[Sequence[Child]] = []
    for space, told in found.spaces.items():
        if told.weights is None:
            continue
        for modality, share in told.weights.shares.items():
            references = [_share(share.even), _share(_by_tokens(share, told.weights))]
            cells: list[Child] = [estimate(share.share, digits=3), *references, f"{share.num_videos:,}"]
            rows.append([f"{space} · {MODALITIES[modality]}", *cells])
    head = ["space · modality", "share", "even share", "share of the tokens", "videos that have it"]
    caption = (
        "Mean shares over the judged videos that have the modality, 0 to 1, with 95 % intervals (bootstrap over videos)"
    )
    return folded(f"Numbers: {named}", table(head, rows, caption))


def _share(value: float | None) -> str:
    return number(float("nan") if value is None else value, 3)
