"""Overage of subscriptions that ended in the middle of a period, and how much of it no invoice asks for.

A window is closed once, by whoever found out first, and what is not billed of it is acknowledged once, by the seller.
Nothing here reads a clock: callers pass `now`.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import case, delete, func, select, tuple_, update

from gateway.ledger.meter_rows import EndedWindowRow, UnbilledFilter
from gateway.ledger.meter_tables import ENDED_PERIODS, METERED_WINDOWS
from gateway.ledger.part import LedgerPart, append_audit, unbroken

_WINDOWS, _OF = METERED_WINDOWS.c, ENDED_PERIODS.c
_KEY: Final = (_WINDOWS.customer_id, _WINDOWS.meter, _WINDOWS.window_starts_at)
_UNBILLED: Final = (
    *_KEY,
    _WINDOWS.stripe_meter,
    _WINDOWS.total,
    _WINDOWS.closed_at,
    _WINDOWS.unbilled,
    _WINDOWS.acknowledged_at,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.core.ended_periods import EndedPeriod
    from gateway.ledger.database import Database


class UnbilledOverage(LedgerPart):
    """Windows whose subscription ended at once."""

    @unbroken
    async def list_ended_windows(
        self, ended_before: int, *, after: tuple[str, str, int] = ("", "", 0), limit: int = 100
    ) -> list[EndedWindowRow]:
        """Those with overage that are not closed, of subscriptions that ended before their period did.

        Also of customers who have another one since.

        Args:
            ended_before: Unix seconds: only of subscriptions that ended earlier.
            after: Customer, meter and start of the last one that was seen.
            limit: At most so many, in the order of these.
        """
        query = (
            select(*_KEY, _WINDOWS.stripe_meter, _WINDOWS.total, _OF.ended_at, _OF.ended_as, _OF.stripe_customer_id)
            .join(ENDED_PERIODS, _OF.customer_id == _WINDOWS.customer_id)
            .where(
                _OF.ended_at < ended_before,
                _WINDOWS.window_starts_at >= _OF.starts_at,
                _WINDOWS.window_starts_at <= _OF.ended_at,
                _WINDOWS.stripe_meter.is_not(None),
                _WINDOWS.total > 0,
                _WINDOWS.closed_at.is_(None) | (_WINDOWS.closed_at < _OF.ended_at),
                tuple_(*_KEY) > after,
            )
            .order_by(*_KEY)
            .limit(limit)
        )
        return await self._ended(query)

    @unbroken
    async def close_window(self, row: EndedWindowRow, *, unbilled: int, now: int) -> bool:
        """Note how much of a window no invoice asks for. False: somebody else did.

        What was acknowledged before stays so if it is as much as it was.
        """
        close = update(METERED_WINDOWS).where(
            _WINDOWS.customer_id == row.customer_id,
            _WINDOWS.meter == row.meter,
            _WINDOWS.window_starts_at == row.window_starts_at,
            _WINDOWS.closed_at.is_(None) | (_WINDOWS.closed_at < (row.ended_at or 0)),
        )
        async with self._database.writing_once() as connection:
            seen_to = case((_WINDOWS.unbilled == unbilled, _WINDOWS.acknowledged_at), else_=None)
            closed = await connection.execute(close.values(closed_at=now, unbilled=unbilled, acknowledged_at=seen_to))
        return closed.rowcount > 0

    @unbroken
    async def list_unbilled(
        self, customer_id: str | None = None, *, is_acknowledged: bool | None = None, limit: int = 1000
    ) -> list[EndedWindowRow]:
        """Windows of which some units are on no invoice, closed last first.

        Args:
            customer_id: Only of this customer.
            is_acknowledged: Only those that somebody has seen to, or nobody; None: both.
            limit: At most so many.
        """
        query = select(*_UNBILLED).where(_WINDOWS.unbilled > 0).order_by(_WINDOWS.closed_at.desc(), *_KEY).limit(limit)
        if customer_id is not None:
            query = query.where(_WINDOWS.customer_id == customer_id)
        if is_acknowledged is not None:
            seen_to = _WINDOWS.acknowledged_at
            query = query.where(seen_to.is_not(None) if is_acknowledged else seen_to.is_(None))
        return await self._ended(query)

    @unbroken
    async def count_unbilled(self) -> dict[str, int]:
        """By meter the units on no invoice that nobody has seen to; 0 where all are seen to."""
        is_open = case((_WINDOWS.acknowledged_at.is_(None), _WINDOWS.unbilled), else_=0)
        query = select(_WINDOWS.meter, func.sum(is_open).label("units")).where(_WINDOWS.unbilled > 0)
        async with self._database.reading() as connection:
            rows = (await connection.execute(query.group_by(_WINDOWS.meter))).all()
        return {row.meter: int(row.units) for row in rows}

    @unbroken
    async def acknowledge_unbilled(
        self, which: UnbilledFilter, *, now: int, actor: str, because: str
    ) -> list[EndedWindowRow]:
        """Note that somebody has seen to units on no invoice. They stay listed, and call for nothing any more.

        The audit log says of each window who and why.

        Args:
            which: Of the windows that nobody has seen to.
            now: Unix seconds.
            actor: Who says so.
            because: What became of them.

        Returns:
            Those that were acknowledged.
        """
        acknowledge = (
            update(METERED_WINDOWS)
            .where(_WINDOWS.unbilled > 0, _WINDOWS.acknowledged_at.is_(None), *_meant(which))
            .values(acknowledged_at=now)
            .returning(*_UNBILLED)
        )
        async with self._database.writing() as connection:
            found = [EndedWindowRow(**row) for row in (await connection.execute(acknowledge)).mappings()]
            for row in sorted(found, key=lambda one: (one.customer_id, one.meter, one.window_starts_at)):
                await append_audit(
                    connection,
                    at=now,
                    customer_id=row.customer_id,
                    actor=actor,
                    action="overage-acknowledged",
                    because=because,
                    before={"meter": row.meter, "window_starts_at": row.window_starts_at, "unbilled": row.unbilled},
                )
        return found

    @unbroken
    async def forget_ended_periods(self, older_than: int) -> None:
        """Delete periods that ended before `older_than`, Unix seconds. What was found of them stays."""
        async with self._database.writing_once() as connection:
            await connection.execute(delete(ENDED_PERIODS).where(_OF.ended_at < older_than))

    async def _ended(self, query: Select[Any]) -> list[EndedWindowRow]:
        async with self._database.reading() as connection:
            return [EndedWindowRow(**row) for row in (await connection.execute(query)).mappings()]


async def note_ended(
    database: Database,
    connection: AsyncConnection,
    customer_id: str,
    stripe_customer_id: str | None,
    periods: Iterable[EndedPeriod],
) -> None:
    """Keep the periods that a customer's subscriptions ended in the middle of, within the caller's transaction."""
    rows = [{"customer_id": customer_id, "stripe_customer_id": stripe_customer_id, **asdict(one)} for one in periods]
    if rows:
        await connection.execute(database.insert(ENDED_PERIODS).on_conflict_do_nothing(), rows)


def _meant(which: UnbilledFilter) -> Iterator[ColumnElement[bool]]:
    if which.customer_id is not None:
        yield _WINDOWS.customer_id == which.customer_id
    if which.meter is not None:
        yield (_WINDOWS.meter == which.meter) | (_WINDOWS.stripe_meter == which.meter)
    if which.at is not None:
        yield _WINDOWS.window_starts_at <= which.at
        yield _WINDOWS.window_ends_at.is_(None) | (_WINDOWS.window_ends_at > which.at)
