"""Totals that the cache counted, settled into the ledger: what a lost cache is refilled from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import bindparam, delete, func, select

from gateway.core.overage import meter_of_field
from gateway.ledger.metering import settle_overage
from gateway.ledger.part import LedgerPart, unbroken
from gateway.ledger.rows import KeptCounters, UsageTotal
from gateway.ledger.tables import API_KEYS, USAGE_TOTALS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sqlalchemy import Row, Select

_KEY: Final = (USAGE_TOTALS.c.customer_id, USAGE_TOTALS.c.field, USAGE_TOTALS.c.window_starts_at)
_ROWS_A_STATEMENT: Final = 500
"""Five parameters each: well below the 32,766 of both databases."""
_RANKED: Final = (
    select(
        USAGE_TOTALS,
        func.row_number()
        .over(
            partition_by=USAGE_TOTALS.c.field,
            order_by=(USAGE_TOTALS.c.seq.desc(), USAGE_TOTALS.c.window_starts_at.desc()),
        )
        .label("age"),
        func.max(USAGE_TOTALS.c.seq).over().label("top"),
    )
    .where(USAGE_TOTALS.c.customer_id == bindparam("whose"))
    .subquery()
)
_NEWEST: Final = select(_RANKED).where(_RANKED.c.age == 1)
_NEWEST_TWO: Final = select(_RANKED).where(_RANKED.c.age <= 2)  # noqa: PLR2004 - says what it is


class Usage(LedgerPart):
    """Running totals per customer, counter and window."""

    @unbroken
    async def settle(self, readings: Sequence[UsageTotal]) -> int:
        """Record readings; one that is not later than what is recorded changes nothing.

        A late settlement, a repeat, or one by a second worker is therefore harmless.

        Returns:
            How many totals were written.

        Raises:
            LedgerUnavailable: The ledger cannot be used. Some of the readings may have been recorded.
        """
        written = 0
        latest = _latest(readings)
        for start in range(0, len(latest), _ROWS_A_STATEMENT):
            some = latest[start : start + _ROWS_A_STATEMENT]
            rows = [_row(total) for total in some]
            overage = [(meter, total) for total in some if (meter := meter_of_field(total.field)) is not None]
            insert = self._database.insert(USAGE_TOTALS)
            upsert = insert.on_conflict_do_update(
                index_elements=_KEY,
                set_={"used": insert.excluded.used, "seq": insert.excluded.seq},
                where=insert.excluded.seq > USAGE_TOTALS.c.seq,
            ).returning(USAGE_TOTALS.c.seq)
            async with self._database.writing_once() as connection:
                written += len((await connection.execute(upsert, rows)).all())
                if overage:
                    await settle_overage(self._database, connection, overage)
        return written

    @unbroken
    async def list_usage(self, customer_id: str, *, since: int) -> list[UsageTotal]:
        """The customer's totals of windows that began at `since` or later, oldest first."""
        query = (
            select(USAGE_TOTALS)
            .where(USAGE_TOTALS.c.customer_id == customer_id, USAGE_TOTALS.c.window_starts_at >= since)
            .order_by(USAGE_TOTALS.c.window_starts_at, USAGE_TOTALS.c.field)
        )
        async with self._database.reading() as connection:
            return [UsageTotal(**row) for row in (await connection.execute(query)).mappings()]

    @unbroken
    async def load_counters(self, customer_id: str) -> tuple[dict[str, tuple[int, int]], int]:
        """What is used now, as far as it was settled.

        Returns:
            Per counter the window that was counted last and the units used in it, without those of keys that left
            the account; and the highest `seq` settled of all, 0 if none. The last by `seq`: a window further ahead
            was opened by a clock that was wrong, and is not counted in any more.
        """
        kept = await self._load(_NEWEST, customer_id)
        return kept.counters, kept.seq

    @unbroken
    async def load_kept_counters(self, customer_id: str) -> KeptCounters:
        """What the cache starts from when it lost the customer, or may have an older one."""
        return await self._load(_NEWEST_TWO, customer_id)

    async def _load(self, query: Select[Any], customer_id: str) -> KeptCounters:
        async with self._database.reading() as connection:
            rows = (await connection.execute(query, {"whose": customer_id})).all()
            # Read second: the key of a total is there already, or it has ended.
            keys = (
                set((await connection.scalars(_live_keys(customer_id))).all()) if any(map(_is_of_key, rows)) else set()
            )
        windows: tuple[dict[str, tuple[int, int]], dict[str, tuple[int, int]]] = ({}, {})
        for row in rows:
            if not _is_of_key(row) or row.field.rpartition("@")[2] in keys:
                windows[row.age - 1][row.field] = (row.window_starts_at, row.used)
        counters, older = windows
        ended = {field: window for field, window in older.items() if window[0] < counters[field][0]}
        return KeptCounters(counters=counters, ended=ended, seq=max((row.top for row in rows), default=0))

    @unbroken
    async def find_ended_keys(self, key_ids: Collection[str], before: int) -> set[str]:
        """Which of these keys left their account at `before` or sooner."""
        ended: set[str] = set()
        asked = sorted(key_ids)
        async with self._database.reading() as connection:
            for start in range(0, len(asked), _ROWS_A_STATEMENT):
                some = asked[start : start + _ROWS_A_STATEMENT]
                query = select(API_KEYS.c.key_id).where(API_KEYS.c.key_id.in_(some), API_KEYS.c.revoked_at <= before)
                ended.update((await connection.scalars(query)).all())
        return ended

    @unbroken
    async def forget_totals(self, customer_id: str, fields: Sequence[str]) -> None:
        """Delete the totals of counters that nobody will ask for again, in small steps."""
        for start in range(0, len(fields), _ROWS_A_STATEMENT):
            some = fields[start : start + _ROWS_A_STATEMENT]
            gone = delete(USAGE_TOTALS).where(USAGE_TOTALS.c.customer_id == customer_id, USAGE_TOTALS.c.field.in_(some))
            async with self._database.writing_once() as connection:
                await connection.execute(gone)


def _live_keys(customer_id: str) -> Select[tuple[str]]:
    return select(API_KEYS.c.key_id).where(API_KEYS.c.customer_id == customer_id, API_KEYS.c.revoked_at.is_(None))


def _is_of_key(row: Row[Any]) -> bool:
    return "@" in row.field


def _row(total: UsageTotal) -> dict[str, str | int]:
    return {
        "customer_id": total.customer_id,
        "field": total.field,
        "window_starts_at": total.window_starts_at,
        "used": total.used,
        "seq": total.seq,
    }


def _latest(readings: Iterable[UsageTotal]) -> list[UsageTotal]:
    """One reading per total, the latest; in one order everywhere, so that two settlements never deadlock."""
    latest: dict[tuple[str, str, int], UsageTotal] = {}
    for reading in readings:
        key = (reading.customer_id, reading.field, reading.window_starts_at)
        if key not in latest or latest[key].seq < reading.seq:
            latest[key] = reading
    return [latest[key] for key in sorted(latest)]
