"""The reconciliation of all customers: one at a time, however many workers and commands there are.

Who has claimed it goes on in the order of ids and says after each page how far it is, and what there is to say of
the customers of that page. A claim that is not renewed runs out; then another goes on behind the last customer that
was done, and has what was said before. Nothing here reads a clock: callers pass `now`.

While nobody is to be ended without a word (a hold), the row is claimed in the hold's name whenever nobody reads. That
is nobody's claim to whoever knows holds, and another's to workers of earlier releases, which would end a few each day
for as long as they run beside newer ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import case, delete, func, select, update

from gateway.ledger.part import LedgerPart, note, unbroken
from gateway.ledger.rows import ReconciliationNote, ReconciliationRow
from gateway.ledger.tables import AUDIT_LOG, CUSTOMERS, RECONCILIATION, RECONCILIATION_NOTES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.ledger.database import Database

_NAME: Final = "customers"
_COLUMNS: Final = tuple(column for column in RECONCILIATION.columns if column.name != "name")
_HELD: Final = (
    select(func.count()).select_from(RECONCILIATION_NOTES).where(RECONCILIATION_NOTES.c.is_held).scalar_subquery()
)
_ANEW: Final = {"cursor": "", "checked": 0, "drifted": 0, "failed": 0, "ended": 0, "unbound": 0}
_HOLD: Final = "hold"
_FOR_GOOD: Final = 253_402_300_799
"""The last second of the year 9999: as far as a date goes that is shown to people."""
_NEWEST_AUDIT: Final = select(func.coalesce(func.max(AUDIT_LOG.c.audit_id), 0)).scalar_subquery()


class Reconciliation(LedgerPart):
    """How far it is, and who has it."""

    @unbroken
    async def find_reconciliation(self) -> ReconciliationRow | None:
        """The one that goes on, or the last one; None: there never was one."""
        async with self._database.reading() as connection:
            return await _find(connection)

    @unbroken
    async def await_reconciliation(self, *, now: int) -> ReconciliationRow:
        """The same; if there never was one, as if one had begun now and been given up: the next is due later."""
        async with self._database.reading() as connection:
            known = await _find(connection)
        if known is not None:
            return known
        row = {**_ANEW, "name": _NAME, "started_at": now, "cursor": None}
        async with self._database.writing() as connection:
            await connection.execute(self._database.insert(RECONCILIATION).values(row).on_conflict_do_nothing())
            return _required(await _find(connection))

    @unbroken
    async def claim_reconciliation(
        self,
        worker: str,
        *,
        now: int,
        lease_s: int,
        anew: bool = False,
        is_part: bool = False,
        started_at: int | None = None,
    ) -> ReconciliationRow | None:
        """Take it in hand for `lease_s` seconds: the one that was broken off, or a new one.

        Args:
            worker: Unique to one process's lifetime.
            now: Unix seconds.
            lease_s: How long the claim lasts, unless it is renewed.
            anew: Begin a new one, whatever became of the last.
            is_part: Only keep others away, to read some customers: one that was broken off stays so.
            started_at: Only if the last one began then: nobody has begun another meanwhile.

        Returns:
            Where to go on; None if another has it, or another was begun.
        """
        first = {**_ANEW, "name": _NAME, "started_at": now, "cursor": None}
        async with self._database.writing() as connection:
            await connection.execute(self._database.insert(RECONCILIATION).values(first).on_conflict_do_nothing())
            row = _required(await _find(connection, is_locking=True))
            if row.claimed_by not in {None, worker} and (row.claimed_until or 0) > now:
                return None
            if started_at is not None and row.started_at != started_at:
                return None
            changes: dict[str, Any] = {"claimed_by": worker, "claimed_until": now + lease_s}
            if not is_part and (anew or row.cursor is None):
                changes |= {**_ANEW, "started_at": now, "audited_from": _NEWEST_AUDIT}
                await connection.execute(delete(RECONCILIATION_NOTES))
            await connection.execute(update(RECONCILIATION).values(changes))
            return _required(await _find(connection))

    @unbroken
    async def keep_reconciliation(  # noqa: PLR0913 - by name: what a page adds up to
        self,
        worker: str,
        *,
        now: int,
        lease_s: int,
        cursor: str,
        checked: int,
        drifted: int,
        failed: int,
        unbound: int = 0,
        notes: Sequence[ReconciliationNote] = (),
    ) -> bool:
        """Say how far it is, and what of customers since, and renew the claim. False: it ran out and another has it."""
        values = {"cursor": cursor, "checked": checked, "drifted": drifted, "failed": failed, "unbound": unbound}
        async with self._database.writing() as connection:
            if not await _change_claimed(connection, worker, **values, claimed_until=now + lease_s):
                return False
            await _write_notes(self._database, connection, notes)
        return True

    @unbroken
    async def renew_reconciliation(self, worker: str, *, now: int, lease_s: int) -> bool:
        """Renew the claim, and say nothing. False: it ran out and another has it."""
        async with self._database.writing_once() as connection:
            return await _change_claimed(connection, worker, claimed_until=now + lease_s)

    @unbroken
    async def count_ended(self, worker: str) -> bool:
        """Write down that one more customer is about to be ended. False: the claim ran out and another has it."""
        async with self._database.writing_once() as connection:
            return await _change_claimed(connection, worker, ended=RECONCILIATION.c.ended + 1)

    @unbroken
    async def hold_endings(self, worker: str, *, now: int) -> bool:
        """From now on nobody is ended until somebody says how many may be. False: another has the claim."""
        since = func.coalesce(RECONCILIATION.c.held_since, now)
        async with self._database.writing_once() as connection:
            return await _change_claimed(connection, worker, held_since=since)

    @unbroken
    async def end_reconciliation(self, worker: str, *, now: int, is_complete: bool, ends_hold: bool = False) -> bool:
        """Give it up; if it is not complete, the next claim goes on with it. False: another has it.

        Args:
            worker: Who has it.
            now: Unix seconds.
            is_complete: Everybody was read.
            ends_hold: Somebody said how many may be ended, and that was enough: a few are ended without a word again.
        """
        ended: dict[str, Any] = {"cursor": None, "finished_at": now} if is_complete else {}
        if ends_hold:
            ended |= {"held_since": None, "claimed_by": None, "claimed_until": None}
        else:
            is_held = RECONCILIATION.c.held_since.is_not(None)
            ended |= {"claimed_by": case((is_held, _HOLD)), "claimed_until": case((is_held, _FOR_GOOD))}
        async with self._database.writing_once() as connection:
            return await _change_claimed(connection, worker, **ended)

    @unbroken
    async def list_reconciliation_notes(self) -> list[ReconciliationNote]:
        """What there is to say of single customers, by their ids, of the one that goes on, or the last one."""
        query = select(RECONCILIATION_NOTES).order_by(RECONCILIATION_NOTES.c.customer_id)
        async with self._database.reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [
            ReconciliationNote(**{**row, "findings": tuple((code, detail) for code, detail in row["findings"])})
            for row in rows
        ]

    @unbroken
    async def count_changed_since(self, audited_from: int, because: Collection[str]) -> int:
        """How many subscriptions were changed for one of these reasons, by rows of the audit log behind that one."""
        log = AUDIT_LOG.c
        query = select(func.count()).where(
            log.action == "subscription-changed", log.audit_id > audited_from, log.because.in_(because)
        )
        async with self._database.reading() as connection:
            return int(await connection.scalar(query) or 0)

    @unbroken
    async def oldest_sync(self) -> int | None:
        """When the customer was read that was not read for longest, of those that Stripe knows; None: there is none."""
        oldest = select(func.min(CUSTOMERS.c.synced_at)).where(
            CUSTOMERS.c.stripe_customer_id.is_not(None), CUSTOMERS.c.synced_at.is_not(None)
        )
        async with self._database.reading() as connection:
            found: int | None = await connection.scalar(oldest)
        return found


async def _change_claimed(connection: AsyncConnection, worker: str, **values: Any) -> bool:
    """Within the caller's transaction. False: another has it."""
    change = update(RECONCILIATION).where(RECONCILIATION.c.claimed_by == worker).values(values)
    return (await connection.execute(change)).rowcount > 0


