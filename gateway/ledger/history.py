"""What was used, by the hour: added up from every worker, and rolled to days when it is old.

Laws:
- a batch is added once, however often it is sent: each worker's lifetime numbers its batches, and
  one that is not above the last written of that writer adds nothing;
- one look back reads a bounded part of the span in a statement, and lets others look between two;
- hours and their day never count the same call: hours are taken out and added to the day in one
  transaction, so also two workers that roll at once count nothing twice.

This is for looking back. What a customer may still use stands in the usage totals.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from sqlalchemy import ColumnElement, Select, delete, func, literal, literal_column, select, tuple_

from gateway.ledger.errors import LooksBackFull
from gateway.ledger.part import LedgerPart, unbroken
from gateway.ledger.rows import HistoryRow, HourUsage
from gateway.ledger.tables import USAGE_HISTORY, USAGE_WRITERS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.ledger.database import Database

HOUR_S: Final = 3600
DAY_S: Final = 86_400

Step: TypeAlias = Literal["hour", "day"]
Cursor: TypeAlias = tuple[int, str, str, str]
"""The last line of a page: its start, meter, key and route ('' where they are not told apart)."""

_T: Final = USAGE_HISTORY.c
_KEY: Final = (_T.customer_id, _T.starts_at, _T.span_s, _T.meter, _T.key_id, _T.route)
_DAY: Final[ColumnElement[int]] = _T.starts_at - _T.starts_at % literal_column(str(DAY_S))
"""The start of its day. No parameter in it: PostgreSQL would take two of them for two expressions."""
_CUSTOMERS_A_STEP: Final = 200
"""Customers whose day is rolled in one transaction: it holds SQLite's write lock, and webhooks wait behind it."""
_FORGOTTEN_A_STEP: Final = 500
_ROWS_A_LOOK: Final = 20_000
"""So many rows, and the rest of the last one's step, are added up in one statement: about 0.1 s."""
_LOOKS_AT_ONCE: Final = 2
_STEPS_A_CALL: Final = 20


