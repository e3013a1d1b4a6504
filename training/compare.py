"""Compare variants of a run over seeds: run them all, then tell them apart with intervals and paired tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmsearch.errors import ConfigError, DataError
from mmsearch.files import sole_writer, write_bytes, write_json
from training.comparison import tables
from training.comparison.plan import Variant, make_variants, parse_varied, refuse_own
from training.comparison.results import Outcome, read_outcome
from training.comparison.runs import Failure, Run, check_complete, run_all
from training.comparison.summary import Summary, metrics_of, summarise

#: Widest line where the output is no terminal.
_PIPE_WIDTH = 200


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came out.

    Args:
        folder: where the runs and the tables are.
        summaries: of every figure, the one that was asked for first.
        outcomes: of the runs that ended well, by variant and seed.
        failures: the other runs.
        num_seeds: seeds of each variant.
    """

    folder: Path
    summaries: list[Summary]
    outcomes: dict[str, dict[int, Outcome]]
    failures: list[Failure]
    num_seeds: int

    def show(self) -> None:
        """Print the table of the first figure, and the notes."""
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        console = Console()
        if not console.is_terminal:  # cut to the width of a pipe, a table would lose its numbers
            console = Console(width=_PIPE_WIDTH)
        head, rows = tables.main_table(self.summaries[0], self.outcomes, self.num_seeds)
        table = Table()
        for column, name in enumerate(head):
            table.add_column(name, justify="left" if column == 0 else "right", overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        console.print(table)
        for note in tables.notes(self.summaries[0], self.num_seeds):
            console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
        console.print(str(self.folder / "comparison.md"), markup=False, highlight=False, soft_wrap=True)

    def check_complete(self) -> None:
        """Raise PartialResultError if runs failed: the tables hold what the others gave."""
        total = len(self.failures) + sum(len(seeds) for seeds in self.outcomes.values())
        check_complete(self.failures, total, self.folder)


def compare(
    config: Path,
    vary: Sequence[str],
    *,
    num_seeds: int = 3,
    out: Path | None = None,
    metric: str = "student/content",
    overrides: Sequence[str] = (),
    jobs: int = 1,
) -> Comparison:
    """Run every combination of some settings with every seed, and compare the combinations.

    Run it again and what has ended is not run again; what was killed goes on.

    Args:
        config: settings of the run, a YAML file.
        vary: `dotted.key=value,value,…`, once for each setting; the combination of all first values is what the
            others are compared with.
        num_seeds: runs of each combination: with `run.seed` as it is set, and the next ones.
        out: folder of all runs, `VARIANT/seed-S`; None = `run.dir` with `-comparison` behind it.
        metric: the figure of the table; all others are compared too and stand in the files.
        overrides: settings of all runs, `dotted.key=value`.
        jobs: runs at a time.

    Returns:
        The comparison; it stands in `comparison.json` and `comparison.md` too.

    Raises:
        ConfigError: settings are wrong, of whichever variant: before the first run; or no run knows the figure.
        DataError: no run ended well, a run was not validated, or another process compares in the folder.
    """
    if num_seeds < 1 or jobs < 1:
        raise ConfigError("--seeds and --jobs must be 1 or more")
    refuse_own([text for text in overrides if not text.startswith("run.seed=")])
    variants = make_variants([parse_varied(text) for text in vary])
    first_seed, run_dir = _check(config, overrides, variants)
    folder = out if out is not None else run_dir.with_name(f"{run_dir.name}-comparison")
    seeds = range(first_seed, first_seed + num_seeds)
    runs = [Run(variant, seed, folder / variant.folder / f"seed-{seed}") for variant in variants for seed in seeds]
    with sole_writer(folder):
        failures = run_all(runs, config, overrides, jobs=jobs)
        found = _collect(runs, failures, folder, metric, num_seeds)
        _write(found, config, overrides)
    return found


def _check(config: Path, overrides: Sequence[str], variants: Sequence[Variant]) -> tuple[int, Path]:
    """Read the settings of every variant, so that a mistake comes out now; give the first seed and the run's folder."""
    from mmsearch.config import load_settings
    from training.config import FitSettings

    checked = []
    for variant in variants:
        try:
            checked.append(load_settings(FitSettings, config, [*overrides, *variant.overrides]))
        except ConfigError as error:
            raise ConfigError(f"variant {variant.label}: {error}") from None
    return checked[0].run.seed, checked[0].run.dir


def _collect(runs: Sequence[Run], failures: Sequence[Failure], folder: Path, metric: str, num_seeds: int) -> Comparison:
    failed = [failure.run for failure in failures]
    outcomes: dict[str, dict[int, Outcome]] = {run.variant.label: {} for run in runs}
    for run in runs:
        if run not in failed:
            outcomes[run.variant.label][run.seed] = read_outcome(run)
    known = metrics_of(outcomes)
    if not known:
        raise DataError(f"{folder}: no run ended well; their logs stand there")
    wanted = next((name for name in (metric, f"pair_pnr/{metric}") if name in known), None)
    if wanted is None:
        raise ConfigError(f"--metric {metric}: the runs do not know it; they have: {', '.join(known)}")
    ordered = [wanted, *(name for name in known if name != wanted)]
    return Comparison(folder, [summarise(outcomes, name) for name in ordered], outcomes, list(failures), num_seeds)


def _write(found: Comparison, config: Path, overrides: Sequence[str]) -> None:
    main = found.summaries[0]
    settings = " ".join([str(config), *overrides])
    told = [
        f"# {main.metric} of {settings}",
        tables.markdown(*tables.main_table(main, found.outcomes, found.num_seeds)),
    ]
    told += [f"- {note}" for note in tables.notes(main, found.num_seeds)]
    for failure in found.failures:
        told.append(f"- Failed: {failure.run.variant.label}, seed {failure.run.seed} (exit code {failure.exit_code}).")
    if found.summaries[1:]:
        told += [
            "## Other figures",
            "Holm's rule corrects for variants here, not for the number of figures.",
            tables.markdown(*tables.long_table(found.summaries[1:])),
        ]
    write_bytes(found.folder / "comparison.md", ("\n\n".join(told) + "\n").encode())
    write_json(found.folder / "comparison.json", _as_json(found, config, overrides))


def _as_json(found: Comparison, config: Path, overrides: Sequence[str]) -> dict[str, Any]:
    runs = {
        label: {str(seed): tables.outcome_json(outcome) for seed, outcome in seeds.items()}
        for label, seeds in found.outcomes.items()
    }
    failed = [
        {"variant": one.run.variant.label, "seed": one.run.seed, "exit_code": one.exit_code, "log": str(one.run.log)}
        for one in found.failures
    ]
    return {
        "config": str(config),
        "overrides": list(overrides),
        "metric": found.summaries[0].metric,
        "first": next(iter(found.outcomes)),
        "order": list(found.outcomes),
        "metrics": {summary.metric: tables.summary_json(summary) for summary in found.summaries},
        "runs": runs,
        "failed": failed,
    }
