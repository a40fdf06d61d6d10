"""What `tiergate doctor` finds: one line a finding, and with everything that is not well, the fix."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Grade(Enum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    """It works, and it will bite."""
    FAIL = "fail"
    """It does not work. Makes the exit code 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    """`settings`, `data`, `cache`, `ledger`, `policy`, `upstream`, `stripe`, `prices`, `overage`,
    `webhook`, `portal`, `events` or `clock`."""
    grade: Grade
    what: str
    fix: str | None = None
    """What to do. Always there unless the grade is OK."""


def ok(subject: str, what: str) -> Finding:
    """All is well."""
    return Finding(subject=subject, grade=Grade.OK, what=what)


def warn(subject: str, what: str, fix: str) -> Finding:
    """It works, and it will bite."""
    return Finding(subject=subject, grade=Grade.WARN, what=what, fix=fix)


def fail(subject: str, what: str, fix: str) -> Finding:
    """It does not work."""
    return Finding(subject=subject, grade=Grade.FAIL, what=what, fix=fix)
