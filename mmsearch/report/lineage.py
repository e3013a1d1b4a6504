"""Where every number comes from: run, corpus, index, judgments, versions; and whether they belong together."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import mmsearch
from mmsearch.files import hash_file
from mmsearch.index.manifest import Manifest
from mmsearch.report.run_folder import RunFolder

_LIBRARIES = ("numpy", "onnxruntime", "pyarrow", "pillow", "tokenizers")


@dataclass(frozen=True, slots=True)
class Check:
    """Whether two things belong together; `holds` is None where it cannot be told."""

    what: str
    holds: bool | None


@dataclass(frozen=True, slots=True)
class Lineage:
    """Names, hashes and versions by what they are of, the checks, and the settings of the run as they were written."""

    facts: Mapping[str, str]
    fingerprints: Mapping[str, str]
    checks: tuple[Check, ...]
    versions: Mapping[str, str]
    config: str


def lineage(
    run: RunFolder,
    manifest: Manifest | None,
    generation: str | None,
    judgments: Path | None,
    corpus_hash: str | None,
    against: str = "",
) -> Lineage:
    """Collect the lineage of a report; what is not given is left out. `against` tells of the other index."""
    facts = {"run": str(run.path), "run hash": _text(run.fingerprints.get("run_hash"))}
    facts |= {"corpus content hash": corpus_hash or ""}
    if manifest is not None:
        facts |= {"index generation": generation or "", "published": manifest.created_at}
        facts |= {"generation before": manifest.parent or "none"}
        facts |= {"index made of corpus": _text(manifest.source.get("corpus_hash"))}
    facts["compared with index"] = against
    if judgments is not None:
        facts |= {"judgments": str(judgments), "judgments hash": hash_file(judgments)}
    facts["report made"] = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    spaces = run.fingerprints.get("spaces")
    prints = {str(k): str(v) for k, v in spaces.items()} if isinstance(spaces, Mapping) else {}
    checks = [] if manifest is None else _checks(prints, manifest, corpus_hash)
    if run.diagnostics is not None:
        same = run.diagnostics.run_hash == run.fingerprints.get("run_hash")
        checks.append(Check("the diagnostics are of this run (run hash)", same))
    return Lineage({k: v for k, v in facts.items() if v}, prints, tuple(checks), _versions(), run.config)


def _checks(prints: Mapping[str, str], manifest: Manifest, corpus_hash: str | None) -> list[Check]:
    indexed = {space.name: space.fingerprint for space in manifest.spaces}
    shared = prints.keys() & indexed.keys()
    same = bool(shared) and all(prints[name] == indexed[name] for name in shared) if prints else None
    source = manifest.source.get("corpus_hash")
    fresh = None if corpus_hash is None or source is None else source == corpus_hash
    return [
        Check("the index holds vectors of this run's model (fingerprints of all spaces)", same),
        Check("the index was made of this corpus (content hash)", fresh),
    ]


def _versions() -> dict[str, str]:
    found = {"mmsearch": mmsearch.__version__, "Python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found | {"system": f"{platform.system()} {platform.machine()}"}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
