"""Checkout sessions: whose they are, and who collects the first key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, select, update

from gateway.ledger.part import LedgerPart, is_storable, unbroken
from gateway.ledger.rows import CheckoutRow
from gateway.ledger.tables import CHECKOUTS

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

KEPT_S: Final = 90 * 86_400
"""How long a session is kept: longer than its key can be collected, and than Stripe tells of a payment that is late."""
_FORGOTTEN_AT_ONCE: Final = 500
_FORGOTTEN_A_CALL: Final = 10_000


async def claim_checkout_within(
    connection: AsyncConnection, session_id: str, key_id: str, *, now: int, customer_id: str | None = None
) -> bool:
    """Claim a checkout once, within the caller's transaction. `customer_id`: only if it is this one's."""
    claim = update(CHECKOUTS).where(CHECKOUTS.c.session_id == session_id, CHECKOUTS.c.claimed_at.is_(None))
    if customer_id is not None:
        claim = claim.where(CHECKOUTS.c.customer_id == customer_id)
    claimed = await connection.scalar(claim.values(claimed_at=now, key_id=key_id).returning(CHECKOUTS.c.session_id))
    return claimed is not None


async def show_successor_within(
    connection: AsyncConnection, session_id: str, *, customer_id: str, key_id: str, successor_id: str
) -> bool:
    """Make a successor the key that a checkout showed last, within the caller's transaction, if that was `key_id`."""
    shown = await connection.scalar(
        update(CHECKOUTS)
        .where(
            CHECKOUTS.c.session_id == session_id,
            CHECKOUTS.c.customer_id == customer_id,
            CHECKOUTS.c.key_id == key_id,
        )
        .values(key_id=successor_id)
        .returning(CHECKOUTS.c.session_id)
    )
    return shown is not None


class Checkouts(LedgerPart):
    """Checkout sessions that we created at Stripe."""

    @unbroken
    async def add_checkout(
        self, *, session_id: str, customer_id: str, plan_id: str, claim_digest: str | None, now: int
    ) -> None:
        """Record a session. One that is recorded already stays as it is: Stripe answers a repeat alike.

        Raises:
            LedgerUnavailable: The ledger cannot be used.
        """
        async with self._database.writing_once() as connection:
            await connection.execute(
                self._database.insert(CHECKOUTS)
                .values(
                    session_id=session_id,
                    customer_id=customer_id,
                    plan_id=plan_id,
                    claim_digest=claim_digest,
                    created_at=now,
                )
                .on_conflict_do_nothing()
            )

    @unbroken
    async def find_checkout(self, session_id: str) -> CheckoutRow | None:
        """The session with Stripe's id."""
        if not is_storable(session_id):
            return None
        query = select(CHECKOUTS).where(CHECKOUTS.c.session_id == session_id)
        async with self._database.reading() as connection:
            row = (await connection.execute(query)).mappings().one_or_none()
        return None if row is None else CheckoutRow(**row)

    @unbroken
    async def claim_checkout(self, session_id: str, key_id: str, *, now: int) -> bool:
        """Hand out the session's first key: true for one caller only, however many ask at once."""
        async with self._database.writing_once() as connection:
            return await claim_checkout_within(connection, session_id, key_id, now=now)

    @unbroken
    async def forget_checkouts(self, older_than: int) -> int:
        """Delete sessions that were created before `older_than`, in small steps.

        Returns:
            How many were deleted: one call takes a bounded number, the next ones take the rest.
        """
        old = select(CHECKOUTS.c.session_id).where(CHECKOUTS.c.created_at < older_than).limit(_FORGOTTEN_AT_ONCE)
        forgotten = 0
        while forgotten < _FORGOTTEN_A_CALL:
            async with self._database.writing_once() as connection:
                gone = await connection.execute(delete(CHECKOUTS).where(CHECKOUTS.c.session_id.in_(old)))
            forgotten += gone.rowcount
            if gone.rowcount < _FORGOTTEN_AT_ONCE:
                break
        return forgotten
