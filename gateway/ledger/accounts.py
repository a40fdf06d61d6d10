"""The account of a customer, read whole: what the cache gets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, bindparam, select

from gateway.core.account import Account, SpendCap
from gateway.core.credits import grant_order
from gateway.ledger.credits import GRANT_COLUMNS, read_grant
from gateway.ledger.key_records import RECORD_COLUMNS, read_record
from gateway.ledger.meter_tables import SPEND_CAPS
from gateway.ledger.part import LedgerPart, unbroken
from gateway.ledger.spend_caps import SPEND_CAP_COLUMNS, read_spend_cap
from gateway.ledger.subscriptions import SUBSCRIPTION_COLUMNS, read_subscription
from gateway.ledger.tables import API_KEYS, CREDIT_GRANTS, CUSTOMERS, SUBSCRIPTIONS, TIER_GRANTS
from gateway.ledger.tier_grants import TIER_GRANT_COLUMNS, read_tier_grant

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

# Both tables say created_at; these labels keep a customer's apart from a key's.
_CUSTOMER_COLUMNS = (
    CUSTOMERS.c.user_id,
    CUSTOMERS.c.version,
    CUSTOMERS.c.blocked,
    CUSTOMERS.c.created_at.label("customer_created_at"),
)
_ACCOUNT: Final = (
    select(
        *_CUSTOMER_COLUMNS,
        *SUBSCRIPTION_COLUMNS,
        *TIER_GRANT_COLUMNS,
        API_KEYS.c.digest,
        *RECORD_COLUMNS,
        *GRANT_COLUMNS,
        *SPEND_CAP_COLUMNS,
    )
    .select_from(CUSTOMERS)
    .outerjoin(SUBSCRIPTIONS, SUBSCRIPTIONS.c.customer_id == CUSTOMERS.c.customer_id)
    .outerjoin(TIER_GRANTS, TIER_GRANTS.c.customer_id == CUSTOMERS.c.customer_id)
    .outerjoin(
        API_KEYS,
        and_(API_KEYS.c.customer_id == CUSTOMERS.c.customer_id, API_KEYS.c.revoked_at.is_(None)),
    )
    .outerjoin(  # every key with every grant: both are few, and one statement is one instant
        CREDIT_GRANTS,
        and_(CREDIT_GRANTS.c.customer_id == CUSTOMERS.c.customer_id, CREDIT_GRANTS.c.ended.is_(None)),
    )
    .outerjoin(SPEND_CAPS, SPEND_CAPS.c.customer_id == CUSTOMERS.c.customer_id)
    .where(CUSTOMERS.c.customer_id == bindparam("whose"))
    .order_by(API_KEYS.c.created_at, API_KEYS.c.key_id)
)
"""Made once: to make it costs several times what it costs to run it."""


class Accounts(LedgerPart):
    """Customer, live keys, subscription, credits, spend caps and a tier by hand together."""

    @unbroken
    async def load_account(self, customer_id: str) -> Account | None:
        """The account with its version, both of one instant, because one statement reads them.

        Keys past their `expires_at` are included for minutes, and then until a key is issued or revoked, and
        credits for a day: whoever decides compares `expires_at` with its own `now`.

        Raises:
            LedgerUnavailable: The ledger cannot be used.
        """
        async with self._database.reading() as connection:
            return await self._read_account(connection, customer_id)

    async def _read_account(self, connection: AsyncConnection, customer_id: str) -> Account | None:
        rows = (await connection.execute(_ACCOUNT, {"whose": customer_id})).mappings().all()
        if not rows:
            return None
        first = rows[0]
        return Account(
            customer_id=customer_id,
            user_id=first["user_id"],
            version=first["version"],
            created_at=first["customer_created_at"],
            blocked=first["blocked"],
            subscription=read_subscription(first),
            keys={row["digest"]: read_record(row) for row in rows if row["digest"] is not None},
            grants=tuple(sorted({grant for row in rows if (grant := read_grant(row)) is not None}, key=grant_order)),
            tier_grant=read_tier_grant(first),
            spend_caps=tuple(sorted({cap for row in rows if (cap := read_spend_cap(row)) is not None}, key=_meter)),
        )


def _meter(cap: SpendCap) -> str:
    return cap.meter
