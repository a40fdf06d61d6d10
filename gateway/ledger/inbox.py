"""The webhook inbox: every Stripe event once, worked off under claims that end by themselves.

    pending -- claim --> claimed -- finish --> done
       ^                    |------ bury ----> dead
       |------ retry -------|
    A claim that ran out may be claimed by anyone: a crashed worker loses what it held.
    What people do with them is in `inbox_care`.

Events that come at the same time are stored in one transaction (`together`). A claim takes the oldest
events that are due, and with them what else is due about the same customers: one sync serves all of it.

Nothing here reads a clock: callers pass `now`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from sqlalchemy import select, union, update

from gateway.core.errors import LedgerUnavailable
from gateway.ledger.database import Database
from gateway.ledger.faults import is_undone
from gateway.ledger.part import LedgerPart, note, unbroken
from gateway.ledger.rows import InboxRow
from gateway.ledger.tables import INBOX, INBOX_IS_OPEN
from gateway.ledger.together import Together

_STORED_AT_ONCE: Final = 100
_CLAIMED_BESIDE: Final = 200
"""What a claim takes with it that is about the same: to rewrite it holds SQLite's write lock for a while, too."""


class Inbox(LedgerPart):
    """Stripe events, as they arrived."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._storing = Together(self._store_all, most=_STORED_AT_ONCE)
        self._arrive = database.insert(INBOX).on_conflict_do_nothing().returning(INBOX.c.event_id)

    @unbroken
    async def store_event(  # noqa: PLR0913 - they are what an event is
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
        due_at: int | None = None,
    ) -> bool:
        """Keep an event. When this returns, it survives a crash and a power cut.

        `about` is what events that one sync serves have in common, where it is not the Stripe customer. `due_at`: it
        is not worked on before; None: at once.

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
                "due_at": now if due_at is None else due_at,
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
    async def give_events_back(self, event_ids: Collection[str], worker: str, *, now: int) -> None:
        """Make claimed events due at once: their worker ends. Those whose claims were lost are left alone."""
        await self._release(event_ids, worker, status="pending", due_at=now, error="shut down")

    @unbroken
    async def bury_event(self, event_id: str, worker: str, *, now: int, error: str) -> bool:
        """Mark a claimed event dead: only `replay_event` tries it again. False if the claim was lost."""
        return bool(await self._release([event_id], worker, status="dead", finished_at=now, error=note(error)))

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
        async with self._database.writing_once(goes_first=True) as connection:
            return set((await connection.scalars(self._arrive, rows)).all())
