"""What statements ask of reports, and how long reports are kept.

A busy customer has a report a minute, so what Stripe has is added up in the database: only what it does not have is
handed out one by one. The window keeps how much was reported of it, also when its reports are gone.

Nothing here reads a clock: callers pass `now`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import case, delete, func, select

from gateway.ledger.meter_rows import MeterReportRow, SentUnits
from gateway.ledger.meter_tables import METER_REPORTS
from gateway.ledger.part import LedgerPart, unbroken

if TYPE_CHECKING:
    from collections.abc import Iterable

_REPORTS = METER_REPORTS.c
KEPT_S: Final = 400 * 86_400
"""How long a report that Stripe has is kept: longer than a year, for which one invoice may ask."""
_FORGOTTEN_AT_ONCE: Final = 500
_FORGOTTEN_A_CALL: Final = 50_000


class MeterProof(LedgerPart):
    """Sums of reports, and the end of them."""

    @unbroken
    async def list_unsent_reports(self, customer_id: str, since: int, until: int) -> list[MeterReportRow]:
        """Those that wait or were given up, of windows that began at `since` or later and before `until`.

        In the order of their totals.
        """
        query = select(METER_REPORTS).where(*_within(customer_id, since, until), _REPORTS.status != "sent")
        async with self._database.reading() as connection:
            rows = (await connection.execute(query.order_by(_REPORTS.total))).mappings()
            return [MeterReportRow(**row) for row in rows]

    @unbroken
    async def sum_sent_reports(
        self, customer_id: str, since: int, until: int, instants: Iterable[int]
    ) -> list[SentUnits]:
        """What Stripe was told at one of some instants or later, of windows that began within [since, until).

        Args:
            customer_id: Ours.
            since: Unix seconds.
            until: Not included.
            instants: What was told between two of them is added up, and so is what was told after the last.
        """
        cuts = sorted(set(instants), reverse=True)
        if not cuts:
            return []
        told_from = case(*((_REPORTS.sent_at >= cut, cut) for cut in cuts)).label("told_from")
        query = (
            select(_REPORTS.meter, _REPORTS.window_starts_at, told_from, func.sum(_REPORTS.units).label("units"))
            .where(*_within(customer_id, since, until), _REPORTS.status == "sent", _REPORTS.sent_at >= cuts[-1])
            .group_by(_REPORTS.meter, _REPORTS.window_starts_at, told_from)
        )
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).all()
        return [
            SentUnits(
                meter=row.meter,
                window_starts_at=row.window_starts_at,
                told_from=row.told_from,
                units=int(row.units),
            )
            for row in rows
        ]

    @unbroken
    async def forget_reports(self, older_than: int) -> int:
        """Delete reports that Stripe had before `older_than`, in small steps. What it does not have stays.

        Returns:
            How many were deleted: one call takes a bounded number, the next ones take the rest.
        """
        # Due once more, had nobody said that Stripe has it: within minutes of when it was sent, and there is an index.
        old = select(_REPORTS.identifier).where(_REPORTS.status == "sent", _REPORTS.due_at < older_than)
        forgotten = 0
        while forgotten < _FORGOTTEN_A_CALL:
            some = delete(METER_REPORTS).where(_REPORTS.identifier.in_(old.limit(_FORGOTTEN_AT_ONCE)))
            async with self._database.writing_once() as connection:
                gone = await connection.execute(some)
            forgotten += gone.rowcount
            if gone.rowcount < _FORGOTTEN_AT_ONCE:
                break
        return forgotten


def _within(customer_id: str, since: int, until: int) -> tuple[Any, ...]:
    return (
        _REPORTS.customer_id == customer_id,
        _REPORTS.window_starts_at >= since,
        _REPORTS.window_starts_at < until,
    )
