"""Try every mutant: `python -m tests.mutants`. Ends with 1 if one survives or cannot be tried."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from tests.mutants.catalogue import MUTANTS
from tests.mutants.mutant import ROOT, Mutant, MutantInvalid, Verdict, copied, first_failure, is_slow, try_mutant


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutants whose fault or file holds one of these")
    parser.add_argument("--jobs", type=int, default=max(1, (os.cpu_count() or 2) // 2), help="how many at once")
    parser.add_argument("--list", action="store_true", help="only tell them")
    options = parser.parse_args()
    chosen = [each for each in MUTANTS if _is_meant(each, options.words)]
    if options.list:
        for mutant in chosen:
            say(f"{mutant.file}: {mutant.fault}")
        return 0
    if not chosen:
        say("No mutant is called that.")
        return 1
    if not _passes_unchanged(chosen):
        return 1
    return _try_all(chosen, options.jobs)


def _is_meant(mutant: Mutant, words: Sequence[str]) -> bool:
    return not words or any(word in mutant.fault or word in mutant.file for word in words)


def _passes_unchanged(mutants: list[Mutant]) -> bool:
    """Without a fault every test passes: else what fails later would prove nothing."""
    tests = tuple(dict.fromkeys(test for mutant in mutants for test in mutant.tests))
    begun = time.monotonic()
    try:
        with copied(ROOT) as tree:
            slow = tuple(test for test in tests if is_slow(tree, test))
            quick = tuple(test for test in tests if test not in slow)
            failed = (quick and first_failure(tree, quick)) or (slow and first_failure(tree, slow)) or None
    except MutantInvalid as invalid:
        failed = str(invalid)
    say(f"{time.monotonic() - begun:6.1f} s  {failed or 'all tests pass'}  without a fault")
    return failed is None


def _try_all(mutants: list[Mutant], jobs: int) -> int:
    wrong = []
    begun = time.monotonic()
    with ThreadPoolExecutor(jobs) as pool:
        running = {pool.submit(try_mutant, mutant): mutant for mutant in mutants}
        for number, done in enumerate(as_completed(running), 1):
            mutant = running[done]
            try:
                verdict = done.result()
            except MutantInvalid as invalid:
                wrong.append(mutant)
                say(f"[{number}/{len(mutants)}] ERROR     {mutant.fault} ({mutant.file}): {invalid}")
                continue
            if verdict.killed_by is None:
                wrong.append(mutant)
            say(f"[{number}/{len(mutants)}] {_row(mutant, verdict)}")
    say(f"\n{len(mutants) - len(wrong)} of {len(mutants)} mutants killed in {time.monotonic() - begun:.0f} s.")
    for mutant in wrong:
        say(f"  not killed: {mutant.fault} ({mutant.file})")
    return 1 if wrong else 0


def _row(mutant: Mutant, verdict: Verdict) -> str:
    end = "SURVIVED" if verdict.killed_by is None else "killed"
    by = f"\n        by {verdict.killed_by}" if verdict.killed_by is not None else ""
    return f"{end:<8} {verdict.seconds:5.1f} s  {mutant.fault} ({mutant.file.rpartition('/')[2]}){by}"


if __name__ == "__main__":
    sys.exit(main())
