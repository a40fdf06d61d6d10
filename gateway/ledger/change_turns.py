"""Whose turn it is to change a customer's subscription: one at a time, on all workers together.

A change of a subscription takes several requests to Stripe, and each is made of what the one before
answered. A turn that is not given back, because its worker was lost, is over at its instant.
"""

from __future__ import annotations

from sqlalchemy import delete, select

from gateway.ledger.part import LedgerPart, unbroken
from gateway.ledger.tables import CHANGE_TURNS


class ChangeTurns(LedgerPart):
    """Turns at changing subscriptions."""

    @unbroken
    async def take_change_turn(self, customer_id: str, holder: str, *, now: int, until: int) -> bool:
        """Have the turn from `now` to `until` (Unix seconds).

        Args:
            customer_id: Whose subscription is to be changed.
            holder: A name that nobody else has.

        Returns:
            False: somebody else has it.

        Raises:
            LedgerUnavailable: The ledger cannot be used.
        """
        insert = self._database.insert(CHANGE_TURNS).values(customer_id=customer_id, holder=holder, until=until)
        take = insert.on_conflict_do_update(
            index_elements=[CHANGE_TURNS.c.customer_id],
            set_={"holder": holder, "until": until},
            where=CHANGE_TURNS.c.until <= now,
        ).returning(CHANGE_TURNS.c.holder)
        async with self._database.writing() as connection:
            return bool(await connection.scalar(take) == holder)

    @unbroken
    async def is_change_turn_taken(self, customer_id: str, now: int) -> bool:
        """Whether somebody has the turn. It only reads, so that waiting holds up nobody who writes.

        Raises:
            LedgerUnavailable: The ledger cannot be used.
        """
        turn = select(CHANGE_TURNS.c.holder).where(
            CHANGE_TURNS.c.customer_id == customer_id, CHANGE_TURNS.c.until > now
        )
        async with self._database.reading() as connection:
            return await connection.scalar(turn) is not None

    @unbroken
    async def find_change_turn_end(self, customer_id: str, now: int) -> int | None:
        """When the turn that somebody has is over at the latest (Unix seconds); None: nobody has it.

        Raises:
            LedgerUnavailable: The ledger cannot be used.
        """
        turn = select(CHANGE_TURNS.c.until).where(CHANGE_TURNS.c.customer_id == customer_id, CHANGE_TURNS.c.until > now)
        async with self._database.reading() as connection:
            until = await connection.scalar(turn)
        return None if until is None else int(until)

    @unbroken
    async def give_change_turn_back(self, customer_id: str, holder: str) -> None:
        """End the turn, if it is still this holder's."""
        is_own = (CHANGE_TURNS.c.customer_id == customer_id) & (CHANGE_TURNS.c.holder == holder)
        async with self._database.writing() as connection:
            await connection.execute(delete(CHANGE_TURNS).where(is_own))
