"""Overage of items that go: what they are still to bill, and what they billed no more.

Nothing here reads a clock: callers pass `now`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select, update

from gateway.ledger.meter_tables import METER_REPORTS, METERED_WINDOWS
from gateway.ledger.part import LedgerPart, unbroken

if TYPE_CHECKING:
    from gateway.ledger.meter_rows import MeterReportRow

_WINDOWS, _REPORTS = METERED_WINDOWS.c, METER_REPORTS.c


class GoingItems(LedgerPart):
    """What an item must stay for, and what came after it had gone."""

    @unbroken
    async def list_waiting_meters(self, customer_id: str, told_since: int) -> frozenset[str | None]:
        """The Billing Meters of a customer's units of which Stripe was not told, or since then only.

        Returns:
            None among them: of units at which nobody has looked yet.
        """
        counted = select(_WINDOWS.stripe_meter).where(
            _WINDOWS.customer_id == customer_id, _WINDOWS.total > _WINDOWS.reported
        )
        is_fresh = (_REPORTS.status == "pending") | (_REPORTS.sent_at > told_since)
        told = select(_REPORTS.stripe_meter).where(_REPORTS.customer_id == customer_id, is_fresh)
        async with self._database.reading() as connection:
            return frozenset((await connection.execute(counted.union(told))).scalars())

    @unbroken
    async def add_unbilled(self, report: MeterReportRow, *, now: int) -> None:
        """Note that no item bills the units of a report. Nobody has seen to them."""
        add = (
            update(METERED_WINDOWS)
            .where(
                _WINDOWS.customer_id == report.customer_id,
                _WINDOWS.meter == report.meter,
                _WINDOWS.window_starts_at == report.window_starts_at,
            )
            .values(unbilled=func.coalesce(_WINDOWS.unbilled, 0) + report.units, closed_at=now, acknowledged_at=None)
        )
        async with self._database.writing_once() as connection:
            await connection.execute(add)
