"""The reconciliation of all customers: one at a time, however many workers and commands there are.

Who has claimed it goes on in the order of ids and says after each page how far it is. A claim that is
not renewed runs out; then another goes on behind the last customer that was done. Nothing here reads a
clock: callers pass `now`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import func, select, update

from gateway.ledger.part import LedgerPart, unbroken
from gateway.ledger.rows import ReconciliationRow
from gateway.ledger.tables import CUSTOMERS, RECONCILIATION

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_NAME: Final = "customers"
_COLUMNS: Final = tuple(column for column in RECONCILIATION.columns if column.name != "name")
_ANEW: Final = {"cursor": "", "checked": 0, "drifted": 0, "failed": 0, "ended": 0}


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
        self, worker: str, *, now: int, lease_s: int, anew: bool = False, started_at: int | None = None
    ) -> ReconciliationRow | None:
        """Take it in hand for `lease_s` seconds: the one that was broken off, or a new one.

        Args:
            worker: Unique to one process's lifetime.
            now: Unix seconds.
            lease_s: How long the claim lasts, unless it is renewed.
            anew: Begin a new one, whatever became of the last.
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
            if anew or row.cursor is None:
                changes |= {**_ANEW, "started_at": now}
            await connection.execute(update(RECONCILIATION).values(changes))
            return _required(await _find(connection))

    @unbroken
    async def keep_reconciliation(
        self, worker: str, *, now: int, lease_s: int, cursor: str, checked: int, drifted: int, failed: int
    ) -> bool:
        """Say how far it is and renew the claim. False: the claim ran out and another has it."""
        values = {"cursor": cursor, "checked": checked, "drifted": drifted, "failed": failed}
        return await self._change_claimed(worker, **values, claimed_until=now + lease_s)

    @unbroken
    async def count_ended(self, worker: str) -> bool:
        """Write down that one more customer is about to be ended. False: the claim ran out and another has it."""
        return await self._change_claimed(worker, ended=RECONCILIATION.c.ended + 1)

    @unbroken
    async def end_reconciliation(self, worker: str, *, now: int, is_complete: bool) -> bool:
        """Give it up; if it is not complete, the next claim goes on with it. False: another has it."""
        ended: dict[str, Any] = {"cursor": None, "finished_at": now} if is_complete else {}
        return await self._change_claimed(worker, **ended, claimed_by=None, claimed_until=None)

    @unbroken
    async def oldest_sync(self) -> int | None:
        """When the customer was read that was not read for longest, of those that Stripe knows; None: there is none."""
        oldest = select(func.min(CUSTOMERS.c.synced_at)).where(
            CUSTOMERS.c.stripe_customer_id.is_not(None), CUSTOMERS.c.synced_at.is_not(None)
        )
        async with self._database.reading() as connection:
            found: int | None = await connection.scalar(oldest)
        return found

    async def _change_claimed(self, worker: str, **values: Any) -> bool:
        change = update(RECONCILIATION).where(RECONCILIATION.c.claimed_by == worker).values(values)
        async with self._database.writing_once() as connection:
            return (await connection.execute(change)).rowcount > 0


async def _find(connection: AsyncConnection, *, is_locking: bool = False) -> ReconciliationRow | None:
    query = select(*_COLUMNS).where(RECONCILIATION.c.name == _NAME)
    row = (await connection.execute(query.with_for_update() if is_locking else query)).mappings().one_or_none()
    return None if row is None else ReconciliationRow(**row)


def _required(row: ReconciliationRow | None) -> ReconciliationRow:
    if row is None:
        raise LookupError("the row of the reconciliation has gone")
    return row
