"""Tiers granted by hand: at most one for each customer, for a time.

What was granted before is in the audit log. A grant that is over stays until another replaces it or it
is taken back: that it is over is a fact of time, and nothing has to be written for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import RowMapping, delete, select

from gateway.core.account import TierGrant
from gateway.ledger.part import LedgerPart, append_audit, lock_customer, note, raise_version, unbroken
from gateway.ledger.rows import TierGrantRow
from gateway.ledger.tables import TIER_GRANTS

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.core.audited import Assess

# Credits have an instant of the same name; these labels keep a tier's apart.
TIER_GRANT_COLUMNS: Final = (
    TIER_GRANTS.c.tier.label("granted_tier"),
    TIER_GRANTS.c.granted_at.label("tier_granted_at"),
    TIER_GRANTS.c.ends_at.label("tier_ends_at"),
)


def read_tier_grant(row: RowMapping | dict[str, Any]) -> TierGrant | None:
    """The grant of a row that has `TIER_GRANT_COLUMNS`; None if an outer join found none."""
    if row["granted_tier"] is None:
        return None
    return TierGrant(tier=row["granted_tier"], granted_at=row["tier_granted_at"], ends_at=row["tier_ends_at"])


class TierGrants(LedgerPart):
    """The tier that each customer has by hand."""

    @unbroken
    async def grant_tier(
        self, row: TierGrantRow, *, now: int, actor: str, assess: Assess | None = None
    ) -> TierGrantRow | None:
        """Grant a tier, in the place of what was granted before.

        The same tier to the same end again changes nothing, so an answer that got lost is asked for again.

        Returns:
            The grant before; None if there was none.

        Raises:
            CustomerUnknown: No such customer.
            LedgerUnavailable: The ledger cannot be used.
        """
        async with self._database.writing() as connection:
            await lock_customer(connection, row.customer_id)
            before = await _find(connection, row.customer_id)
            if before is not None and _terms(before) == _terms(row):
                return before
            access_before = await self._access(connection, row.customer_id, assess)
            await raise_version(connection, row.customer_id)
            values = {
                "tier": row.grant.tier,
                "granted_at": row.grant.granted_at,
                "ends_at": row.grant.ends_at,
                "reason": note(row.reason),
            }
            await connection.execute(
                self._database.insert(TIER_GRANTS)
                .values(customer_id=row.customer_id, **values)
                .on_conflict_do_update(index_elements=[TIER_GRANTS.c.customer_id], set_=values)
            )
            await append_audit(
                connection,
                at=now,
                customer_id=row.customer_id,
                actor=actor,
                action="tier-granted",
                because=row.reason,
                before=None if before is None else _shown(before),
                after=_shown(row),
                access_before=access_before,
                access_after=await self._access(connection, row.customer_id, assess),
            )
        return before

    @unbroken
    async def take_tier_back(
        self, customer_id: str, *, now: int, actor: str, because: str, assess: Assess | None = None
    ) -> bool:
        """End what was granted, now.

        Returns:
            Whether there was a grant, in force or over.

        Raises:
            CustomerUnknown: No such customer.
            LedgerUnavailable: The ledger cannot be used.
        """
        async with self._database.writing() as connection:
            await lock_customer(connection, customer_id)
            before = await _find(connection, customer_id)
            if before is None:
                return False
            access_before = await self._access(connection, customer_id, assess)
            await raise_version(connection, customer_id)
            await connection.execute(delete(TIER_GRANTS).where(TIER_GRANTS.c.customer_id == customer_id))
            await append_audit(
                connection,
                at=now,
                customer_id=customer_id,
                actor=actor,
                action="tier-ungranted",
                because=because,
                before=_shown(before),
                access_before=access_before,
                access_after=await self._access(connection, customer_id, assess),
            )
        return True

    @unbroken
    async def find_tier_grant(self, customer_id: str) -> TierGrantRow | None:
        """What was granted last and not taken back, in force or over."""
        async with self._database.reading() as connection:
            return await _find(connection, customer_id)


async def _find(connection: AsyncConnection, customer_id: str) -> TierGrantRow | None:
    query = select(TIER_GRANTS).where(TIER_GRANTS.c.customer_id == customer_id)
    row = (await connection.execute(query)).mappings().one_or_none()
    if row is None:
        return None
    grant = TierGrant(tier=row["tier"], granted_at=row["granted_at"], ends_at=row["ends_at"])
    return TierGrantRow(customer_id=customer_id, grant=grant, reason=row["reason"])


def _terms(row: TierGrantRow) -> tuple[str, int]:
    return row.grant.tier, row.grant.ends_at


def _shown(row: TierGrantRow) -> dict[str, Any]:
    """A grant for the audit log."""
    return {"tier": row.grant.tier, "granted_at": row.grant.granted_at, "ends_at": row.grant.ends_at}
