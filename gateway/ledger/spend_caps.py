"""Caps that customers set on what they pay for overage. The account carries them, so a change holds at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import RowMapping, delete, select

from gateway.core.account import SpendCap
from gateway.ledger.meter_rows import SpendCapRow
from gateway.ledger.meter_tables import SPEND_CAPS
from gateway.ledger.part import LedgerPart, append_audit, lock_customer, raise_version, unbroken

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

# Credits have a meter too; these labels keep a cap's apart.
SPEND_CAP_COLUMNS: Final = (
    SPEND_CAPS.c.meter.label("cap_meter"),
    SPEND_CAPS.c.amount.label("cap_amount"),
    SPEND_CAPS.c.currency.label("cap_currency"),
)


def read_spend_cap(row: RowMapping | dict[str, Any]) -> SpendCap | None:
    """The cap of a row that has `SPEND_CAP_COLUMNS`; None if an outer join found none."""
    if row["cap_meter"] is None:
        return None
    return SpendCap(meter=row["cap_meter"], amount=row["cap_amount"], currency=row["cap_currency"])


class SpendCaps(LedgerPart):
    """The spend caps of every customer."""

    @unbroken
    async def set_spend_cap(self, row: SpendCapRow, *, actor: str, because: str) -> bool:
        """Set a cap in the place of the one before.

        Returns:
            Whether that changed anything.

        Raises:
            CustomerUnknown: No such customer.
            LedgerUnavailable: The ledger cannot be used.
        """
        cap = row.cap
        values = {"amount": cap.amount, "currency": cap.currency, "set_at": row.set_at}
        async with self._database.writing() as connection:
            await lock_customer(connection, row.customer_id)
            before = await _find(connection, row.customer_id, cap.meter)
            if before is not None and before.cap == cap:
                return False
            await raise_version(connection, row.customer_id)
            await connection.execute(
                self._database.insert(SPEND_CAPS)
                .values(customer_id=row.customer_id, meter=cap.meter, **values)
                .on_conflict_do_update(index_elements=[SPEND_CAPS.c.customer_id, SPEND_CAPS.c.meter], set_=values)
            )
            await append_audit(
                connection,
                at=row.set_at,
                customer_id=row.customer_id,
                actor=actor,
                action="spend-cap-set",
                because=because,
                before=None if before is None else _shown(before.cap),
                after=_shown(cap),
            )
        return True

    @unbroken
    async def drop_spend_cap(self, customer_id: str, meter: str, *, now: int, actor: str, because: str) -> bool:
        """Let policy's cap hold again.

        Returns:
            Whether there was a cap.

        Raises:
            CustomerUnknown: No such customer.
            LedgerUnavailable: The ledger cannot be used.
        """
        async with self._database.writing() as connection:
            await lock_customer(connection, customer_id)
            before = await _find(connection, customer_id, meter)
            if before is None:
                return False
            await raise_version(connection, customer_id)
            await connection.execute(delete(SPEND_CAPS).where(*_is(customer_id, meter)))
            await append_audit(
                connection,
                at=now,
                customer_id=customer_id,
                actor=actor,
                action="spend-cap-removed",
                because=because,
                before=_shown(before.cap),
            )
        return True


async def _find(connection: AsyncConnection, customer_id: str, meter: str) -> SpendCapRow | None:
    row = (await connection.execute(select(SPEND_CAPS).where(*_is(customer_id, meter)))).mappings().one_or_none()
    if row is None:
        return None
    cap = SpendCap(meter=meter, amount=row["amount"], currency=row["currency"])
    return SpendCapRow(customer_id=customer_id, cap=cap, set_at=row["set_at"])


def _is(customer_id: str, meter: str) -> tuple[Any, ...]:
    return SPEND_CAPS.c.customer_id == customer_id, SPEND_CAPS.c.meter == meter


def _shown(cap: SpendCap) -> dict[str, Any]:
    return {"meter": cap.meter, "amount": cap.amount, "currency": cap.currency}
