"""Everything that one run has found."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.rounds import Samples
from benchmarks.special import FixedRate, Linearity, MemoryCourse
from benchmarks.standing import Standing


@dataclass(slots=True)
class Findings:
    """What was measured; what was not is missing, and `faults` says why."""

    scenarios: dict[str, Samples] = field(default_factory=dict)
    standing: Standing | None = None
    linearity: Linearity | None = None
    fixed_rate: FixedRate | None = None
    memory: MemoryCourse | None = None
    faults: dict[str, str] = field(default_factory=dict)
    """By part."""
