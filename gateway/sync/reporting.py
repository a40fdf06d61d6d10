"""How far a read of all customers is, and how fast it may go."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import takewhile
from time import monotonic
from typing import cast

from gateway.core.findings import NEEDS_ATTENTION, Finding, FindingCode
from gateway.ledger import ReconciliationNote, ReconciliationRow

MAX_PER_SECOND = 10.0
"""Requests a second while all customers are read: a tenth of what Stripe allows, so that checkouts keep their share."""
PAGE = 100
"""Customers read of the ledger at once; after each such page it is written down how far it is."""


@dataclass(slots=True, kw_only=True)
class SyncReport:
    """How far `sync_all` is. The same value grows until the end."""

    checked: int = 0
    changed: int = 0
    unbound: int = 0
    failed: int = 0
    missing: list[str] = field(default_factory=list)
    """Customers that Stripe does not have."""
    ended: int = 0
    """How many of these lost what they had."""
    held: list[str] = field(default_factory=list)
    """Those of these that keep what they have, because too many would be ended (`sync.ending`)."""
    planned: list[str] = field(default_factory=list)
    """Customers whose change was planned again: it was lost, or would have brought back what was replaced."""
    findings: list[tuple[str, Finding]] = field(default_factory=list)
    cursor: str = ""
    """Last customer that is done; pass it as `after` to go on from here."""
    is_complete: bool = False
    """Whether everybody was read; of a part, everybody behind where it was to begin."""
    stopped_because: str | None = None
    """Why it ended early, or did not do all that it found to do; None: neither, or it is still running."""

    @property
    def needing_attention(self) -> int:
        """Customers about whom somebody must act."""
        return len({customer_id for customer_id, finding in self.findings if finding.code in NEEDS_ATTENTION})


def notes_of(report: SyncReport, *, behind: str) -> list[ReconciliationNote]:
    """What there is to say of the customers behind this one, each once."""
    missing, held, planned = (set(_behind(one, behind)) for one in (report.missing, report.held, report.planned))
    findings = defaultdict[str, list[tuple[str, str]]](list)
    last = takewhile(lambda one: one[0] > behind, reversed(report.findings))
    for customer_id, finding in reversed([*last]):
        findings[customer_id].append((finding.code, finding.detail))
    return [
        ReconciliationNote(
            customer_id=customer_id,
            is_missing=customer_id in missing,
            is_held=customer_id in held,
            is_planned=customer_id in planned,
            findings=tuple(findings.get(customer_id, ())),
        )
        for customer_id in sorted(missing | held | planned | findings.keys())
    ]


def _behind(customer_ids: list[str], behind: str) -> Iterator[str]:
    """All lists of a report are in the order of ids."""
    return takewhile(lambda one: one > behind, reversed(customer_ids))


def so_far(row: ReconciliationRow, notes: Iterable[ReconciliationNote]) -> SyncReport:
    """What others have done and found of a run that is gone on with."""
    notes = list(notes)
    return SyncReport(
        checked=row.checked,
        changed=row.drifted,
        unbound=row.unbound,
        failed=row.failed,
        missing=[one.customer_id for one in notes if one.is_missing],
        ended=row.ended,
        held=[one.customer_id for one in notes if one.is_held],
        planned=[one.customer_id for one in notes if one.is_planned],
        findings=[
            (one.customer_id, Finding(code=cast("FindingCode", code), detail=detail))
            for one in notes
            for code, detail in one.findings
        ],
        cursor=row.cursor or "",
    )


def joined(before: SyncReport, part: SyncReport, *, changed: int) -> SyncReport:
    """The report of a whole run, whose last part this was. `changed`: of all of it."""
    return replace(
        part,
        checked=before.checked + part.checked,
        changed=changed,
        unbound=before.unbound + part.unbound,
        failed=before.failed + part.failed,
        missing=before.missing + part.missing,
        ended=before.ended + part.ended,
        held=before.held + part.held,
        planned=before.planned + part.planned,
        findings=before.findings + part.findings,
    )


class Pace:
    """At most so many requests a second, evenly spaced; time that was lost is not made up for."""

    def __init__(self, per_second: float) -> None:
        self._gap_s = 1 / per_second
        self._next_at = 0.0

    def took(self, requests: int) -> None:
        """The last step took so many requests; one was reckoned with."""
        self._next_at += max(0, requests - 1) * self._gap_s

    async def wait(self) -> None:
        """Until the next step may be made."""
        now = monotonic()
        wait_s = max(0.0, self._next_at - now)
        self._next_at = now + wait_s + self._gap_s
        if wait_s:
            await asyncio.sleep(wait_s)
