"""The verb `refresh`: its settings put together, its plan shown, its result told."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from mmsearch.config import load_arguments
from mmsearch.data.prepared import PreparedCorpus
from mmsearch.errors import ConfigError, PartialResultError
from mmsearch.logs import resumable
from mmsearch.models import export_query_tower, load_document_encoder
from mmsearch.protocols import DocumentEncoder
from serving.as_served import SettledSettings, newest_readable, settle
from serving.departures import refusal
from serving.executors import LocalSettings
from serving.plan import make_plan, open_served, precision_of, recipe_of
from serving.plan_report import cost_of, count_done, to_json, to_table
from serving.quarantine import quarantine_of, read_quarantine
from serving.refresh import tell_plan
from serving.run import Refreshed
from serving.settings import RefreshSettings
from serving.upgrade import refresh_in_rounds
from serving.work import ShardStore, work_of

log = logging.getLogger(__name__)


def run(
    model: Path | None,
    corpus: Path | None,
    index: Path | None,
    arguments: Sequence[str],
    *,
    dry_run: bool = False,
    as_json: bool = False,
) -> None:
    """Refresh, or tell what a refresh would do; results go to stdout.

    Raises:
        ConfigError: a folder is given neither as an option nor in the settings.
        PartialResultError: videos went to quarantine; everything else is served.
    """
    given = load_arguments(RefreshSettings, list(arguments))
    model = _chosen("model", model, given.model)
    corpus = _chosen("corpus", corpus, given.corpus)
    index = _chosen("index", index, given.index)
    served = open_served(index) or newest_readable(index)
    settings = settle(given, served)
    opened = PreparedCorpus.open(corpus)
    here = isinstance(settings.executor, LocalSettings) and settings.executor.num_workers == 0
    singles, codes = settings.single_modalities, settings.served == "codes"
    load = partial(load_document_encoder, model, settings.device, single_modalities=singles, codes=codes)
    encoder = load() if here else load_document_encoder(model, "cpu", single_modalities=singles, codes=codes)
    encoder.settings.check_prepared(opened.settings, corpus)
    if dry_run:
        _show_plan(opened, encoder, index, settings, as_json=as_json)
        return
    resumable()
    precision = settings.query_tower_precision or precision_of(served)
    export = partial(export_query_tower, model, single_modalities=singles, codes=codes, precision=precision)
    done = refresh_in_rounds(opened, encoder, export, index, settings, load=None if here else load)
    cost = cost_of(done.plan, encoder.spaces, settings.dtype)
    in_quarantine = len(read_quarantine(index))
    if as_json:
        _tell(to_json(done.plan, cost) | _result(done) | {"in_quarantine": in_quarantine})
    else:
        typer.echo(done.generation)
    if done.quarantined:
        raise PartialResultError(_in_quarantine(done, index, in_quarantine))
    if in_quarantine:
        log.info("%d videos stay in quarantine since an earlier refresh: %s", in_quarantine, quarantine_of(index))


def _show_plan(
    corpus: PreparedCorpus, encoder: DocumentEncoder, index: Path, settings: SettledSettings, *, as_json: bool
) -> None:
    plan = make_plan(corpus, encoder, index, settings)
    store = ShardStore(work_of(index, recipe_of(encoder, settings)), encoder.spaces, settings.dtype)
    cost = cost_of(plan, encoder.spaces, settings.dtype, count_done(plan, store))
    refused = refusal(plan, corpus, settings)
    tell_plan(plan, corpus)
    if refused is not None:
        log.warning("a refresh will be refused: %s", refused)
    _tell(to_json(plan, cost) | {"refused": refused}) if as_json else Console().print(to_table(plan, cost))


def _chosen(name: str, option: Path | None, setting: Path | None) -> Path:
    chosen = option or setting
    if chosen is None:
        raise ConfigError(f"no {name} is given: add --{name} FOLDER, or '{name}: FOLDER' to the settings file")
    return chosen


def _tell(result: dict[str, Any]) -> None:
    typer.echo(json.dumps(result, ensure_ascii=False))


def _result(done: Refreshed) -> dict[str, Any]:
    reasons = [video.reason.value for video in done.quarantined]
    return {
        "generation": done.generation,
        "published": done.published,
        "embedded": done.num_embedded,
        "quarantined": {reason: reasons.count(reason) for reason in sorted(set(reasons))},
    }


def _in_quarantine(done: Refreshed, index: Path, in_all: int) -> str:
    reasons = _result(done)["quarantined"]
    told = ", ".join(f"{reason} {number}" for reason, number in reasons.items())
    return (
        f"{len(done.quarantined)} videos could not be embedded ({told}) and are not served; with those of earlier "
        f"refreshes {in_all} are listed in {quarantine_of(index)}; {done.generation} holds everything else"
    )
