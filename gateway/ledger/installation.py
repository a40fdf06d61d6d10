"""What the ledger was made with, so that it is not used with something else by mistake."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, select, update

from gateway.ledger.part import LedgerPart, append_audit, unbroken
from gateway.ledger.tables import CUSTOMERS, INSTALLATION, SUBSCRIPTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

STRIPE_ACCOUNT: Final = "stripe-account"
"""Name of the fact that says which account of Stripe the ledger belongs to."""


class Installation(LedgerPart):
    """Facts by name. What they mean is `gateway.installation`'s."""

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
    async def replace_facts(self, facts: Mapping[str, str], *, now: int, actor: str) -> None:
        """Record facts instead of those that were."""
        async with self._database.writing() as connection:
            await self._replace(connection, facts, now=now, actor=actor)

    @unbroken
    async def leave_stripe(self, facts: Mapping[str, str], *, without: tuple[str, ...], now: int, actor: str) -> int:
        """Replace facts, forget those in `without`, and every customer's Stripe customer and subscription.

        Returns:
            How many customers had one of these.
        """
        has_subscription = select(SUBSCRIPTIONS.c.customer_id)
        bound = CUSTOMERS.c.stripe_customer_id.is_not(None) | CUSTOMERS.c.customer_id.in_(has_subscription)
        async with self._database.writing() as connection:
            left = await connection.execute(
                update(CUSTOMERS).where(bound).values(stripe_customer_id=None, version=CUSTOMERS.c.version + 1)
            )
            await connection.execute(delete(SUBSCRIPTIONS))
            await connection.execute(delete(INSTALLATION).where(INSTALLATION.c.name.in_(without)))
            await self._replace(connection, facts, now=now, actor=actor)
        return left.rowcount

    async def _replace(self, connection: AsyncConnection, facts: Mapping[str, str], *, now: int, actor: str) -> None:
        await connection.execute(delete(INSTALLATION).where(INSTALLATION.c.name.in_(facts)))
        rows = [{"name": name, "value": value, "recorded_at": now} for name, value in facts.items()]
        await connection.execute(self._database.insert(INSTALLATION).values(rows))
        await append_audit(
            connection,
            at=now,
            customer_id=None,
            actor=actor,
            action="installation-changed",
            because=f"accepted: {', '.join(facts)}",
        )


async def _read(connection: AsyncConnection) -> dict[str, str]:
    rows = await connection.execute(select(INSTALLATION.c.name, INSTALLATION.c.value))
    return {name: value for name, value in rows}  # noqa: C416 - rows of two are no pairs to mypy
