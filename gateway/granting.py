"""USE CASE: tiers by hand: grant one for a time, take it back. Ledger first, then the cache.

For sellers who bill without Stripe, and for presents. What a grant does to access is `core.tier_grant`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.account import LAST_INSTANT, TierGrant
from gateway.core.audited import assess_by
from gateway.core.errors import Rejected, TiergateError
from gateway.core.nearest import nearest_name
from gateway.ledger import Ledger, TierGrantRow
from gateway.publishing import Publisher

if TYPE_CHECKING:
    from gateway.clock import Clock
    from gateway.core.policy import Policy


class TierGrantInvalid(Rejected):
    """There can be no such grant of a tier."""

    code = "invalid-tier-grant"


class TierGrantNotFound(TiergateError):
    """This customer has no tier by hand."""

    code = "tier-grant-not-found"


@dataclass(frozen=True, slots=True, kw_only=True)
class TierOrder:
    """What shall be granted."""

    tier: str
    ends_at: int
    """Unix seconds. There is no grant without an end: one that was forgotten would be for ever."""
    reason: str = "not said"
    """For the audit log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierGranted:
    """A grant, and what asking for it did."""

    row: TierGrantRow
    before: TierGrantRow | None
    """What it replaces, also if that was over; the same grant if it was there already."""
    in_force: bool
    """Whether the cache knows it."""

    @property
    def is_new(self) -> bool:
        """False: the same tier was granted to the same end before, and nothing changed."""
        return self.before is None or self.before.grant != self.row.grant


class Granting:
    """Use cases of tiers by hand."""

    def __init__(self, ledger: Ledger, publisher: Publisher, clock: Clock) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._clock = clock

    async def grant(self, customer_id: str, order: TierOrder, policy: Policy, *, actor: str) -> TierGranted:
        """Give a customer a tier until an end, from its next call on if the cache is up.

        It replaces what was granted before. Doing so twice changes nothing.

        Raises:
            TierGrantInvalid: There is no such tier, or the end is past.
            CustomerUnknown: No such customer.
        """
        now = int(self._clock.now())
        if order.tier not in policy.tiers:
            meant = nearest_name(order.tier, policy.tiers)
            hint = f" Did you mean {meant!r}?" if meant else f" There are: {', '.join(policy.tiers)}."
            raise TierGrantInvalid(f"There is no tier {order.tier[:40]!r} in the policy.{hint}")
        if not now < order.ends_at <= LAST_INSTANT:
            raise TierGrantInvalid("A granted tier ends in the future, before the year 10000.")
        wanted = TierGrantRow(
            customer_id=customer_id,
            grant=TierGrant(tier=order.tier, granted_at=now, ends_at=order.ends_at),
            reason=order.reason,
        )
        before = await self._ledger.grant_tier(wanted, now=now, actor=actor, assess=assess_by(policy, now))
        is_there = before is not None and (before.grant.tier, before.grant.ends_at) == (order.tier, order.ends_at)
        row = before if before is not None and is_there else wanted
        return TierGranted(row=row, before=before, in_force=await self._publisher.publish_soon(customer_id))

    async def take_back(self, customer_id: str, policy: Policy | None, *, actor: str, because: str) -> bool:
        """End what was granted, from the customer's next call on. Returns whether the cache knows already.

        Without a policy the audit log does not say what that did to access.

        Raises:
            TierGrantNotFound: Nothing was granted, or it was taken back before.
            CustomerUnknown: No such customer.
        """
        now = int(self._clock.now())
        assess = None if policy is None else assess_by(policy, now)
        if not await self._ledger.take_tier_back(customer_id, now=now, actor=actor, because=because, assess=assess):
            raise TierGrantNotFound("No tier was granted to this customer by hand.")
        return await self._publisher.publish_soon(customer_id)
