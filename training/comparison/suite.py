"""A comparison that stands in a settings file: named variants in tables, trained, and measured on unseen grades."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmsearch.config import load_settings
from mmsearch.data.formats import check_readable
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import ConfigError, DataError
from mmsearch.files import sole_writer, write_bytes, write_json
from training.comparison import suite_tables
from training.comparison.cost import Cost, costs
from training.comparison.measures import Ruler
from training.comparison.plan import Variant, folder_name, refuse_own
from training.comparison.results import Outcome, read_outcome
from training.comparison.runs import Failure, Run, check_complete, run_all
from training.comparison.settings import CompareSettings
from training.config import FitSettings

_log = logging.getLogger(__name__)

#: By table, by variant, its runs.
Plan = dict[str, dict[str, list[Run]]]


@dataclass(frozen=True, slots=True)
class Table:
    """What came out of the variants of a table.

    Args:
        name: of the table.
        outcomes: by variant and seed, PNR by the names of `measures.figure`.
        costs: by variant.
    """

    name: str
    outcomes: dict[str, dict[int, Outcome]]
    costs: dict[str, Cost]


@dataclass(frozen=True, slots=True)
class Suite:
    """What came out of a comparison.

    Args:
        folder: where runs and tables are.
        tables: those with runs that ended well.
        settings: of the comparison.
        failures: the other runs.
        num_runs: of all variants.
    """

    folder: Path
    tables: list[Table]
    settings: CompareSettings
    failures: list[Failure]
    num_runs: int

    @property
    def markdown(self) -> str:
        """Give all tables and what they mean."""
        return suite_tables.page(self.tables, self.settings, self.failures)

    def check_complete(self) -> None:
        """Raise PartialResultError if runs failed: the tables hold what the others gave."""
        check_complete(self.failures, self.num_runs, self.folder)


def compare_tables(
    config: Path,
    overrides: Sequence[str] = (),
    *,
    num_seeds: int | None = None,
    out: Path | None = None,
    jobs: int = 1,
) -> Suite:
    """Run every variant of the file's `compare.tables` with every seed, measure them, and write the tables.

    Run it again and what has ended is not run again; what was killed goes on.

    Args:
        config: settings of the run with a section `compare`, a YAML file.
        overrides: settings of all runs, `dotted.key=value`.
        num_seeds: instead of `compare.seeds`.
        out: folder of all runs and of `comparison.md` and `comparison.json`; None = `run.dir` with `-comparison`.
        jobs: runs at a time.

    Raises:
        ConfigError: settings are wrong, of whichever variant: before the first run.
        DataError: there are no such judgments, no run ended well, the judged videos are not in the corpus, or another
            process compares there.
    """
    refuse_own([text for text in overrides if not text.startswith("run.seed=")])
    base = load_settings(FitSettings, config, overrides)
    if base.compare is None:
        raise ConfigError(f"{config}: has no section 'compare'; give --vary KEY=A,B,C, or write the tables there")
    settings = base.compare.model_copy(update={} if num_seeds is None else {"seeds": num_seeds})
    folder = out if out is not None else base.run.dir.with_name(f"{base.run.dir.name}-comparison")
    check_readable(base.data.path(settings.judgments))
    plan = make_plan(config, overrides, settings, folder, base.run.seed)
    with sole_writer(folder):
        runs = list({run.folder: run for table in plan.values() for own in table.values() for run in own}.values())
        failures = run_all(runs, config, overrides, jobs=jobs)
        rulers = _Rulers(config, overrides, settings)
        tables = _measure(plan, {failure.run.folder for failure in failures}, rulers)
        if not tables:
            raise DataError(f"{folder}: no run ended well; their logs stand there")
        suite = Suite(folder, tables, settings, failures, len(runs))
        write_bytes(folder / "comparison.md", f"# {config}\n\n{suite.markdown}".encode())
        write_json(folder / "comparison.json", suite_tables.as_json(tables, str(config), overrides))
    return suite


def make_plan(config: Path, overrides: Sequence[str], settings: CompareSettings, folder: Path, first_seed: int) -> Plan:
    """Give the runs of every variant of every table; variants of equal settings share theirs.

    Raises:
        ConfigError: the settings of a variant are wrong; it is named.
    """
    plan: Plan = {}
    known: dict[str, list[Run]] = {}
    for table, variants in settings.tables.items():
        plan[table] = {}
        for label, changes in variants.items():
            own = tuple(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in changes.items())
            refuse_own(own)
            variant = Variant(label, folder_name(label), own)
            key = _resolved(config, [*overrides, *own], f"{table}: {label}")
            where = folder / folder_name(table) / variant.folder
            seeds = range(first_seed, first_seed + settings.seeds)
            plan[table][label] = known.setdefault(key, [Run(variant, seed, where / f"seed-{seed}") for seed in seeds])
    return plan


def _resolved(config: Path, overrides: Sequence[str], named: str) -> str:
    """Give all that decides a run but its seed, as text."""
    try:
        settings = load_settings(FitSettings, config, overrides)
    except ConfigError as error:
        raise ConfigError(f"variant {named}: {error}") from None
    return json.dumps(settings.model_dump(mode="json", exclude={"compare"}), sort_keys=True)


class _Rulers:
    """What measures runs: one ruler for each corpus, for a variant may learn from another one.

    Args:
        config: settings of the run.
        overrides: of all runs.
        settings: of the comparison.
    """

    def __init__(self, config: Path, overrides: Sequence[str], settings: CompareSettings) -> None:
        self._config, self._overrides, self._settings = config, overrides, settings
        self._known: dict[Path, Ruler] = {}

    def of(self, run: Run) -> Ruler:
        """Give the ruler for a run that has ended."""
        data = load_settings(FitSettings, self._config, [*self._overrides, *run.variant.overrides]).data
        folder = run.folder / "corpus" if data.corpus is None else data.path(data.corpus)
        if folder not in self._known:
            told = self._settings
            judgments = data.path(told.judgments)
            corpus = PreparedCorpus.open(folder)
            self._known[folder] = Ruler(corpus, judgments, data.aspect, told.space, told.missing)
        return self._known[folder]


def _measure(plan: Plan, failed: set[Path], rulers: _Rulers) -> list[Table]:
    outcomes: dict[Path, Outcome] = {}
    tables = []
    for name, variants in plan.items():
        whole = {label: [r for r in runs if r.folder not in failed] for label, runs in variants.items()}
        whole = {label: runs for label, runs in whole.items() if runs}
        for run in (run for runs in whole.values() for run in runs if run.folder not in outcomes):
            outcomes[run.folder] = _outcome(run, rulers.of(run))
            _log.info("%s, seed %d: measured", run.variant.label, run.seed)
        if whole:
            measured = {label: {run.seed: outcomes[run.folder] for run in runs} for label, runs in whole.items()}
            prices = costs({label: (runs[0].folder, rulers.of(runs[0])) for label, runs in whole.items()})
            tables.append(Table(name, measured, prices))
    return tables


def _outcome(run: Run, ruler: Ruler) -> Outcome:
    """Give a run's figures on the unseen grades in place of those of its validation."""
    trained = read_outcome(run)
    values = ruler.measure(run.folder)
    return Outcome(values, frozenset(values), trained.minutes, trained.parameters)
