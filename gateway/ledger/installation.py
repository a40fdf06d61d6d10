"""What the ledger was made with, so that it is not used with something else by mistake."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from sqlalchemy import delete, select

from gateway.ledger.meter_tables import ENDED_PERIODS
from gateway.ledger.part import LedgerPart, append_audit, raise_version, unbroken
from gateway.ledger.subscriptions import SUBSCRIPTION_COLUMNS, read_subscription
from gateway.ledger.tables import CUSTOMERS, INSTALLATION, SUBSCRIPTIONS, SWEEPS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.core.audited import Assess

STRIPE_ACCOUNT: Final = "stripe-account"
"""Name of the fact that says which account of Stripe the ledger belongs to."""

LEDGER_ID: Final = "ledger-id"
"""Name of the fact that tells this ledger from others whose gateways share its account of Stripe. A backup has it."""

_LEFT_AT_ONCE: Final = 200
"""Customers that leave in one transaction."""


class Installation(LedgerPart):
    """Facts by name. What they mean is `gateway.installation`'s."""

    _ledger_id: str | None = None
    """Read once: nothing changes it, not even another account of Stripe."""

    @unbroken
    async def load_facts(self) -> dict[str, str]:
        """Every fact."""
        async with self._database.reading() as connection:
            return await _read(connection)

    @unbroken
    async def keep_facts(self, facts: Mapping[str, str], *, now: int) -> dict[str, str]:
        """Record facts that have no value yet; of several processes at once, the first one's stand.

        Returns:
            Every fact as it is recorded now.
        """
        async with self._database.reading() as connection:
            recorded = await _read(connection)
        if facts.keys() <= recorded.keys():
            return recorded
        async with self._database.writing() as connection:
            rows = [{"name": name, "value": value, "recorded_at": now} for name, value in facts.items()]
            await connection.execute(self._database.insert(INSTALLATION).values(rows).on_conflict_do_nothing())
            return await _read(connection)

    @unbroken
    async def keep_ledger_id(self, *, now: int) -> str:
        """This ledger's id; one that has none yet gets one, and keeps it for ever."""
        if self._ledger_id is None:
            self._ledger_id = (await self.keep_facts({LEDGER_ID: uuid4().hex}, now=now))[LEDGER_ID]
        return self._ledger_id

    @unbroken
    async def find_ledger_id(self) -> str | None:
        """This ledger's id; None: it has none yet, so nothing at Stripe can name it."""
        if self._ledger_id is None:
            self._ledger_id = (await self.load_facts()).get(LEDGER_ID)
        return self._ledger_id

    @unbroken
    async def replace_facts(self, facts: Mapping[str, str], *, now: int, actor: str) -> None:
        """Record facts instead of those that were."""
        async with self._database.writing() as connection:
            await self._replace(connection, facts, now=now, actor=actor)

    @unbroken
    async def leave_stripe(
        self,
        facts: Mapping[str, str],
        *,
        without: tuple[str, ...],
        now: int,
        actor: str,
        assess: Assess | None = None,
    ) -> int:
        """Replace facts, forget those in `without`, and every customer's Stripe customer and subscription.

        How far sweeps are is forgotten too: it is said of the account that is left.

        Each customer has its row in the audit log. Some at a time, so that others may write between; the facts come
        last, with the certainty that nobody is left. One that was broken off is done again, and goes on.

        Returns:
            How many customers had one of these.
        """
        left = 0
        while True:
            async with self._database.writing() as connection:
                some = await self._leave_some(connection, now=now, actor=actor, assess=assess)
                left += some
                if not some:
                    await connection.execute(delete(INSTALLATION).where(INSTALLATION.c.name.in_(without)))
                    await connection.execute(delete(ENDED_PERIODS))
                    await connection.execute(delete(SWEEPS))
                    await self._replace(connection, facts, now=now, actor=actor)
                    return left

    async def _leave_some(self, connection: AsyncConnection, *, now: int, actor: str, assess: Assess | None) -> int:
        is_bound = CUSTOMERS.c.stripe_customer_id.is_not(None) | SUBSCRIPTIONS.c.customer_id.is_not(None)
        query = (
            select(CUSTOMERS.c.customer_id, CUSTOMERS.c.stripe_customer_id, *SUBSCRIPTION_COLUMNS)
            .outerjoin(SUBSCRIPTIONS, SUBSCRIPTIONS.c.customer_id == CUSTOMERS.c.customer_id)
            .where(is_bound)
            .order_by(CUSTOMERS.c.customer_id)
            .limit(_LEFT_AT_ONCE)
            .with_for_update(of=CUSTOMERS)
        )
        rows = (await connection.execute(query)).mappings().all()
        for row in rows:
            customer_id, subscription = row["customer_id"], read_subscription(row)
            access_before = await self._access(connection, customer_id, assess)
            await raise_version(connection, customer_id, stripe_customer_id=None)
            await connection.execute(delete(SUBSCRIPTIONS).where(SUBSCRIPTIONS.c.customer_id == customer_id))
            await append_audit(
                connection,
                at=now,
                customer_id=customer_id,
                actor=actor,
                action="stripe-customer-left",
                because="the ledger goes on with another Stripe account",
                before={
                    "stripe_customer_id": row["stripe_customer_id"],
                    "subscription": None if subscription is None else asdict(subscription),
                },
                access_before=access_before,
                access_after=await self._access(connection, customer_id, assess),
            )
        return len(rows)

    async def _replace(self, connection: AsyncConnection, facts: Mapping[str, str], *, now: int, actor: str) -> None:
        await connection.execute(delete(INSTALLATION).where(INSTALLATION.c.name.in_(facts)))
        rows = [{"name": name, "value": value, "recorded_at": now} for name, value in facts.items()]
        if rows:
            await connection.execute(self._database.insert(INSTALLATION).values(rows))
        await append_audit(
            connection,
            at=now,
            customer_id=None,
            actor=actor,
            action="installation-changed",
            because=f"accepted: {', '.join(facts) or 'no Stripe'}",
        )


async def _read(connection: AsyncConnection) -> dict[str, str]:
    rows = await connection.execute(select(INSTALLATION.c.name, INSTALLATION.c.value))
    return {name: value for name, value in rows}  # noqa: C416 - rows of two are no pairs to mypy
