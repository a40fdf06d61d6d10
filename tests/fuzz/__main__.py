"""Fuzz for a while: `python -m tests.fuzz --seconds 1800`. Ends with 1 if anything was found.

Every finding is printed with its seed and number, which make the case again, and with the
smallest case that fails in the same way:

    python -m tests.fuzz --level requests --seed 7 --at 1234
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import secrets
import sys
import time
from collections import Counter
from typing import Any

from tests.fuzz.levels import NAMES, SHARES, Level, case_of, judge, opened
from tests.fuzz.shrinking import kind_of, shrink

_SLICE_S = 2.0
_TELL_EVERY_S = 60.0
_MOST_FINDINGS = 10
"""Kinds of them; then it ends."""


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Run:
    """One run."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self.cases: Counter[str] = Counter()
        self.findings: Counter[str] = Counter()

    async def fuzz(self, levels: list[Level], seconds: float) -> None:
        """Take turns until the time is over."""
        shares = sum(SHARES[level.name] for level in levels)
        begun = told_at = time.monotonic()
        while (now := time.monotonic()) - begun < seconds and len(self.findings) < _MOST_FINDINGS:
            for level in levels:
                slice_s = min(seconds, _SLICE_S * len(levels)) * SHARES[level.name] / shares
                await self._slice(level, time.monotonic() + slice_s)
            if now - told_at > _TELL_EVERY_S:
                told_at = now
                say(f"{now - begun:.0f} s: {self._figures()}")
        for level in levels:
            if level.finish is not None and (wrong := await level.finish()):
                self.findings[kind_of(wrong)] += 1
                say(f"FOUND {level.name}: {wrong}")
        say(f"{time.monotonic() - begun:.0f} s, seed {self._seed}: {self._figures()}")

    async def _slice(self, level: Level, until: float) -> None:
        while time.monotonic() < until and len(self.findings) < _MOST_FINDINGS:
            number = self.cases[level.name]
            self.cases[level.name] += 1
            case = case_of(level, self._seed, number)
            wrong = await judge(level, case)
            if wrong is not None:
                await self.tell(level, case, wrong, number)

    async def tell(self, level: Level, case: Any, wrong: str, number: int) -> None:
        """Print a finding, the first of its kind with the smallest case."""
        kind = f"{level.name}: {kind_of(wrong)}"
        self.findings[kind] += 1
        say(f"FOUND {level.name}, --seed {self._seed} --at {number}: {wrong}")
        if self.findings[kind] == 1:
            smallest, wrong = await shrink(case, wrong, lambda smaller: judge(level, smaller))
            say(f"  smallest: {smallest}\n  {wrong}")

    def _figures(self) -> str:
        cases = ", ".join(f"{self.cases[name]:,} {name}" for name in NAMES if self.cases[name])
        return f"{cases}; {sum(self.findings.values())} findings"


async def _main(arguments: argparse.Namespace) -> int:
    names = (arguments.level,) if arguments.level else NAMES
    run = Run(arguments.seed)
    async with opened(names) as levels:
        if arguments.at is None:
            await run.fuzz(levels, arguments.seconds)
        else:
            (level,) = levels
            case = case_of(level, arguments.seed, arguments.at)
            say(str(case))
            wrong = await judge(level, case)
            if wrong is not None:
                await run.tell(level, case, wrong, arguments.at)
    return 1 if run.findings else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description="Bend messages, and look what comes of them."
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--level", choices=NAMES, help="only this one")
    parser.add_argument("--seed", default=secrets.token_hex(4), help="makes the same cases again (by chance)")
    parser.add_argument("--at", type=int, help="only the case of this number; needs --level and --seed")
    return parser.parse_args()


if __name__ == "__main__":
    logging.getLogger("asyncio").setLevel(logging.ERROR)  # callers that write on after a refusal
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        sys.exit(runner.run(_main(_parse())))
