"""What serving costs, and where every number comes from."""

from __future__ import annotations

from collections.abc import Sequence

from mmsearch.report.facts import Graded
from mmsearch.report.lineage import Check, Lineage
from mmsearch.report.markup import Child, Html, foreign, tag
from mmsearch.report.sections.parts import Section, folded, number, percent, prose, table


def cost(graded: Graded) -> Section:
    """Give latency and storage."""
    time, disk = graded.latency, graded.storage
    told = (
        f"One call scores a query and its {time.candidates:,.0f} candidates (median) with all features: "
        f"{number(time.p50_ms)} ms for half of {time.num_calls:,} queries, {number(time.p99_ms)} ms for 99 % of them. "
        "Measured while this report was made, one thread, no query seen before; the machine may have had other work."
    )
    rows: list[Sequence[Child]] = []
    for space in disk.spaces:
        taken = number(space.bytes_per_video, 1)
        components = f"{space.dim:,}" if space.num_codes == 1 else f"{space.num_codes:,} × {space.dim:,}"
        rows.append([space.name, components, space.dtype, taken, percent(space.present, 1)])
    rows.append(["ids", "", "", number(disk.ids_per_video, 1), ""])
    rows.append(["all", "", "", number(disk.bytes_per_video, 1), ""])
    caption = (
        f"Bytes a video in the index of {disk.num_videos:,} videos. The query tower takes {_bytes(disk.query_tower)}, "
        f"the whole generation {_bytes(disk.total)}."
    )
    head = ["space", "components", "stored as", "bytes a video", "videos that have it"]
    return Section("cost", "Latency and storage", (prose(told), table(head, rows, caption)))


def origin(found: Lineage) -> Section:
    """Give the lineage: names and hashes, whether they belong together, versions, and all settings."""
    facts: list[Sequence[Child]] = [[name, tag("code", foreign(value, 200))] for name, value in found.facts.items()]
    versions = ", ".join(f"{name} {value}" for name, value in found.versions.items())
    body = [
        tag("ul", [tag("li", _check(check)) for check in found.checks], class_="checks") if found.checks else None,
        table(["what", "value"], facts, "Names and hashes"),
        prose(f"Made with {versions}."),
    ]
    if found.fingerprints:
        rows = [[foreign(name, 64), tag("code", foreign(value, 64))] for name, value in found.fingerprints.items()]
        body.append(folded("Fingerprints of the spaces", table(["space", "fingerprint"], rows, "Fingerprints")))
    body.append(folded("All settings of the run (config.yaml)", tag("pre", found.config)))
    return Section("lineage", "Where the numbers come from", tuple(part for part in body if part is not None))


def _check(check: Check) -> Html:
    mark, name = {True: ("✓", "yes"), False: ("✗", "no"), None: ("?", "unknown")}[check.holds]
    return tag("span", tag("b", f"{mark} {name}"), f": {check.what}", class_=f"check-{name}")


def _bytes(count: int) -> str:
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} bytes"
