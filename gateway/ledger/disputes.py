"""Which payments of a customer are disputed, as far as anybody told us: where a read of Stripe has to look.

Stripe lists no disputes by customer. So an id is noted here before the fence of the read that looks at it:
whichever read is recorded last has looked at every dispute that was noted before it began.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import bindparam, delete, select

from gateway.ledger.part import LedgerPart, unbroken
from gateway.ledger.tables import DISPUTES

_LISTED: Final = (
    select(DISPUTES.c.dispute_id).where(DISPUTES.c.customer_id == bindparam("whose")).order_by(DISPUTES.c.dispute_id)
)


class Disputes(LedgerPart):
    """Disputes that may be open."""

    @unbroken
    async def note_dispute(self, dispute_id: str, customer_id: str, now: int) -> None:
        """Have every later read of this customer look at the dispute. Noting it again changes nothing."""
        insert = (
            self._database.insert(DISPUTES)
            .values(dispute_id=dispute_id, customer_id=customer_id, noted_at=now)
            .on_conflict_do_nothing()
        )
        async with self._database.writing() as connection:
            await connection.execute(insert)

    @unbroken
    async def list_disputes(self, customer_id: str) -> tuple[str, ...]:
        """The disputes to look at, in the order of their ids."""
        async with self._database.reading() as connection:
            return tuple(await connection.scalars(_LISTED, {"whose": customer_id}))

    @unbroken
    async def forget_disputes(self, dispute_ids: tuple[str, ...]) -> None:
        """Look at these no more: Stripe said that they are closed. One that is opened again has an event again."""
        async with self._database.writing() as connection:
            await connection.execute(delete(DISPUTES).where(DISPUTES.c.dispute_id.in_(dispute_ids)))
