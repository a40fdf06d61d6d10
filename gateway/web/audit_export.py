"""The audit log for other programs: JSON lines or CSV, oldest first, a page at a time.

An export ends at the row that was newest when it began. What is added meanwhile belongs to the next one,
which goes on behind the last row: no row is left out, and none comes twice.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

from gateway.web.csv_text import csv_text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.ledger import AuditFilter, AuditRow, Ledger

Form: TypeAlias = Literal["jsonl", "csv"]
MEDIA_TYPES: dict[Form, str] = {"jsonl": "application/jsonl", "csv": "text/csv"}
COLUMNS = (
    "audit_id",
    "at",
    "customer_id",
    "actor",
    "action",
    "because",
    "event_id",
    "tier_before",
    "standing_before",
    "tier_after",
    "standing_after",
    "before",
    "after",
)
"""Of the CSV. Instants are ISO 8601 in UTC, objects are JSON."""

_PAGE = 500


async def export_audit(
    ledger: Ledger, which: AuditFilter, form: Form, *, after: int, upto: int, has_header: bool = True
) -> AsyncIterator[str]:
    """The rows that are asked for, as text, in pieces of a page.

    Args:
        ledger: Where they are.
        which: Which of them.
        form: JSON lines, or CSV.
        after: Only rows behind this `audit_id`: the last of an earlier export.
        upto: The last row: what `Ledger.last_audit_id` said as the export began.
        has_header: Whether a CSV begins with the names of its columns.

    Raises:
        LedgerUnavailable: Nothing more comes; what came is whole rows.
    """
    if form == "csv" and has_header:
        yield csv_text(COLUMNS, ())
    while rows := await ledger.page_audit(which, after=after, upto=upto, limit=_PAGE):
        yield "".join(map(_json_line, rows)) if form == "jsonl" else csv_text(None, map(_cells, rows))
        after = rows[-1].audit_id


def _json_line(row: AuditRow) -> str:
    return json.dumps(asdict(row), ensure_ascii=False, separators=(",", ":")) + "\n"


def _cells(row: AuditRow) -> tuple[str | int | None, ...]:
    before, after = row.access_before or {}, row.access_after or {}
    return (
        row.audit_id,
        datetime.fromtimestamp(row.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        row.customer_id,
        row.actor,
        row.action,
        row.because,
        row.event_id,
        before.get("tier"),
        before.get("standing"),
        after.get("tier"),
        after.get("standing"),
        None if row.before is None else json.dumps(row.before, ensure_ascii=False),
        None if row.after is None else json.dumps(row.after, ensure_ascii=False),
    )
