"""The check of all records against the policy in force: one at a time, by one worker of all, once for each policy.

    none -- claim --> going on -- end --> done, for this policy
                       | the claim runs out: whoever comes next does it again, which changes nothing twice
    A claim for another policy undoes "done": what was written by the one before may be wrong by now.
    What a check finds is written with its claim in hand, in one transaction (`keep_plan_claim`): who was overtaken
    writes nothing over what the next one writes.

What says how a record stands to policy is few words (`PlanTraits`), the same for most customers: they are read once,
and only the customers with words of which something has to be written are listed.

Nothing here reads a clock: callers pass `now`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from sqlalchemy import and_, false, func, or_, select, update

from gateway.ledger.part import LedgerPart, unbroken
from gateway.ledger.tables import PLAN_CHECKS, SUBSCRIPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

PlanCheck: TypeAlias = Literal["claimed", "done", "busy"]
"""Whether the caller is to check now, nobody has to, or another worker does."""

_NAME: Final = "records"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTraits:
    """What of a subscription says which plan it is of. As in a subscription."""

    status: str
    plan_id: str | None
    sold_as: str | None
    price_id: str | None
    last_good_plan_id: str | None
    last_good_tier: str | None
    is_unreadable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanClaim:
    """By which something is written of the records."""

    worker: str
    """Whose claim."""
    until: int
    """Unix seconds: it is renewed to last till then."""


_NAMES: Final = tuple(one.name for one in fields(PlanTraits))
_TRAITS: Final = tuple(
    (SUBSCRIPTIONS.c.unreadable_since.is_not(None) if one.name == "is_unreadable" else SUBSCRIPTIONS.c[one.name]).label(
        one.name
    )
    for one in fields(PlanTraits)
)


class PlanChecks(LedgerPart):
    """Who checks, and of which records something has to be written."""

    @unbroken
    async def claim_plan_check(self, worker: str, policy_hash: str, *, now: int, lease_s: int) -> PlanCheck:
        """Take the check against a policy in hand, if it is not done and nobody else has it.

        Args:
            worker: Unique to one process's lifetime.
            policy_hash: Of the policy.
            now: Unix seconds.
            lease_s: How long the claim lasts, unless something is written by it (`note_plans`).
        """
        own = {"policy_hash": None, "claimed_by": worker, "claimed_until": now + lease_s}
        checks = PLAN_CHECKS.c
        claim = (
            self._database.insert(PLAN_CHECKS)
            .values(name=_NAME, **own)
            .on_conflict_do_update(
                index_elements=[checks.name],
                set_=own,
                where=checks.policy_hash.is_distinct_from(policy_hash)
                & (checks.claimed_by.is_(None) | (checks.claimed_by == worker) | (checks.claimed_until <= now)),
            )
            .returning(checks.claimed_by)
        )
        if await self._is_checked(policy_hash):
            return "done"
        async with self._database.writing_once() as connection:
            if await connection.scalar(claim) == worker:
                return "claimed"
        return "done" if await self._is_checked(policy_hash) else "busy"

    @unbroken
    async def end_plan_check(self, worker: str, policy_hash: str) -> bool:
        """It is done for this policy. False: the claim ran out, and another has it."""
        async with self._database.writing_once() as connection:
            return await _change_claimed(
                connection, worker, policy_hash=policy_hash, claimed_by=None, claimed_until=None
            )

    @unbroken
    async def count_plan_traits(self) -> dict[PlanTraits, int]:
        """How many customers have which. What is beneath a subscription is not looked into."""
        query = select(*_TRAITS, func.count()).group_by(*_TRAITS)
        async with self._database.reading() as connection:
            rows = await connection.execute(query)
            return {PlanTraits(**dict(zip(_NAMES, traits, strict=True))): count for *traits, count in rows.all()}

    @unbroken
    async def list_by_plan_traits(self, traits: Iterable[PlanTraits], after: str = "", limit: int = 100) -> list[str]:
        """Customers whose subscription has one of these, in the order of their ids.

        Args:
            traits: A few dozen at most: the statement names them all.
            after: Only ids behind this one.
            limit: At most so many.
        """
        return await self._list(or_(false(), *(_has(one) for one in traits)), after, limit)

    @unbroken
    async def list_with_beneath(self, after: str = "", limit: int = 100) -> list[str]:
        """Customers with a subscription beneath another one, which are few."""
        return await self._list(SUBSCRIPTIONS.c.beneath.is_not(None), after, limit)

    async def _list(self, condition: Any, after: str, limit: int) -> list[str]:
        query = (
            select(SUBSCRIPTIONS.c.customer_id)
            .where(condition, SUBSCRIPTIONS.c.customer_id > after)
            .order_by(SUBSCRIPTIONS.c.customer_id)
            .limit(limit)
        )
        async with self._database.reading() as connection:
            return list(await connection.scalars(query))

    async def _is_checked(self, policy_hash: str) -> bool:
        done = select(PLAN_CHECKS.c.name).where(PLAN_CHECKS.c.name == _NAME, PLAN_CHECKS.c.policy_hash == policy_hash)
        async with self._database.reading() as connection:
            return await connection.scalar(done) is not None


async def keep_plan_claim(connection: AsyncConnection, claim: PlanClaim) -> bool:
    """Renew a claim in the transaction that writes by it, which nobody overtakes then. False: another has it."""
    return await _change_claimed(connection, claim.worker, claimed_until=claim.until)


async def _change_claimed(connection: AsyncConnection, worker: str, **changes: Any) -> bool:
    change = update(PLAN_CHECKS).where(PLAN_CHECKS.c.claimed_by == worker).values(**changes)
    return (await connection.execute(change)).rowcount == 1


def _has(traits: PlanTraits) -> Any:
    same = (
        SUBSCRIPTIONS.c[one.name].is_not_distinct_from(getattr(traits, one.name))
        for one in fields(PlanTraits)
        if one.name != "is_unreadable"
    )
    since = SUBSCRIPTIONS.c.unreadable_since
    return and_(*same, since.is_not(None) if traits.is_unreadable else since.is_(None))
