"""Overage of subscriptions that ended in the middle of a period, and how much of it no invoice asks for.

A window is closed once, by whoever found out first. Nothing here reads a clock: callers pass `now`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select, tuple_, update

from gateway.core.access import ENDED
from gateway.ledger.meter_rows import EndedWindowRow
from gateway.ledger.meter_tables import METERED_WINDOWS
from gateway.ledger.part import LedgerPart, unbroken
from gateway.ledger.tables import SUBSCRIPTIONS

_WINDOWS, _OF = METERED_WINDOWS.c, SUBSCRIPTIONS.c
_KEY: Final = (_WINDOWS.customer_id, _WINDOWS.meter, _WINDOWS.window_starts_at)

if TYPE_CHECKING:
    from sqlalchemy import Select


class UnbilledOverage(LedgerPart):
    """Windows whose subscription ended at once."""

    @unbroken
    async def list_ended_windows(
        self, ended_before: int, *, after: tuple[str, str, int] = ("", "", 0), limit: int = 100
    ) -> list[EndedWindowRow]:
        """Those with overage that are not closed, of subscriptions that ended before their period did.

        Args:
            ended_before: Unix seconds: only of subscriptions that ended earlier.
            after: Customer, meter and start of the last one that was seen.
            limit: At most so many, in the order of these.
        """
        query = (
            select(
                *_KEY,
                _WINDOWS.stripe_meter,
                _WINDOWS.total,
                _OF.status_since.label("ended_at"),
                _OF.status.label("ended_as"),
            )
            .join(SUBSCRIPTIONS, _OF.customer_id == _WINDOWS.customer_id)
            .where(
                _OF.status.in_(sorted(ENDED)),
                _OF.status_since < _OF.period_ends_at,
                _OF.status_since < ended_before,
                _WINDOWS.window_starts_at >= _OF.period_starts_at,
                _WINDOWS.window_starts_at <= _OF.status_since,
                _WINDOWS.stripe_meter.is_not(None),
                _WINDOWS.total > 0,
                _WINDOWS.closed_at.is_(None),
                tuple_(*_KEY) > after,
            )
            .order_by(*_KEY)
            .limit(limit)
        )
        return await self._ended(query)

    @unbroken
    async def close_window(self, row: EndedWindowRow, *, unbilled: int, now: int) -> bool:
        """Note how much of a window no invoice asks for. False: somebody else did."""
        close = update(METERED_WINDOWS).where(
            _WINDOWS.customer_id == row.customer_id,
            _WINDOWS.meter == row.meter,
            _WINDOWS.window_starts_at == row.window_starts_at,
            _WINDOWS.closed_at.is_(None),
        )
        async with self._database.writing_once() as connection:
            closed = await connection.execute(close.values(closed_at=now, unbilled=unbilled))
        return closed.rowcount > 0

    @unbroken
    async def list_unbilled(self, customer_id: str | None = None, *, limit: int = 1000) -> list[EndedWindowRow]:
        """Windows of which some units are on no invoice, closed last first.

        Args:
            customer_id: Only of this customer.
            limit: At most so many.
        """
        query = (
            select(*_KEY, _WINDOWS.stripe_meter, _WINDOWS.total, _WINDOWS.closed_at, _WINDOWS.unbilled)
            .where(_WINDOWS.unbilled > 0)
            .order_by(_WINDOWS.closed_at.desc(), *_KEY)
            .limit(limit)
        )
        return await self._ended(query if customer_id is None else query.where(_WINDOWS.customer_id == customer_id))

    async def _ended(self, query: Select[Any]) -> list[EndedWindowRow]:
        async with self._database.reading() as connection:
            return [EndedWindowRow(**row) for row in (await connection.execute(query)).mappings()]
