"""What we know of each customer's Stripe subscription, written in the order of fences.

Whoever is about to read Stripe takes a fence first. What it read is written only if no later fence
was written before, and the customer still is the one of Stripe that was read: so a slow answer never
replaces a newer one, nor what another Stripe customer has.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import RowMapping, Text, bindparam, cast, delete, select, update

from gateway.core.account import Account, ExtrasChange, Subscription
from gateway.core.policy import tier_plan_id
from gateway.ledger.errors import CustomerUnknown
from gateway.ledger.metered_json import load_metered
from gateway.ledger.part import LedgerPart, append_audit, raise_version, unbroken
from gateway.ledger.plan_checks import keep_plan_claim
from gateway.ledger.tables import CUSTOMERS, SUBSCRIPTIONS
from gateway.ledger.unbilled import note_ended

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from gateway.core.audited import Assess, AuditedAccess
    from gateway.core.ended_periods import EndedPeriod
    from gateway.ledger.database import Database
    from gateway.ledger.plan_checks import PlanClaim

SUBSCRIPTION_COLUMNS: Final = tuple(SUBSCRIPTIONS.c[one.name] for one in fields(Subscription))

# Statements of every read of Stripe, made once.
_WHOSE: Final = CUSTOMERS.c.customer_id == bindparam("whose")
_TAKE_FENCE: Final = (
    update(CUSTOMERS).where(_WHOSE).values(sync_fence=CUSTOMERS.c.sync_fence + 1).returning(CUSTOMERS.c.sync_fence)
)
_FENCES: Final = (
    select(CUSTOMERS.c.sync_fence, CUSTOMERS.c.applied_fence, CUSTOMERS.c.stripe_customer_id)
    .where(_WHOSE)
    .with_for_update()
)
_ADVANCE: Final = update(CUSTOMERS).where(_WHOSE).values(applied_fence=bindparam("fence"), synced_at=bindparam("now"))
_RECORDED: Final = select(*SUBSCRIPTION_COLUMNS).where(SUBSCRIPTIONS.c.customer_id == bindparam("whose"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A snapshot that was recorded."""

    before: Subscription | None
    after: Subscription | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NotedPlan:
    """A record that was held against a policy."""

    customer_id: str
    stripe_customer_id: str | None
    record: Subscription
    """As it is now."""
    is_changed: bool


def read_subscription(row: RowMapping | dict[str, Any]) -> Subscription | None:
    """The subscription of a row that has `SUBSCRIPTION_COLUMNS`; None if an outer join found none."""
    if row["subscription_id"] is None:
        return None
    facts = {column.name: row[column.name] for column in SUBSCRIPTION_COLUMNS}
    facts["plan_changes"] = tuple((at, plan_id) for at, plan_id in facts["plan_changes"] or ())
    facts["flags"] = tuple((name, since) for name, since in facts["flags"] or ())
    facts["entitlements"] = tuple(facts["entitlements"] or ())
    facts["metered"] = load_metered(facts["metered"] or ())
    facts["seats"] = 1 if facts["seats"] is None else facts["seats"]
    for name in ("add_ons", "scheduled_add_ons"):
        facts[name] = tuple((add_on, count) for add_on, count in facts[name] or ())
    facts["extras_changes"] = tuple(_load_extras(change) for change in facts["extras_changes"] or ())
    facts["add_on_prices"] = tuple((price_id, name) for price_id, name in facts["add_on_prices"] or ())
    if facts["beneath"] is not None:  # as `asdict` wrote it; an earlier release may have left members out
        unknown = dict.fromkeys(column.name for column in SUBSCRIPTION_COLUMNS)
        facts["beneath"] = read_subscription(unknown | facts["beneath"])
    return Subscription(**facts)


def _load_extras(change: dict[str, Any]) -> ExtrasChange:
    add_ons = tuple((name, count) for name, count in change["add_ons"])
    return ExtrasChange(at=change["at"], seats=change["seats"], add_ons=add_ons)


