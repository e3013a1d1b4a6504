"""What one kind of answer of a server costs. Used by service.py."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from parts.http_load import Load

Figures = dict[str, float]


@dataclass
class Answers:
    """What one kind of answer costs: requests a second, milliseconds of processors, shares of the library's rate."""

    requests: list[bytes]
    per_second: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)
    shares: list[float] = field(default_factory=list)
    failed: int = 0

    def add(self, per_second: float, cpu_ms: float, library_per_s: float, failed: int) -> None:
        """Add a round."""
        self.per_second.append(per_second)
        self.cpu_ms.append(cpu_ms)
        self.shares.append(per_second / library_per_s)
        self.failed += failed

    def figures(self, half: Load) -> Figures:
        """Give the medians, and the times at half load."""
        found: Figures = {"share": round(statistics.median(self.shares), 3)}
        found |= {"per_s": round(statistics.median(self.per_second), 1)}
        found |= {"cpu_ms": round(statistics.median(self.cpu_ms), 2)}
        found |= {f"half_load_p{q}_ms": round(half.quantile_ms(q / 100), 2) for q in (50, 99)}
        return found | {"failed": self.failed + half.failed}