async def _write_notes(database: Database, connection: AsyncConnection, notes: Sequence[ReconciliationNote]) -> None:
    """A page that is read again says anew what there is to say of its customers."""
    if not notes:
        return
    insert = database.insert(RECONCILIATION_NOTES)
    said = {name: insert.excluded[name] for name in ("is_missing", "is_held", "is_planned", "findings")}
    upsert = insert.on_conflict_do_update(index_elements=[RECONCILIATION_NOTES.c.customer_id], set_=said)
    rows = [
        {
            "customer_id": one.customer_id,
            "is_missing": one.is_missing,
            "is_held": one.is_held,
            "is_planned": one.is_planned,
            "findings": [[code, note(detail)] for code, detail in one.findings],
        }
        for one in notes
    ]
    await connection.execute(upsert, rows)


async def _find(connection: AsyncConnection, *, is_locking: bool = False) -> ReconciliationRow | None:
    query = select(*_COLUMNS, _HELD.label("held")).where(RECONCILIATION.c.name == _NAME)
    row = (
        (await connection.execute(query.with_for_update(of=RECONCILIATION) if is_locking else query))
        .mappings()
        .one_or_none()
    )
    if row is None:
        return None
    nobody = {"claimed_by": None, "claimed_until": None} if row["claimed_by"] == _HOLD else {}
    return ReconciliationRow(**{**row, **nobody})


def _required(row: ReconciliationRow | None) -> ReconciliationRow:
    if row is None:
        raise LookupError("the row of the reconciliation has gone")
    return row
