"""Overage of items that go: what they are still to bill.

Nothing here reads a clock: callers pass `now`.
"""

from __future__ import annotations

from sqlalchemy import select

from gateway.ledger.meter_tables import METER_REPORTS, METERED_WINDOWS
from gateway.ledger.part import LedgerPart, unbroken

_WINDOWS, _REPORTS = METERED_WINDOWS.c, METER_REPORTS.c


class GoingItems(LedgerPart):
    """What an item must stay for."""

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
