"""Customers, and which version of each one's account the cache has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Column, ColumnElement, bindparam, func, select, update
from sqlalchemy.exc import IntegrityError

from gateway.ledger.errors import CustomerExists, CustomerUnknown, UserExists
from gateway.ledger.part import LedgerPart, append_audit, is_storable, raise_version, unbroken
from gateway.ledger.rows import CustomerRow
from gateway.ledger.tables import CUSTOMERS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gateway.core.audited import Assess

_NAMED_A_STATEMENT: Final = 500

# Statements of every read of Stripe, made once.
_FIND: Final = {
    name: select(CUSTOMERS).where(CUSTOMERS.c[name] == bindparam("value"))
    for name in ("customer_id", "user_id", "stripe_customer_id")
}
_MARK_PUBLISHED: Final = (
    update(CUSTOMERS)
    .where(
        CUSTOMERS.c.customer_id == bindparam("whose"),
        CUSTOMERS.c.published_version < bindparam("known"),
        CUSTOMERS.c.version >= bindparam("known"),
    )
    .values(published_version=bindparam("known"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """Who binds a customer to one of Stripe, and why."""

    now: int
    actor: str
    because: str
    event_id: str | None = None


class Customers(LedgerPart):
    """Who is billed."""

    @unbroken
    async def create_customer(
        self, *, customer_id: str, user_id: str, now: int, stripe_customer_id: str | None = None, actor: str
    ) -> CustomerRow:
        """Record a new customer, as version 1 and unpublished.

        Raises:
            UserExists: The user already is a customer.
            CustomerExists: The customer id or the Stripe customer is another customer's.
            LedgerUnavailable: The ledger cannot be used.
            ValueError: The user id cannot be stored.
        """
        if not user_id or not is_storable(user_id):
            raise ValueError("a user id is text without NUL, and not empty")
        values = CustomerRow(
            customer_id=customer_id,
            user_id=user_id,
            stripe_customer_id=stripe_customer_id,
            created_at=now,
            blocked=False,
            version=1,
            published_version=0,
            sync_fence=0,
            applied_fence=0,
            synced_at=None if stripe_customer_id is None else now,
        )
        async with self._database.writing() as connection:
            new = await connection.scalar(
                self._database.insert(CUSTOMERS)
                .values({column.name: getattr(values, column.name) for column in CUSTOMERS.columns})
                .on_conflict_do_nothing()
                .returning(CUSTOMERS.c.customer_id)
            )
            if new is None:
                taken = await connection.scalar(select(CUSTOMERS.c.user_id).where(CUSTOMERS.c.user_id == user_id))
                raise (UserExists(user_id) if taken else CustomerExists("the customer id is another customer's"))
            await append_audit(
                connection,
                at=now,
                customer_id=customer_id,
                actor=actor,
                action="customer-created",
                because="new customer",
                after={"user_id": user_id, "stripe_customer_id": stripe_customer_id},
            )
        return values

    @unbroken
    async def find_customer(self, customer_id: str) -> CustomerRow | None:
        """The customer with this id."""
        return await self._find(CUSTOMERS.c.customer_id, customer_id)

    @unbroken
    async def find_customer_by_user(self, user_id: str) -> CustomerRow | None:
        """The customer that the seller calls `user_id`."""
        return await self._find(CUSTOMERS.c.user_id, user_id)

    @unbroken
    async def find_customer_by_stripe(self, stripe_customer_id: str) -> CustomerRow | None:
        """The customer that Stripe calls `stripe_customer_id`."""
        return await self._find(CUSTOMERS.c.stripe_customer_id, stripe_customer_id)

    @unbroken
    async def list_customers(self, *, after: str = "", limit: int = 100) -> list[CustomerRow]:
        """Customers in order of their id. `after`: the last id of the page before."""
        rows = select(CUSTOMERS).where(CUSTOMERS.c.customer_id > after).order_by(CUSTOMERS.c.customer_id).limit(limit)
        async with self._database.reading() as connection:
            return [CustomerRow(**row) for row in (await connection.execute(rows)).mappings()]

    @unbroken
    async def list_stripe_customers(self, *, limit: int) -> list[str]:
        """Stripe customers that some of ours are bound to, in no order that means anything."""
        query = (
            select(CUSTOMERS.c.stripe_customer_id)
            .where(CUSTOMERS.c.stripe_customer_id.is_not(None))
            .order_by(CUSTOMERS.c.customer_id)
            .limit(limit)
        )
        async with self._database.reading() as connection:
            return list(await connection.scalars(query))

    @unbroken
    async def bind_stripe_customer(
        self,
        customer_id: str,
        stripe_customer_id: str,
        *,
        instead_of: str | None = None,
        by: Binding | None = None,
    ) -> str:
        """Bind the customer to a Stripe customer unless it is bound already; the first binding stays.

        Args:
            customer_id: Ours.
            stripe_customer_id: Stripe's.
            instead_of: A binding that does not stay: to a customer that Stripe does not have any more.
            by: Who binds it and why: the audit log has a row if that changes anything. None: it has none.

        Returns:
            The Stripe customer that is recorded now.

        Raises:
            CustomerUnknown: No such customer.
            CustomerExists: The Stripe customer is another customer's.
            LedgerUnavailable: The ledger cannot be used.
        """
        stays: ColumnElement[Any] = CUSTOMERS.c.stripe_customer_id
        if instead_of is not None:
            stays = func.nullif(stays, instead_of)
        try:
            async with self._database.writing() as connection:
                query = select(CUSTOMERS.c.stripe_customer_id).where(CUSTOMERS.c.customer_id == customer_id)
                before = await connection.scalar(query.with_for_update())
                bound = await connection.scalar(
                    update(CUSTOMERS)
                    .where(CUSTOMERS.c.customer_id == customer_id)
                    .values(
                        stripe_customer_id=func.coalesce(stays, stripe_customer_id),
                        synced_at=func.coalesce(CUSTOMERS.c.synced_at, CUSTOMERS.c.created_at),
                    )
                    .returning(CUSTOMERS.c.stripe_customer_id)
                )
                if by is not None and bound != before:
                    await append_audit(
                        connection,
                        at=by.now,
                        customer_id=customer_id,
                        actor=by.actor,
                        action="stripe-customer-bound",
                        because=by.because,
                        before=None if before is None else {"stripe_customer_id": before},
                        after={"stripe_customer_id": bound},
                        event_id=by.event_id,
                    )
        except IntegrityError as error:
            raise CustomerExists("the Stripe customer is another customer's") from error
        if bound is None:
            raise CustomerUnknown(customer_id)
        return str(bound)

    @unbroken
    async def set_blocked(
        self,
        customer_id: str,
        blocked: bool,  # noqa: FBT001 - the method's name says what it is
        *,
        now: int,
        actor: str,
        because: str,
        assess: Assess | None = None,
    ) -> bool:
        """Block or unblock a customer, whatever Stripe says.

        Returns:
            Whether that changed anything.

        Raises:
            CustomerUnknown: No such customer.
            LedgerUnavailable: The ledger cannot be used.
        """
        async with self._database.writing() as connection:
            blocked_before = await connection.scalar(
                select(CUSTOMERS.c.blocked).where(CUSTOMERS.c.customer_id == customer_id).with_for_update()
            )
            if blocked_before is None:
                raise CustomerUnknown(customer_id)
            if blocked_before == blocked:
                return False
            access_before = await self._access(connection, customer_id, assess)
            await raise_version(connection, customer_id, blocked=blocked)
            await append_audit(
                connection,
                at=now,
                customer_id=customer_id,
                actor=actor,
                action="customer-blocked" if blocked else "customer-unblocked",
                because=because,
                before={"blocked": blocked_before},
                after={"blocked": blocked},
                access_before=access_before,
                access_after=await self._access(connection, customer_id, assess),
            )
        return True

    @unbroken
    async def unpublished(self, limit: int, *, after: str = "") -> list[str]:
        """Customers whose account changed after the cache last got it, by their ids, from `after` one of them on."""
        rows = (
            select(CUSTOMERS.c.customer_id)
            .where(CUSTOMERS.c.published_version < CUSTOMERS.c.version, CUSTOMERS.c.customer_id > after)
            .order_by(CUSTOMERS.c.customer_id)
            .limit(limit)
        )
        async with self._database.reading() as connection:
            return list((await connection.scalars(rows)).all())

    @unbroken
    async def find_newer(self, versions: Mapping[str, int]) -> list[str]:
        """Those of the customers whose account is newer than the version given for each."""
        newer: list[str] = []
        named = sorted(versions)
        async with self._database.reading() as connection:
            for start in range(0, len(named), _NAMED_A_STATEMENT):
                rows = select(CUSTOMERS.c.customer_id, CUSTOMERS.c.version).where(
                    CUSTOMERS.c.customer_id.in_(named[start : start + _NAMED_A_STATEMENT])
                )
                newer += [
                    row.customer_id for row in await connection.execute(rows) if row.version > versions[row.customer_id]
                ]
        return newer

    @unbroken
    async def mark_published(self, customer_id: str, version: int) -> None:
        """Record that the cache has this version of the account, unless it is known to have a later one."""
        async with self._database.writing_once() as connection:
            await connection.execute(_MARK_PUBLISHED, {"whose": customer_id, "known": version})

    async def _find(self, column: Column[Any], value: str) -> CustomerRow | None:
        if not is_storable(value):
            return None
        async with self._database.reading() as connection:
            row = (await connection.execute(_FIND[column.name], {"value": value})).mappings().one_or_none()
        return None if row is None else CustomerRow(**row)
