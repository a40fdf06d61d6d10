"""What a run of the benchmarks may be told, through `BENCH_*` variables. README.md lists them."""

from __future__ import annotations

import os
from dataclasses import dataclass

FEWEST_ROUNDS = 5
"""Below this a table says that it is a trial."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How long to measure, and what."""

    rounds: int = 5
    seconds: int = 2
    """Of load at full speed, per candidate, round and scenario. Whole seconds: wrk knows no others."""
    only: tuple[str, ...] = ()
    """Candidates whose name contains one of these; empty: all."""
    parts: tuple[str, ...] = ()
    """Parts whose name contains one of these; empty: all."""
    memory_requests: int = 200_000

    @property
    def is_whole(self) -> bool:
        """Whether every candidate and every part is measured, in enough rounds: only then are results written."""
        return not self.only and not self.parts and self.rounds >= FEWEST_ROUNDS

    def wants_candidate(self, name: str) -> bool:
        """Whether a candidate was asked for. The API itself always is: others are compared with it."""
        return name == "direct" or not self.only or any(word in name.lower() for word in self.only)

    def wants_part(self, name: str) -> bool:
        """Whether a scenario or a special measure was asked for."""
        return not self.parts or any(word in name.lower() for word in self.parts)


def read_options() -> Options:
    """The options in the environment.

    Raises:
        SystemExit: One of them is not a number above 0.
    """
    usual = Options()
    return Options(
        rounds=_number("BENCH_ROUNDS", usual.rounds),
        seconds=_number("BENCH_SECONDS", usual.seconds),
        only=_words("BENCH_ONLY"),
        parts=_words("BENCH_PARTS"),
        memory_requests=_number("BENCH_MEMORY_REQUESTS", usual.memory_requests),
    )


def _number(name: str, usual: int) -> int:
    text = os.environ.get(name) or str(usual)
    if not text.isdecimal() or int(text) < 1:
        raise SystemExit(f"{name}={text!r} is not a whole number above 0")
    return int(text)


def _words(name: str) -> tuple[str, ...]:
    return tuple(word.strip().lower() for word in os.environ.get(name, "").split(",") if word.strip())
