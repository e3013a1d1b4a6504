"""The tables of a comparison from a file: PNR with modalities missing, mean against codes, and what variants cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from training.comparison.measures import figure
from training.comparison.results import Outcome
from training.comparison.runs import Failure
from training.comparison.settings import CompareSettings
from training.comparison.summary import Summary, summarise
from training.comparison.tables import (
    Rows,
    differing,
    estimated,
    markdown,
    meanings,
    outcome_json,
    power,
    summary_json,
)

if TYPE_CHECKING:
    from training.comparison.suite import Table

Outcomes = Mapping[str, Mapping[int, Outcome]]


def page(tables: Sequence[Table], settings: CompareSettings, failures: Sequence[Failure]) -> str:
    """Give all tables as Markdown."""
    told = []
    for table in tables:
        told.append(f"## {table.name}")
        told.append(
            f"PNR of the student in `{settings.space}`, served as the mean of the codes, on {settings.judgments.name}; "
            "in brackets 95 % intervals over seeds, then the quotient to the first variant, paired by seed."
        )
        told.append(markdown(*_quality(table.outcomes, settings.missing)))
        shares = [replace(_summary(table.outcomes, share), metric=f"{share:.0%} missing") for share in settings.missing]
        told += list(filter(None, map(power, shares)))
        told.append("The same models served as their codes, against themselves served as the mean.")
        told.append(markdown(*_served(table.outcomes, settings.missing[0])))
        told.append(
            "Cost: fusion alone and the whole document tower, milliseconds of one CPU thread per 1,000 videos (median "
            "of rounds in turns), and what is stored of a video in this space in float16."
        )
        told.append(markdown(*_costs(table)))
    first = _summary(tables[0].outcomes, settings.missing[0])
    told += [f"- {note}" for note in meanings(replace(first, metric="PNR"))]
    for one in failures:
        told.append(f"- Failed: {one.run.variant.label}, seed {one.run.seed} (exit code {one.exit_code}).")
    return "\n\n".join(told) + "\n"


def as_json(tables: Sequence[Table], config: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Give everything as JSON can hold it: figures of every run, summaries, costs."""
    found: dict[str, Any] = {}
    for table in tables:
        figures = next(iter(next(iter(table.outcomes.values())).values())).values
        found[table.name] = {
            "order": list(table.outcomes),
            "figures": {name: summary_json(summarise(table.outcomes, name)) for name in figures},
            "runs": {
                label: {str(seed): outcome_json(one) for seed, one in seeds.items()}
                for label, seeds in table.outcomes.items()
            },
            "costs": {label: asdict(cost) for label, cost in table.costs.items()},
        }
    return {"config": config, "overrides": list(overrides), "tables": found}


def _summary(outcomes: Outcomes, share: float) -> Summary:
    return summarise(outcomes, figure(share, "mean"))


def _quality(outcomes: Outcomes, missing: Sequence[float]) -> tuple[list[str], Rows]:
    summaries = [_summary(outcomes, share) for share in missing]
    head = ["variant", "seeds"]
    for share in missing:
        head += [f"{share:.0%} missing", "against first", "p (Holm)"]
    rows = []
    for label in outcomes:
        cells = [cell for summary in summaries for cell in _cells(summary, label)]
        rows.append([label, str(len(outcomes[label])), *cells])
    return head, rows


def _served(outcomes: Outcomes, share: float) -> tuple[list[str], Rows]:
    """Compare, for every variant, its codes with its mean: both of the same runs."""
    rows = []
    for label, seeds in outcomes.items():
        ways = {
            served: {seed: _only(one, figure(share, served)) for seed, one in seeds.items()}
            for served in ("mean", "codes")
        }
        summary = summarise(ways, "PNR")
        change, between, _, p_holm, _, verdict = differing(summary, "codes")
        mean, codes = (" ".join(_bracketed(estimated(summary.estimates[served]))) for served in ways)
        rows.append([label, mean, codes, f"{change} ({between})", p_holm, verdict])
    return ["variant", "mean", "codes", "codes against mean", "p", "verdict"], rows


def _costs(table: Table) -> tuple[list[str], Rows]:
    head = ["variant", "fusion parameters", "fusion ms", "against first", "tower ms", "bytes, mean", "bytes, codes"]
    first = next(iter(table.costs.values()))
    rows = []
    for label, cost in table.costs.items():
        times = [f"{cost.fusion_ms:,.1f}", f"× {cost.fusion_ms / first.fusion_ms:.2f}", f"{cost.document_ms:,.0f}"]
        rows.append([label, f"{cost.fusion_parameters:,}", *times, f"{cost.mean_bytes:,}", f"{cost.codes_bytes:,}"])
    return head, rows


def _only(outcome: Outcome, name: str) -> Outcome:
    return Outcome({"PNR": outcome.values[name]}, frozenset({"PNR"}), None, None)


def _cells(summary: Summary, label: str) -> list[str]:
    value = " ".join(_bracketed(estimated(summary.estimates[label])))
    change, between, _, p_holm, _, verdict = differing(summary, label)
    return [value, f"{change} ({between}) {verdict}" if change else "", p_holm]


def _bracketed(estimate: Sequence[str]) -> list[str]:
    value, between = estimate
    return [value, f"({between})"]
