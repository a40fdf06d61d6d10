"""The webhook inbox: every Stripe event once, worked off under claims that end by themselves.

    pending -- claim --> claimed -- finish --> done
       ^                    |------ bury ----> dead
       |------ retry -------|
    A claim that ran out may be claimed by anyone: a crashed worker loses what it held.
    replay: pending, done or dead -> pending, due now.    acknowledge: dead -> done, by a person who saw to it.

Events that come at the same time are stored in one transaction (`together`). A claim takes the oldest
events that are due, and with them what else is due about the same customers: one sync serves all of it.

Nothing here reads a clock: callers pass `now`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import delete, func, select, union, update

from gateway.core.errors import LedgerUnavailable
from gateway.ledger.database import Database
from gateway.ledger.faults import is_undone
from gateway.ledger.part import LedgerPart, append_audit, is_storable, note, unbroken
from gateway.ledger.rows import InboxCounts, InboxRow
from gateway.ledger.tables import INBOX, INBOX_IS_OPEN
from gateway.ledger.together import Together

KEPT_S: Final = 35 * 86_400
"""How long an event is kept after it was done: longer than the 30 days for which Stripe shows and resends it."""
_OPEN: Final = ("pending", "claimed")
_COUNTED: Final = (*_OPEN, "dead")
_FORGOTTEN_AT_ONCE: Final = 500
"""Rows one deletion may take: it holds SQLite's write lock for some 40 ms, and a webhook waits behind it."""
_FORGOTTEN_A_CALL: Final = 10_000
_STORED_AT_ONCE: Final = 100
_CLAIMED_BESIDE: Final = 200
"""What a claim takes with it that is about the same: to rewrite it holds SQLite's write lock for a while, too."""


class Inbox(LedgerPart):
    """Stripe events, as they arrived."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._storing = Together(self._store_all, most=_STORED_AT_ONCE)

    @unbroken
    async def store_event(
        self,
        *,
        event_id: str,
        type: str,  # noqa: A002 - Stripe's name for it
        stripe_customer_id: str | None,
        livemode: bool,
        api_version: str | None,
        payload: str,
        now: int,
        about: str | None = None,
    ) -> bool:
        """Keep an event. When this returns, it survives a crash and a power cut.

        `about` is what events that one sync serves have in common, where it is not the Stripe customer.

        Returns:
            False if it is here already, whatever became of it.

        Raises:
            LedgerUnavailable: It was not stored, or nobody knows: it must not be acknowledged.
        """
        return await self._storing.add(
            {
                "event_id": event_id,
                "type": type,
                "stripe_customer_id": stripe_customer_id,
                "about": about or stripe_customer_id,
                "livemode": livemode,
                "api_version": api_version,
                "payload": payload,
                "received_at": now,
                "status": "pending",
                "attempts": 0,
                "failures": 0,
                "due_at": now,
            }
        )

    @unbroken
    async def claim_events(self, *, worker: str, now: int, lease_s: int, limit: int) -> list[InboxRow]:
        """Claim events that are due, oldest first, for `lease_s` seconds. No event has two live claims.

        Args:
            worker: Unique to one process's lifetime: a restarted worker must not pass for the crashed one.
            now: Unix seconds.
            lease_s: How long the claims last.
            limit: At most so many, and a bounded number that are about the same as these.

        Raises:
            LedgerUnavailable: The ledger cannot be used.
        """
        is_due = (INBOX_IS_OPEN, INBOX.c.due_at <= now)
        # skip_locked: PostgreSQL only; SQLite has one writer at a time anyway
        oldest = (
            select(INBOX.c.position, INBOX.c.about)
            .where(*is_due)
            .order_by(INBOX.c.position)
            .limit(limit)
            .with_for_update(skip_locked=True)
            .cte("oldest")
        )
        beside = (
            select(INBOX.c.position)
            .where(*is_due, INBOX.c.about.in_(select(oldest.c.about)))
            .order_by(INBOX.c.position)
            .limit(limit + _CLAIMED_BESIDE)
            .with_for_update(skip_locked=True)
            .cte("beside")
        )
        due = union(select(oldest.c.position), select(beside.c.position))
        claim = (
            update(INBOX)
            .where(INBOX.c.position.in_(due))
            .values(status="claimed", claimed_by=worker, due_at=now + lease_s, attempts=INBOX.c.attempts + 1)
            .returning(INBOX)
        )
        async with self._database.writing_once() as connection:
            rows = (await connection.execute(claim)).mappings().all()
        return sorted((InboxRow(**row) for row in rows), key=lambda row: row.position)

    @unbroken
    async def finish_events(self, event_ids: Collection[str], worker: str, *, now: int, outcome: str) -> set[str]:
        """Mark claimed events done, all at once.

        Returns:
            Those that are: the claims of the others were lost.
        """
        return await self._release(event_ids, worker, status="done", finished_at=now, outcome=note(outcome), error=None)

    @unbroken
    async def retry_event(
        self, event_id: str, worker: str, *, next_attempt_at: int, error: str, failed: bool = False
    ) -> bool:
        """Give a claimed event back, due at `next_attempt_at`. False if the claim was lost.

        Args:
            event_id: Stripe's.
            worker: Who has it.
            next_attempt_at: Unix seconds.
            error: Why, for people.
            failed: Whether the event itself failed: counted in `failures`.
        """
        failures = INBOX.c.failures + int(failed)
        changes = {"status": "pending", "due_at": next_attempt_at, "error": note(error), "failures": failures}
        return bool(await self._release([event_id], worker, **changes))

    @unbroken
    async def bury_event(self, event_id: str, worker: str, *, now: int, error: str) -> bool:
        """Mark a claimed event dead: only `replay_event` tries it again. False if the claim was lost."""
        return bool(await self._release([event_id], worker, status="dead", finished_at=now, error=note(error)))

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

    async def _release(self, event_ids: Collection[str], worker: str, **changes: Any) -> set[str]:
        release = (
            update(INBOX)
            .where(INBOX.c.event_id.in_(event_ids), INBOX.c.status == "claimed", INBOX.c.claimed_by == worker)
            .values(claimed_by=None, **changes)
            .returning(INBOX.c.event_id)
        )
        async with self._database.writing_once() as connection:
            return set((await connection.scalars(release)).all())

    async def _store_all(self, rows: Sequence[Mapping[str, Any]]) -> list[bool]:
        """Store events in one statement. Of two with one id, only the first is new.

        In the order of their ids: two workers that have the same events wait for one another in one direction.
        """
        ordered = sorted(rows, key=itemgetter("event_id"))
        try:
            new = await self._insert_events(ordered)
        except LedgerUnavailable as error:
            if not is_undone(error):
                raise
            new = await self._insert_events(ordered)
        told = []
        for row in rows:
            told.append(row["event_id"] in new)
            new.discard(row["event_id"])
        return told

    async def _insert_events(self, rows: list[Mapping[str, Any]]) -> set[str]:
        insert = self._database.insert(INBOX).on_conflict_do_nothing().returning(INBOX.c.event_id)
        async with self._database.writing_once() as connection:
            return set((await connection.scalars(insert, rows)).all())