class UsageHistory(LedgerPart):
    """Hours and days per customer, meter, key and route."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._looking: Counter[str] = Counter()

    @unbroken
    async def add_usage(self, writer: str, batch: int, hours: Sequence[HourUsage], *, now: int) -> bool:
        """Add a batch of counts, unless it is in already.

        Args:
            writer: Unique to one process's lifetime.
            batch: Its number, rising. After an unknown outcome, send the same again.
            hours: At most a few hundred, each hour, meter, key and route once.
            now: Unix seconds.

        Returns:
            False if it was in already.

        Raises:
            LedgerUnavailable: Nobody knows whether it was added.
        """
        mark = self._database.insert(USAGE_WRITERS).values(writer=writer, batch=batch, written_at=now)
        mark = mark.on_conflict_do_update(
            index_elements=[USAGE_WRITERS.c.writer],
            set_={"batch": mark.excluded.batch, "written_at": mark.excluded.written_at},
            where=mark.excluded.batch > USAGE_WRITERS.c.batch,
        )
        async with self._database.writing() as connection:
            if await connection.scalar(mark.returning(USAGE_WRITERS.c.batch)) is None:
                return False
            await self._add(connection, [_row(hour, HOUR_S) for hour in hours])
        return True

    @unbroken
    async def list_history(
        self,
        customer_id: str,
        *,
        from_at: int,
        to_at: int,
        by: Step,
        per_key: bool = False,
        per_route: bool = False,
        after: Cursor | None = None,
        limit: int = 100,
    ) -> list[HistoryRow]:
        """Lines of `[from_at, to_at)`, in the order of their start, meter, key and route.

        Args:
            customer_id: Whose.
            from_at: Unix seconds, a multiple of the step.
            to_at: Likewise.
            by: `hour` shows only what was not rolled to days yet.
            per_key: A line per key, else of all keys together.
            per_route: Likewise.
            after: Only what follows this line.
            limit: At most so many lines.

        Raises:
            LooksBackFull: This customer looks back as often at once as it may.
        """
        lines: list[HistoryRow] = []
        step = HOUR_S if by == "hour" else DAY_S
        start = from_at if after is None else max(from_at, after[0] - after[0] % step)
        with self._one_more_look(customer_id):
            while start < to_at and len(lines) < limit:
                async with self._database.looking_back() as connection:
                    end = await _end_of_part(connection, customer_id, start, to_at, by)
                    part = _lines(customer_id, start, end, by, per_key=per_key, per_route=per_route, after=after)
                    found = (await connection.execute(part.limit(limit - len(lines)))).all()
                lines += [_history_row(row, per_key=per_key, per_route=per_route) for row in found]
                start = end
        return lines

    @unbroken
    async def recent_units(self, customer_id: str, *, since: int) -> dict[tuple[str, str], int]:
        """Units of the hours that began at `since` or later, by meter and key id."""
        query = (
            select(_T.meter, _T.key_id, func.sum(_T.units).label("units"))
            .where(_T.customer_id == customer_id, _T.starts_at >= since, _T.span_s == HOUR_S)
            .group_by(_T.meter, _T.key_id)
        )
        async with self._database.reading() as connection:
            return {(row.meter, row.key_id): int(row.units) for row in (await connection.execute(query)).all()}

    @unbroken
    async def roll_usage(self, older_than: int) -> int:
        """Make days of the hours of days that began before `older_than` (a day's start), in small steps.

        Returns:
            How many hours were taken in. One call takes a bounded number, the next ones take the rest.
        """
        rolled = 0
        for _ in range(_STEPS_A_CALL):
            query = select(func.min(_T.starts_at)).where(_T.span_s == HOUR_S, _T.starts_at < older_than)
            async with self._database.reading() as connection:
                first = await connection.scalar(query)
            if first is None:
                break
            rolled += await self._roll_day(first - first % DAY_S)
        return rolled

    @unbroken
    async def forget_usage(self, older_than: int) -> int:
        """Delete days that began before `older_than`, and writers not heard of since, in small steps.

        Returns:
            How many rows were deleted: one call takes a bounded number, the next ones take the rest.
        """
        old = select(*_KEY).where(_T.span_s == DAY_S, _T.starts_at < older_than).limit(_FORGOTTEN_A_STEP)
        forgotten = 0
        for _ in range(_STEPS_A_CALL):
            async with self._database.writing_once() as connection:
                gone = await connection.execute(delete(USAGE_HISTORY).where(tuple_(*_KEY).in_(old)))
            forgotten += gone.rowcount
            if gone.rowcount < _FORGOTTEN_A_STEP:
                break
        async with self._database.writing_once() as connection:
            await connection.execute(delete(USAGE_WRITERS).where(USAGE_WRITERS.c.written_at < older_than))
        return forgotten

    @contextmanager
    def _one_more_look(self, customer_id: str) -> Iterator[None]:
        if self._looking[customer_id] >= _LOOKS_AT_ONCE:
            raise LooksBackFull("the customer looks back as often at once as it may")
        self._looking[customer_id] += 1
        try:
            yield
        finally:
            self._looking[customer_id] -= 1
            if not self._looking[customer_id]:
                del self._looking[customer_id]

    async def _roll_day(self, day_at: int) -> int:
        of_day = (_T.span_s == HOUR_S, _T.starts_at >= day_at, _T.starts_at < day_at + DAY_S)
        some = select(_T.customer_id).where(*of_day).distinct().limit(_CUSTOMERS_A_STEP)
        take = delete(USAGE_HISTORY).where(*of_day, _T.customer_id.in_(some)).returning(USAGE_HISTORY)
        async with self._database.writing() as connection:
            hours = (await connection.execute(take)).mappings().all()
            await self._add(connection, _days(hours, day_at))
        return len(hours)

    async def _add(self, connection: AsyncConnection, rows: list[dict[str, Any]]) -> None:
        if not rows:
            return
        insert = self._database.insert(USAGE_HISTORY)
        counts = ("requests", "denied", "units")
        upsert = insert.on_conflict_do_update(
            index_elements=_KEY, set_={name: _T[name] + insert.excluded[name] for name in counts}
        )
        await connection.execute(upsert, sorted(rows, key=_place))


async def _end_of_part(connection: AsyncConnection, customer_id: str, start: int, to_at: int, by: Step) -> int:
    """Up to where one statement adds up: a whole step, with as many rows before it as one may read."""
    rows = select(_T.starts_at).where(*_of_span(customer_id, start, to_at, by)).order_by(_T.starts_at)
    last = await connection.scalar(rows.offset(_ROWS_A_LOOK - 1).limit(1))
    step = HOUR_S if by == "hour" else DAY_S
    return to_at if last is None else int(min(to_at, last - last % step + step))


def _lines(
    customer_id: str, start: int, end: int, by: Step, *, per_key: bool, per_route: bool, after: Cursor | None
) -> Select[Any]:
    """The lines of one part of the span, in their order."""
    at = _T.starts_at if by == "hour" else _DAY
    parts = [at, _T.meter, *([_T.key_id] if per_key else []), *([_T.route] if per_route else [])]
    line = (
        select(
            at.label("starts_at"),
            _T.meter,
            (_T.key_id if per_key else literal("")).label("key_id"),
            (_T.route if per_route else literal("")).label("route"),
            func.sum(_T.requests).label("requests"),
            func.sum(_T.denied).label("denied"),
            func.sum(_T.units).label("units"),
        )
        .where(*_of_span(customer_id, start, end, by))
        .group_by(*parts)
        .subquery()
        .c
    )
    order = (line.starts_at, line.meter, line.key_id, line.route)
    query = select(*line).order_by(*order)
    return query if after is None else query.where(tuple_(*order) > tuple_(*(literal(value) for value in after)))


def _of_span(customer_id: str, start: int, end: int, by: Step) -> tuple[ColumnElement[bool], ...]:
    """The rows of a part. By the hour: only what was not rolled to days yet."""
    of_hours = (_T.span_s == HOUR_S,) if by == "hour" else ()
    return (_T.customer_id == customer_id, _T.starts_at >= start, _T.starts_at < end, *of_hours)


def _place(row: dict[str, Any]) -> tuple[Any, ...]:
    """One order everywhere, so that two writers never deadlock."""
    return tuple(row[column.name] for column in _KEY)


def _row(hour: HourUsage, span_s: int) -> dict[str, Any]:
    return {
        "customer_id": hour.customer_id,
        "starts_at": hour.starts_at,
        "span_s": span_s,
        "meter": hour.meter,
        "key_id": hour.key_id,
        "route": hour.route,
        "requests": hour.requests,
        "denied": hour.denied,
        "units": hour.units,
    }


def _days(hours: Iterable[Any], day_at: int) -> list[dict[str, Any]]:
    days: dict[tuple[str, ...], dict[str, Any]] = {}
    for hour in hours:
        whose = (hour["customer_id"], hour["meter"], hour["key_id"], hour["route"])
        day = days.get(whose)
        if day is None:
            days[whose] = {**hour, "starts_at": day_at, "span_s": DAY_S}
            continue
        for name in ("requests", "denied", "units"):
            day[name] += hour[name]
    return list(days.values())


def _history_row(row: Any, *, per_key: bool, per_route: bool) -> HistoryRow:
    return HistoryRow(
        starts_at=int(row.starts_at),
        meter=row.meter,
        key_id=row.key_id if per_key else None,
        route=row.route if per_route else None,
        requests=int(row.requests),
        denied=int(row.denied),
        units=int(row.units),
    )
