"""The webhook inbox, seen and cared for by people: what is in it, replayed, acknowledged, forgotten.

    replay: pending, done or dead -> pending, due now.    acknowledge: dead -> done, by a person who saw to it.

Nothing here reads a clock: callers pass `now`.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sqlalchemy import delete, func, select, update

from gateway.ledger.part import LedgerPart, append_audit, is_storable, unbroken
from gateway.ledger.rows import InboxCounts, InboxRow
from gateway.ledger.tables import INBOX

KEPT_S: Final = 35 * 86_400
"""How long an event is kept after it was done: longer than the 30 days for which Stripe shows and resends it."""
_OPEN: Final = ("pending", "claimed")
_COUNTED: Final = (*_OPEN, "dead")
_FORGOTTEN_AT_ONCE: Final = 500
"""Rows one deletion may take: it holds SQLite's write lock for some 40 ms, and a webhook waits behind it."""
_FORGOTTEN_A_CALL: Final = 10_000


class InboxCare(LedgerPart):
    """Stripe events, for whoever looks after them."""

    @unbroken
    async def find_known_events(self, event_ids: Collection[str]) -> frozenset[str]:
        """Which of these the inbox has, whatever became of them.

        Raises:
            LedgerUnavailable: The ledger cannot be used.
        """
        known = select(INBOX.c.event_id).where(INBOX.c.event_id.in_(event_ids))
        async with self._database.reading() as connection:
            return frozenset((await connection.scalars(known)).all())

    @unbroken
    async def replay_event(self, event_id: str, now: int) -> bool:
        """Make an event due now and count anew. False if it is unknown or a worker has it."""
        replay = (
            update(INBOX)
            .where(
                INBOX.c.event_id == event_id,
                (INBOX.c.status != "claimed") | (INBOX.c.due_at <= now),
            )
            .values(
                status="pending", claimed_by=None, attempts=0, failures=0, due_at=now, finished_at=None, outcome=None
            )
            .returning(INBOX.c.position)
        )
        async with self._database.writing_once() as connection:
            return await connection.scalar(replay) is not None

    @unbroken
    async def acknowledge_event(self, event_id: str, *, now: int, actor: str, because: str) -> bool:
        """Have a dead event done without working on it: somebody saw to it. False if there is no dead one of that id.

        Its error stays, and the audit log says who and why.

        Raises:
            LedgerUnavailable: The ledger cannot be used.
        """
        is_dead = (INBOX.c.event_id == event_id) & (INBOX.c.status == "dead")
        acknowledge = update(INBOX).where(is_dead).values(status="done", finished_at=now, outcome="acknowledged")
        async with self._database.writing() as connection:
            error = await connection.scalar(acknowledge.returning(func.coalesce(INBOX.c.error, "")))
            if error is None:
                return False
            await append_audit(
                connection,
                at=now,
                customer_id=None,
                actor=actor,
                action="event-acknowledged",
                because=because,
                before={"status": "dead", "error": error},
                after={"status": "done"},
                event_id=event_id,
            )
        return True

    @unbroken
    async def replay_dead(self, now: int) -> int:
        """Make every dead event due now and count anew. Returns how many."""
        replay = (
            update(INBOX)
            .where(INBOX.c.status == "dead")
            .values(status="pending", attempts=0, failures=0, due_at=now, finished_at=None, outcome=None)
        )
        async with self._database.writing_once() as connection:
            return (await connection.execute(replay)).rowcount

    @unbroken
    async def list_events(
        self, *, status: str | None = None, limit: int = 50, before: int | None = None
    ) -> list[InboxRow]:
        """Newest events first. `before`: only those with a lower `position`."""
        query = select(INBOX).order_by(INBOX.c.position.desc()).limit(limit)
        if status is not None:
            query = query.where(INBOX.c.status == status)
        if before is not None:
            query = query.where(INBOX.c.position < before)
        async with self._database.reading() as connection:
            return [InboxRow(**row) for row in (await connection.execute(query)).mappings()]

    @unbroken
    async def find_event(self, event_id: str) -> InboxRow | None:
        """The event with Stripe's id."""
        if not is_storable(event_id):
            return None
        query = select(INBOX).where(INBOX.c.event_id == event_id)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else InboxRow(**row)

    @unbroken
    async def find_last_dead(self) -> InboxRow | None:
        """The event that died last, which need not be the one that came last."""
        dead = select(INBOX).where(INBOX.c.status == "dead")
        async with self._database.reading() as connection:
            rows = await connection.execute(dead.order_by(INBOX.c.finished_at.desc(), INBOX.c.position.desc()).limit(1))
            row = rows.mappings().one_or_none()
        return None if row is None else InboxRow(**row)

    @unbroken
    async def inbox_counts(self) -> InboxCounts:
        """How many events are open or dead, and since when the oldest open one has been waiting.

        Cheap at any size of the inbox: the done ones, which are nearly all, are not touched.
        """
        query = select(INBOX.c.status, func.count().label("events"), func.min(INBOX.c.received_at).label("oldest"))
        async with self._database.reading() as connection:
            rows = (await connection.execute(query.where(INBOX.c.status.in_(_COUNTED)).group_by(INBOX.c.status))).all()
        return InboxCounts(
            by_status=dict.fromkeys(_COUNTED, 0) | {row.status: row.events for row in rows},
            oldest_open_at=min((row.oldest for row in rows if row.status in _OPEN), default=None),
        )

    @unbroken
    async def forget_events(self, older_than: int) -> int:
        """Delete events that were done before `older_than`, in small steps. Dead ones stay until somebody sees to them.

        Returns:
            How many were deleted: one call takes a bounded number, the next ones take the rest.
        """
        old = (
            select(INBOX.c.position)
            .where(INBOX.c.status == "done", INBOX.c.finished_at < older_than)
            .limit(_FORGOTTEN_AT_ONCE)
        )
        forgotten = 0
        while forgotten < _FORGOTTEN_A_CALL:
            async with self._database.writing_once() as connection:
                gone = await connection.execute(delete(INBOX).where(INBOX.c.position.in_(old)))
            forgotten += gone.rowcount
            if gone.rowcount < _FORGOTTEN_AT_ONCE:
                break
        return forgotten
