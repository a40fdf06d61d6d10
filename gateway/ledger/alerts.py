"""Alerts to the seller: each recorded once, sent until it is taken, and remembered as told.

    pending -- claim --> claimed -- finish --> done
       ^                    |------ bury ----> dead
       |------ delay -------|
    A claim that ran out may be claimed by anyone. retry: pending or dead -> pending, due now.

An alert has a row for each way that it is sent. Whoever records one that is there already, also
another worker at the same moment, records nothing. Nothing here reads a clock: callers pass `now`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, func, select, tuple_, update

from gateway.core.alerts import Told, alert_body
from gateway.ledger.part import LedgerPart, is_storable, note, unbroken
from gateway.ledger.rows import AlertRow
from gateway.ledger.tables import ALERTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.core.alerts import Alert

KEPT_S: Final = 400 * 86_400
"""How long an alert is remembered: longer than the longest window, in which it must not be told again."""
_KEY: Final = (ALERTS.c.alert_id, ALERTS.c.channel)
_OPEN: Final = ("pending", "claimed")
_FORGOTTEN_AT_ONCE: Final = 500


class Alerts(LedgerPart):
    """What was told, and what is still to be sent."""

    @unbroken
    async def record_alert(self, alert: Alert, channels: Sequence[str]) -> bool:
        """Remember that something is told, and queue it for every channel.

        Returns:
            False if it was told before.

        Raises:
            LedgerUnavailable: Nobody knows. Recording it again is harmless.
        """
        rows = [
            {
                "alert_id": alert.alert_id,
                "channel": channel,
                "customer_id": alert.customer_id,
                "counter": alert.counter,
                "window_starts_at": alert.window_starts_at,
                "percent": alert.percent,
                "used": alert.used,
                "body": alert_body(alert),
                "noticed_at": alert.at,
                "status": "pending",
                "attempts": 0,
                "due_at": alert.at,
            }
            for channel in channels
        ]
        insert = self._database.insert(ALERTS).values(rows).on_conflict_do_nothing().returning(ALERTS.c.channel)
        async with self._database.writing_once() as connection:
            return bool((await connection.execute(insert)).all())

    @unbroken
    async def list_told(self, customer_id: str, counter: str, window_starts_at: int) -> list[Told]:
        """What the seller was told of one quota in one window, on whatever way."""
        query = (
            select(ALERTS.c.percent, ALERTS.c.used)
            .where(
                ALERTS.c.customer_id == customer_id,
                ALERTS.c.counter == counter,
                ALERTS.c.window_starts_at == window_starts_at,
            )
            .distinct()
        )
        async with self._database.reading() as connection:
            return [Told(percent=row.percent, used=row.used) for row in (await connection.execute(query)).all()]

    @unbroken
    async def claim_alerts(
        self, *, worker: str, channels: Sequence[str], now: int, lease_s: int, limit: int
    ) -> list[AlertRow]:
        """Claim alerts that are due, those that wait longest first, for `lease_s` seconds. None has two live claims.

        Args:
            worker: Unique to one process's lifetime.
            channels: Only alerts for these: others wait until their way is in the settings again.
            now: Unix seconds.
            lease_s: How long the claims last.
            limit: At most so many.
        """
        due = (
            select(*_KEY)
            .where(ALERTS.c.status.in_(_OPEN), ALERTS.c.due_at <= now, ALERTS.c.channel.in_(channels))
            .order_by(ALERTS.c.due_at, *_KEY)
            .limit(limit)
            .with_for_update(skip_locked=True)  # PostgreSQL only; SQLite has one writer at a time anyway
            .cte("due")
        )
        claim = (
            update(ALERTS)
            .where(tuple_(*_KEY).in_(select(due.c.alert_id, due.c.channel)))
            .values(status="claimed", claimed_by=worker, due_at=now + lease_s, attempts=ALERTS.c.attempts + 1)
            .returning(ALERTS)
        )
        async with self._database.writing_once() as connection:
            rows = (await connection.execute(claim)).mappings().all()
        return sorted((AlertRow(**row) for row in rows), key=lambda row: (row.noticed_at, row.alert_id, row.channel))

    @unbroken
    async def has_due_alerts(self, *, channels: Sequence[str], now: int) -> bool:
        """Whether something could be claimed: a look that takes no lock."""
        query = (
            select(ALERTS.c.alert_id)
            .where(ALERTS.c.status.in_(_OPEN), ALERTS.c.due_at <= now, ALERTS.c.channel.in_(channels))
            .limit(1)
        )
        async with self._database.reading() as connection:
            return await connection.scalar(query) is not None

    @unbroken
    async def finish_alert(self, row: AlertRow, *, now: int) -> bool:
        """It was taken. False if the claim was lost."""
        return await self._end_claim(row, status="done", finished_at=now, error=None)

    @unbroken
    async def delay_alert(self, row: AlertRow, *, until: int, error: str) -> bool:
        """It was not taken; try again at `until`. False if the claim was lost."""
        return await self._end_claim(row, status="pending", due_at=until, error=note(error))

    @unbroken
    async def bury_alert(self, row: AlertRow, *, now: int, error: str) -> bool:
        """Give it up: only `retry_alert` sends it again. False if the claim was lost."""
        return await self._end_claim(row, status="dead", finished_at=now, error=note(error))

    @unbroken
    async def retry_alert(self, alert_id: str, now: int) -> int:
        """Make an alert due now and count anew, on every way on which it was not taken. How many ways those are."""
        if not is_storable(alert_id):
            return 0
        retry = (
            update(ALERTS)
            .where(ALERTS.c.alert_id == alert_id, ALERTS.c.status.in_(("pending", "dead")))
            .values(status="pending", attempts=0, due_at=now, finished_at=None)
        )
        async with self._database.writing_once() as connection:
            return (await connection.execute(retry)).rowcount

    @unbroken
    async def list_alerts(self, *, status: str | None = None, limit: int = 50) -> list[AlertRow]:
        """Newest first."""
        query = select(ALERTS).order_by(ALERTS.c.noticed_at.desc(), *_KEY).limit(limit)
        if status is not None:
            query = query.where(ALERTS.c.status == status)
        async with self._database.reading() as connection:
            return [AlertRow(**row) for row in (await connection.execute(query)).mappings()]

    @unbroken
    async def alert_counts(self) -> dict[str, int]:
        """How many rows are pending, claimed or dead."""
        counted = (*_OPEN, "dead")
        query = select(ALERTS.c.status, func.count().label("alerts")).where(ALERTS.c.status.in_(counted))
        async with self._database.reading() as connection:
            rows = (await connection.execute(query.group_by(ALERTS.c.status))).all()
        return dict.fromkeys(counted, 0) | {row.status: row.alerts for row in rows}

    @unbroken
    async def forget_alerts(self, older_than: int) -> int:
        """Delete some of what was noticed before `older_than`; the next calls take the rest. How many went."""
        old = select(*_KEY).where(ALERTS.c.noticed_at < older_than).limit(_FORGOTTEN_AT_ONCE)
        async with self._database.writing_once() as connection:
            return (await connection.execute(delete(ALERTS).where(tuple_(*_KEY).in_(old)))).rowcount

    async def _end_claim(self, row: AlertRow, **changes: Any) -> bool:
        release = (
            update(ALERTS)
            .where(
                ALERTS.c.alert_id == row.alert_id,
                ALERTS.c.channel == row.channel,
                ALERTS.c.status == "claimed",
                ALERTS.c.claimed_by == row.claimed_by,
            )
            .values(claimed_by=None, **changes)
        )
        async with self._database.writing_once() as connection:
            return (await connection.execute(release)).rowcount > 0
