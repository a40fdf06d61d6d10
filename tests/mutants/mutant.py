"""A mutant: one deliberate fault, and what the tests say of it.

Laws. The text to replace stands in its file exactly once, or the mutant is an error: it would be
another fault than the one described, or none. A mutant is killed by a test that fails; one that
keeps tests from being collected or set up has not been tried, which is an error too.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PATIENCE_S = 300
"""For the tests of one mutant."""
TEST_PATIENCE_S = 60
"""For one test."""

_LEFT_OUT = shutil.ignore_patterns(".venv*", ".git", ".tiergate", ".*_cache", ".hypothesis", "__pycache__", "dist")
_SLOW = re.compile(r"^pytestmark = .*\bpytest\.mark\.slow\b", re.MULTILINE)
_VERDICT = re.compile(r"^(FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)


class MutantInvalid(Exception):
    """It says nothing about the tests."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault."""

    fault: str
    """What is wrong with the program then, in words."""
    file: str
    """From the root of the tree."""
    text: str
    replacement: str
    tests: tuple[str, ...]
    """Files, or single tests, the first to fail first. One of them has to."""

    def apply(self, tree: Path) -> None:
        """Put the fault into a tree.

        Raises:
            MutantInvalid: The text is not there, or more than once.
        """
        path = tree / self.file
        before = path.read_text(encoding="utf-8")
        found = before.count(self.text)
        if found != 1:
            raise MutantInvalid(f"its text stands {found} times in {self.file}, not once: {self.text!r}")
        path.write_text(before.replace(self.text, self.replacement), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant."""

    killed_by: str | None
    """The test; None: it survived."""
    seconds: float


@contextmanager
def copied(root: Path) -> Iterator[Path]:
    """A copy of a tree, for as long as it is used."""
    with tempfile.TemporaryDirectory(prefix="tg") as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(root, tree, ignore=_LEFT_OUT)
        yield tree


def try_mutant(mutant: Mutant, root: Path = ROOT) -> Verdict:
    """Run a mutant's tests on a copy of the tree that has its fault.

    Raises:
        MutantInvalid: It cannot be applied, or its tests cannot be run.
    """
    begun = time.monotonic()
    with copied(root) as tree:
        mutant.apply(tree)
        killed_by = first_failure(tree, mutant.tests)
    return Verdict(killed_by, time.monotonic() - begun)


def is_slow(tree: Path, test: str) -> bool:
    """Whether all tests of a test's file are slow ones: then a mutant that names it is tried with them."""
    return _SLOW.search((tree / test.partition("::")[0]).read_text(encoding="utf-8")) is not None


def first_failure(tree: Path, tests: tuple[str, ...]) -> str | None:
    """The first test of a tree that fails; None: all pass.

    Raises:
        MutantInvalid: They cannot be run.
    """
    program = (sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "--tb=no", "-rfE")
    quick = ("-p", "tests.mutants.quick", "-p", "no:cacheprovider")
    if not any(is_slow(tree, test) for test in tests):
        quick += ("-m", "not slow")
    patience = ("-o", f"timeout={TEST_PATIENCE_S}")
    # Bytecode would be taken for that of the text before: it goes by size and second.
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        ended = subprocess.run(
            [*program, *quick, *patience, *tests],
            cwd=tree,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MutantInvalid(f"its tests took more than {PATIENCE_S} s") from None
    found = _VERDICT.search(ended.stdout)
    if ended.returncode == 0:
        return None
    if found is None or found[1] != "FAILED":
        raise MutantInvalid(f"its tests cannot be run: {(ended.stdout + ended.stderr)[-600:]}")
    return found[2]
