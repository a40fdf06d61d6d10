"""`python -m tests.accuracy --seconds 600 [--no-kills] [--set NAME=VALUE]`: does the count end exactly at the limit?"""

from __future__ import annotations

import argparse
import asyncio
import sys

from tests.accuracy.trial import Trial, run_trial


def main() -> int:
    """Run one trial; 1 if anything is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m tests.accuracy", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--pace", type=float, default=1500.0, help="requests a second of all callers together")
    parser.add_argument("--no-kills", action="store_true")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the gateway")
    words = parser.parse_args()
    trial = Trial(
        seconds=words.seconds,
        workers=words.workers,
        pace=words.pace,
        kill_every_s=None if words.no_kills else 10.0,
        settings=tuple(tuple(pair.split("=", 1)) for pair in words.set),
    )
    verdict = asyncio.run(run_trial(trial, lambda line: print(line, file=sys.stderr, flush=True)))
    print(verdict)
    for fault in verdict.faults():
        print(f"WRONG: {fault}")
    return 1 if verdict.faults() else 0


if __name__ == "__main__":
    sys.exit(main())
