"""Overage on its way to Stripe's Billing Meters: running totals, and a report for each step of them.

    pending -- finish --> sent
       |  ^---- delay
       |--- bury --> dead
    retry: pending or dead -> pending, due now.

Laws:
- `reported` of a window is the sum of the units of its reports, whatever became of them: it is raised in the
  transaction that writes the report, by compare-and-set, so no unit is in two reports and none in none;
- a report is written before Stripe is told, and never changed but for what became of it;
- whoever reports for a customer and meter has a turn: one has it at a time, until it ends.

Nothing here reads a clock: callers pass `now`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import case, func, select, tuple_, union_all, update

from gateway.ledger.meter_rows import MeteredWindowRow, MeterReportRow, MeterTurn
from gateway.ledger.meter_tables import METER_REPORTS, METER_TURNS, METERED_WINDOWS
from gateway.ledger.part import LedgerPart, is_storable, note, unbroken

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Update
    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.ledger.database import Database
    from gateway.ledger.rows import UsageTotal

_WINDOWS, _REPORTS, _TURNS = METERED_WINDOWS.c, METER_REPORTS.c, METER_TURNS.c
_WINDOW_KEY: Final = (_WINDOWS.customer_id, _WINDOWS.meter, _WINDOWS.window_starts_at)
_TURN_KEY: Final = (_TURNS.customer_id, _TURNS.meter)
_SHOWN: Final = tuple(METERED_WINDOWS.c[name] for name in MeteredWindowRow.__dataclass_fields__)


class Metering(LedgerPart):
    """What was reported of each window, and the reports."""

    @unbroken
    async def list_metered_windows(self, customer_id: str, since: int, until: int) -> list[MeteredWindowRow]:
        """The overage of windows that began at `since` or later and before `until`, oldest first.

        One that nobody has looked at yet, in the first seconds of its overage, is not there.
        """
        query = (
            select(*_SHOWN)
            .where(
                _WINDOWS.customer_id == customer_id,
                _WINDOWS.window_starts_at >= since,
                _WINDOWS.window_starts_at < until,
                _WINDOWS.window_ends_at.is_not(None),
            )
            .order_by(_WINDOWS.window_starts_at, _WINDOWS.meter)
        )
        return await self._windows(query)

    @unbroken
    async def list_reports(self, *, status: str | None = None, limit: int = 50) -> list[MeterReportRow]:
        """Newest first."""
        query = select(METER_REPORTS).order_by(_REPORTS.made_at.desc(), _REPORTS.identifier).limit(limit)
        return await self._reports(query if status is None else query.where(_REPORTS.status == status))

    @unbroken
    async def find_reports(self, identifiers: Iterable[str]) -> list[MeterReportRow]:
        """Those of these identifiers that there are."""
        named = [one for one in identifiers if is_storable(one)]
        return await self._reports(select(METER_REPORTS).where(_REPORTS.identifier.in_(named)))

    @unbroken
    async def claim_meters(self, *, worker: str, now: int, lease_s: int, limit: int) -> list[MeterTurn]:
        """Take turns for what is due, longest due first: reports that wait, and windows with something to report.

        A report that is to be tried later holds up the windows of its customer and meter until then.

        Args:
            worker: Unique to one process's lifetime.
            now: Unix seconds.
            lease_s: How long the turns last. None has two at a time.
            limit: At most so many.
        """
        reports = select(_REPORTS.customer_id, _REPORTS.meter, _REPORTS.due_at.label("since"))
        windows = select(_WINDOWS.customer_id, _WINDOWS.meter, _WINDOWS.look_at.label("since"))
        later = select(_REPORTS.customer_id, _REPORTS.meter).where(_REPORTS.status == "pending", _REPORTS.due_at > now)
        due = union_all(
            reports.where(_REPORTS.status == "pending", _REPORTS.due_at <= now),
            windows.where(
                _WINDOWS.total > _WINDOWS.reported,
                _WINDOWS.look_at <= now,
                tuple_(_WINDOWS.customer_id, _WINDOWS.meter).not_in(later),
            ),
        ).subquery()
        whose = (due.c.customer_id, due.c.meter)
        held = select(*_TURN_KEY).where(_TURNS.claimed_until > now)
        free = select(*whose).where(tuple_(*whose).not_in(held)).group_by(*whose)
        free = free.order_by(func.min(due.c.since), *whose).limit(limit)
        async with self._database.reading() as connection:
            found = (await connection.execute(free)).all()
        if not found:
            return []
        claimed = {"claimed_by": worker, "claimed_until": now + lease_s}
        claim = (
            self._database.insert(METER_TURNS)
            .values([{"customer_id": one.customer_id, "meter": one.meter, **claimed} for one in found])
            .on_conflict_do_update(
                index_elements=_TURN_KEY,
                set_=claimed,
                where=_TURNS.claimed_until <= now,
            )
            .returning(*_TURN_KEY)
        )
        async with self._database.writing_once() as connection:
            rows = (await connection.execute(claim)).all()
        return [MeterTurn(customer_id=row.customer_id, meter=row.meter, worker=worker) for row in sorted(rows)]

    @unbroken
    async def release_meter(self, turn: MeterTurn) -> None:
        """Let the next one have it."""
        async with self._database.writing_once() as connection:
            await connection.execute(update(METER_TURNS).where(*_has(turn)).values(claimed_until=0))

    @unbroken
    async def list_unreported(self, turn: MeterTurn) -> list[MeteredWindowRow]:
        """The windows of which something is to be reported, oldest first."""
        query = (
            select(*_SHOWN)
            .where(
                _WINDOWS.customer_id == turn.customer_id,
                _WINDOWS.meter == turn.meter,
                _WINDOWS.total > _WINDOWS.reported,
            )
            .order_by(_WINDOWS.window_starts_at)
        )
        return await self._windows(query)

    @unbroken
    async def note_window(self, row: MeteredWindowRow) -> None:
        """Remember what was found at a look: how long the window is, what it includes, what has stood and until when.

        What was settled and reported meanwhile stays.
        """
        noted = {
            name: getattr(row, name)
            for name in ("stood", "stood_at", "look_at", "window_ends_at", "included", "stripe_meter")
        }
        async with self._database.writing_once() as connection:
            await connection.execute(update(METERED_WINDOWS).where(*_is(row)).values(**noted))

    @unbroken
    async def begin_report(self, turn: MeterTurn, window: MeteredWindowRow, report: MeterReportRow, now: int) -> bool:
        """Write a report that is to be sent, and raise what is reported of its window to its total.

        Returns:
            False if the turn was lost, or somebody else has reported meanwhile; then nothing was written.
        """
        raise_ = (
            update(METERED_WINDOWS)
            .where(
                *_is(window),
                _WINDOWS.reported == window.reported,
                select(_TURNS.customer_id).where(*_has(turn), _TURNS.claimed_until > now).exists(),
            )
            .values(reported=report.total)
        )
        values = {name: getattr(report, name) for name in MeterReportRow.__dataclass_fields__}
        async with self._database.writing() as connection:
            if (await connection.execute(raise_)).rowcount == 0:
                return False
            await connection.execute(self._database.insert(METER_REPORTS).values(**values))
        return True

    @unbroken
    async def find_open_report(self, turn: MeterTurn) -> MeterReportRow | None:
        """Of the reports that wait the one that is due first; None: none waits."""
        query = (
            select(METER_REPORTS)
            .where(_REPORTS.customer_id == turn.customer_id, _REPORTS.meter == turn.meter, _REPORTS.status == "pending")
            .order_by(_REPORTS.due_at, _REPORTS.made_at, _REPORTS.total)
            .limit(1)
        )
        return next(iter(await self._reports(query)), None)

    @unbroken
    async def try_report(self, row: MeterReportRow, *, now: int, due_at: int) -> None:
        """It is about to be sent; if nobody says what became of that, it is sent again at `due_at`."""
        await self._change(
            row, attempts=_REPORTS.attempts + 1, due_at=due_at, tried_at=func.coalesce(_REPORTS.tried_at, now)
        )

    @unbroken
    async def finish_report(self, row: MeterReportRow, *, now: int, is_unbilled: bool = False) -> bool:
        """Stripe has it; if it `is_unbilled`, no item bills its units, and nobody has seen to them.

        Returns:
            False if somebody else has found out what became of it; then nothing was written.
        """
        unbilled = func.coalesce(_WINDOWS.unbilled, 0) + row.units
        add = update(METERED_WINDOWS).where(*_is(row)).values(unbilled=unbilled, closed_at=now, acknowledged_at=None)
        finish = _pending(row).values(status="sent", sent_at=now, error=None)
        async with self._database.writing() as connection:
            is_ours = (await connection.execute(finish)).rowcount > 0
            if is_ours and is_unbilled:
                await connection.execute(add)
        return is_ours

    @unbroken
    async def delay_report(
        self, row: MeterReportRow, *, until: int, error: str, is_unknown: bool, counts: bool = True
    ) -> None:
        """Try again at `until`. Unless it `is_unknown` whether Stripe took this try, it is as before it.

        Unless it `counts`, there was no such try: the report is not to blame for it.
        """
        changes: dict[str, Any] = {} if is_unknown else {"tried_at": row.tried_at}
        if not counts:
            changes["attempts"] = row.attempts
        await self._change(row, due_at=until, error=note(error), **changes)

    @unbroken
    async def bury_report(self, row: MeterReportRow, *, error: str) -> None:
        """Give it up: only `retry_report` sends it again. Stripe took no try beside those that `row` tells of."""
        await self._change(row, status="dead", error=note(error), tried_at=row.tried_at)

    @unbroken
    async def doubt_report(self, identifier: str, *, error: str, now: int) -> MeterReportRow | None:
        """Stripe said later that it does not count what it was told. None: there is no such report."""
        if not is_storable(identifier):
            return None
        doubt = (
            update(METER_REPORTS)
            .where(_REPORTS.identifier == identifier)
            .values(status="dead", error=note(error), sent_at=func.coalesce(_REPORTS.sent_at, now))
            .returning(METER_REPORTS)
        )
        async with self._database.writing_once() as connection:
            row = (await connection.execute(doubt)).mappings().one_or_none()
        return None if row is None else MeterReportRow(**row)

    @unbroken
    async def retry_report(self, identifier: str, now: int, *, was_not_taken: bool = False) -> bool:
        """Send a report that waits or was given up, at once, with all its tries. False: there is none.

        One that Stripe took and did not count gets another identifier: under its own it would be a duplicate. Of any
        other it stays known when it was first tried, unless somebody made sure that it `was_not_taken`.
        """
        if not is_storable(identifier):
            return False
        is_counted_out = _REPORTS.sent_at.is_not(None)
        name = case((is_counted_out, _REPORTS.identifier + "r"), else_=_REPORTS.identifier)
        tried_at = None if was_not_taken else case((is_counted_out, None), else_=_REPORTS.tried_at)
        retry = (
            update(METER_REPORTS)
            .where(_REPORTS.identifier == identifier, _REPORTS.status.in_(("pending", "dead")))
            .values(identifier=name, status="pending", attempts=0, due_at=now, tried_at=tried_at, sent_at=None)
        )
        async with self._database.writing_once() as connection:
            return (await connection.execute(retry)).rowcount > 0

    @unbroken
    async def retry_refused_reports(self, now: int) -> int:
        """Send every dead report that Stripe refused and never took, with all its tries. Returns how many."""
        retry = (
            update(METER_REPORTS)
            .where(_REPORTS.status == "dead", _REPORTS.sent_at.is_(None), _REPORTS.tried_at.is_(None))
            .values(status="pending", attempts=0, due_at=now)
        )
        async with self._database.writing_once() as connection:
            return (await connection.execute(retry)).rowcount

    @unbroken
    async def report_counts(self) -> tuple[dict[str, int], int | None]:
        """How many reports are pending or dead; and the oldest look that is due of a window with something to report.

        Returns:
            Both keys are always there. None: nothing waits to be reported.
        """
        counted = ("pending", "dead")
        query = select(_REPORTS.status, func.count().label("reports")).where(_REPORTS.status.in_(counted))
        oldest = select(func.min(_WINDOWS.look_at)).where(_WINDOWS.total > _WINDOWS.reported)
        async with self._database.reading() as connection:
            rows = (await connection.execute(query.group_by(_REPORTS.status))).all()
            look_at = await connection.scalar(oldest)
        return dict.fromkeys(counted, 0) | {row.status: row.reports for row in rows}, look_at

    async def _change(self, row: MeterReportRow, **changes: Any) -> None:
        """Of one that is pending: what somebody else found out meanwhile stays."""
        async with self._database.writing_once() as connection:
            await connection.execute(_pending(row).values(**changes))

    async def _windows(self, query: Any) -> list[MeteredWindowRow]:
        async with self._database.reading() as connection:
            return [MeteredWindowRow(**row) for row in (await connection.execute(query)).mappings()]

    async def _reports(self, query: Any) -> list[MeterReportRow]:
        async with self._database.reading() as connection:
            return [MeterReportRow(**row) for row in (await connection.execute(query)).mappings()]


async def settle_overage(
    database: Database, connection: AsyncConnection, totals: Iterable[tuple[str, UsageTotal]]
) -> None:
    """Record running totals of overage, within the transaction that settles them.

    Args:
        database: Of the connection.
        connection: In a transaction.
        totals: Each with its meter.
    """
    insert = database.insert(METERED_WINDOWS)
    upsert = insert.on_conflict_do_update(
        index_elements=_WINDOW_KEY,
        set_={"total": insert.excluded.total, "seq": insert.excluded.seq},
        where=insert.excluded.seq > _WINDOWS.seq,
    )
    rows = [
        {
            "customer_id": total.customer_id,
            "meter": meter,
            "window_starts_at": total.window_starts_at,
            "total": total.used,
            "seq": total.seq,
            "reported": 0,
            "stood": 0,
            "look_at": 0,
        }
        for meter, total in totals
    ]
    await connection.execute(upsert, rows)


def _pending(row: MeterReportRow) -> Update:
    return update(METER_REPORTS).where(_REPORTS.identifier == row.identifier, _REPORTS.status == "pending")


def _is(row: MeteredWindowRow | MeterReportRow) -> tuple[Any, ...]:
    return (
        _WINDOWS.customer_id == row.customer_id,
        _WINDOWS.meter == row.meter,
        _WINDOWS.window_starts_at == row.window_starts_at,
    )


def _has(turn: MeterTurn) -> tuple[Any, ...]:
    return (
        _TURNS.customer_id == turn.customer_id,
        _TURNS.meter == turn.meter,
        _TURNS.claimed_by == turn.worker,
    )