class Subscriptions(LedgerPart):
    """The subscription snapshot of every customer."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        insert = database.insert(SUBSCRIPTIONS)
        changes = {one.name: insert.excluded[one.name] for one in SUBSCRIPTIONS.c if not one.primary_key}
        self._upsert = insert.on_conflict_do_update(index_elements=[SUBSCRIPTIONS.c.customer_id], set_=changes)

    @unbroken
    async def take_fence(self, customer_id: str) -> int:
        """A number for a read of Stripe that begins now, higher than all before it.

        Raises:
            CustomerUnknown: No such customer.
            LedgerUnavailable: The ledger cannot be used.
        """
        async with self._database.writing_once() as connection:
            fence = await connection.scalar(_TAKE_FENCE, {"whose": customer_id})
        if fence is None:
            raise CustomerUnknown(customer_id)
        return int(fence)

    @unbroken
    async def apply_subscription(  # noqa: PLR0913 - by name: as many as a record has parts
        self,
        customer_id: str,
        fence: int,
        project: Callable[[Subscription | None], Subscription | None],
        *,
        now: int,
        actor: str,
        because: str,
        event_id: str | None = None,
        assess: Assess | None = None,
        read_of: str | None = None,
        ended: Callable[[Subscription | None], Iterable[EndedPeriod]] | None = None,
    ) -> Recorded | None:
        """Record what a read of Stripe found, unless a later read was recorded before, or it is of somebody else.

        The version is raised and the audit log written only if the snapshot changed.

        Args:
            customer_id: Whose subscription it is.
            fence: From `take_fence`, taken before the read began.
            project: Makes what is to be recorded, None for no subscription (any more), of what is recorded now. It is
                asked in the middle of the transaction, so nobody else writes between the two; a grace period, say,
                begins when it was first seen. It may be asked twice, and must do nothing else.
            now: Unix seconds.
            actor: Who caused the read.
            because: What caused it, for the audit log.
            event_id: Stripe's, if an event caused it.
            assess: What an account grants, for the audit log.
            read_of: The Stripe customer that was read. If the customer is bound to another by now, or to none any
                more, nothing is written; None: it is not compared.
            ended: Which periods ended before they were over, of what is recorded; None: it was not looked for.

        Returns:
            None if a later read (or this one) was recorded before, or it was read of another Stripe customer; then
            nothing was written.

        Raises:
            CustomerUnknown: No such customer.
            LedgerUnavailable: The ledger cannot be used.
            ValueError: The fence was never taken.
        """
        async with self._database.writing() as connection:
            if not await _advance_fence(connection, customer_id, fence, now, read_of):
                return None
            before = await _load(connection, customer_id)
            subscription = project(before)
            recorded = Recorded(before=before, after=subscription)
            if ended is not None:
                await note_ended(self._database, connection, customer_id, read_of, ended(subscription))
            if before == subscription:
                return recorded
            account = None if assess is None else await self._read_account(connection, customer_id)
            await self._store(connection, customer_id, subscription, now)
            await raise_version(connection, customer_id)
            await append_audit(
                connection,
                at=now,
                customer_id=customer_id,
                actor=actor,
                action="subscription-changed",
                because=because,
                before=None if before is None else asdict(before),
                after=None if subscription is None else asdict(subscription),
                access_before=_assessed(account, assess),
                access_after=_assessed(account and replace(account, subscription=subscription), assess),
                event_id=event_id,
            )
        return recorded

    @unbroken
    async def load_subscription(self, customer_id: str) -> Subscription | None:
        """The snapshot as it was last written."""
        async with self._database.reading() as connection:
            return await _load(connection, customer_id)

    @unbroken
    async def note_plans(
        self,
        customer_ids: Collection[str],
        held_against: Callable[[Subscription], Subscription],
        *,
        claim: PlanClaim,
        now: int,
        because: str,
        assess: Assess | None = None,
    ) -> list[NotedPlan] | None:
        """Write into records what policy says of their plans, all at once; raises the version of those it changes.

        The audit log has it where that changes what is granted, or until when.

        Args:
            customer_ids: Whose.
            held_against: Makes the record with what policy says of what is recorded now.
            claim: Of the check of which this is a part. It is renewed.
            now: Unix seconds.
            because: What caused it, for the audit log.
            assess: What an account grants, for the audit log.

        Returns:
            Those who have a record, in the order of their ids. None: the claim ran out, another has it, and nothing
            was written.
        """
        query = select(CUSTOMERS.c.customer_id, CUSTOMERS.c.stripe_customer_id)
        query = query.where(CUSTOMERS.c.customer_id.in_(customer_ids)).order_by(CUSTOMERS.c.customer_id)
        noted = []
        async with self._database.writing() as connection:
            if not await keep_plan_claim(connection, claim):
                return None
            for customer_id, stripe_customer_id in (await connection.execute(query.with_for_update())).all():
                before = await _load(connection, customer_id)
                if before is None:
                    continue
                after = held_against(before)
                noted.append(
                    NotedPlan(
                        customer_id=customer_id,
                        stripe_customer_id=stripe_customer_id,
                        record=after,
                        is_changed=after != before,
                    )
                )
                if after != before:
                    await self._note_plan(connection, noted[-1], before, now=now, because=because, assess=assess)
        return noted

    async def _note_plan(
        self,
        connection: AsyncConnection,
        noted: NotedPlan,
        before: Subscription,
        *,
        now: int,
        because: str,
        assess: Assess | None,
    ) -> None:
        account = None if assess is None else await self._read_account(connection, noted.customer_id)
        await self._store(connection, noted.customer_id, noted.record, now)
        await raise_version(connection, noted.customer_id)
        access_before = _assessed(account, assess)
        access_after = _assessed(account and replace(account, subscription=noted.record), assess)
        if access_after != access_before:
            await append_audit(
                connection,
                at=now,
                customer_id=noted.customer_id,
                actor="policy",
                action="subscription-changed",
                because=because,
                before=asdict(before),
                after=asdict(noted.record),
                access_before=access_before,
                access_after=access_after,
            )

    @unbroken
    async def list_by_plan_map(
        self, price_id: str | None, *, metered_at: str | None = None, after: str = "", limit: int = 500
    ) -> list[str]:
        """Stripe customers whose plan hangs on what prices and products say now, in the order of their ids.

        Those of a price that could not be read, of a plan that a product's metadata names, and of this price: of the
        plan's, of an add-on's, of usage, and of one that nothing explains. A product may explain any of the last. Also
        everybody with a subscription beneath another one, which are few.

        Args:
            price_id: A price whose lookup key was moved; None: a product, or nothing that a plan hangs on.
            metered_at: A price that was changed in any way: those whose usage is billed at it.
            after: Only ids behind this one.
            limit: At most so many.
        """
        loose = SUBSCRIPTIONS.c.beneath.is_not(None) | SUBSCRIPTIONS.c.unreadable_since.is_not(None)
        loose |= SUBSCRIPTIONS.c.plan_id.startswith(tier_plan_id(""))
        if price_id is not None:
            loose |= SUBSCRIPTIONS.c.price_id == price_id
        named = json.dumps("" if price_id is None else price_id)
        loose |= cast(SUBSCRIPTIONS.c.add_on_prices, Text).contains(named, autoescape=True)
        for metered in {price_id, metered_at} - {None}:
            loose |= cast(SUBSCRIPTIONS.c.metered, Text).contains(json.dumps(metered), autoescape=True)
        query = (
            select(CUSTOMERS.c.stripe_customer_id)
            .join(SUBSCRIPTIONS, SUBSCRIPTIONS.c.customer_id == CUSTOMERS.c.customer_id)
            .where(loose, CUSTOMERS.c.stripe_customer_id > after)
            .order_by(CUSTOMERS.c.stripe_customer_id)
            .limit(limit)
        )
        async with self._database.reading() as connection:
            return list(await connection.scalars(query))

    async def _store(
        self, connection: AsyncConnection, customer_id: str, subscription: Subscription | None, now: int
    ) -> None:
        if subscription is None:
            await connection.execute(delete(SUBSCRIPTIONS).where(SUBSCRIPTIONS.c.customer_id == customer_id))
            return
        row = {"customer_id": customer_id, **asdict(subscription), "changed_at": now}
        await connection.execute(self._upsert, row)


def _assessed(account: Account | None, assess: Assess | None) -> AuditedAccess | None:
    return None if account is None or assess is None else assess(account)


async def _advance_fence(
    connection: AsyncConnection, customer_id: str, fence: int, now: int, read_of: str | None
) -> bool:
    row = (await connection.execute(_FENCES, {"whose": customer_id})).one_or_none()
    if row is None:
        raise CustomerUnknown(customer_id)
    if fence > row.sync_fence:
        raise ValueError(f"fence {fence} was never taken")
    if fence <= row.applied_fence or read_of not in {None, row.stripe_customer_id}:
        return False
    await connection.execute(_ADVANCE, {"whose": customer_id, "fence": fence, "now": now})
    return True


async def _load(connection: AsyncConnection, customer_id: str) -> Subscription | None:
    row = (await connection.execute(_RECORDED, {"whose": customer_id})).mappings().one_or_none()
    return None if row is None else read_subscription(row)
