"""USE CASE: an operator blocks a customer, or lifts the block.

Law: the block holds first. Then what the customer could still pay for nothing is closed, as well as it goes: a Stripe
that is away neither undoes a block nor delays it by more than a few seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.lifecycle import BLOCKED
from gateway.sync import close_pages

if TYPE_CHECKING:
    from gateway.billing import Billing
    from gateway.core.policy import Policy
    from gateway.ledger import Ledger
    from gateway.provisioning import Provisioning


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A block that holds."""

    is_published: bool
    """Whether the cache knows."""
    pages_closed: int | None
    """How many open checkout pages were closed. None: it is not known whether there are any that can be paid."""


class Blocking:
    """Blocks customers.

    Args:
        ledger: Who is whom at Stripe.
        provisioning: Has the block hold.
        billing: Where pages are open.
    """

    def __init__(self, *, ledger: Ledger, provisioning: Provisioning, billing: Billing) -> None:
        self._ledger = ledger
        self._provisioning = provisioning
        self._billing = billing

    async def block(self, customer_id: str, policy: Policy | None, *, actor: str, because: str) -> Block:
        """Suspend a customer, whatever Stripe says, and close its checkout pages unless policy only warns of a block.

        Args:
            customer_id: Ours.
            policy: Says what a block does. None: the audit log does not, and pages are closed.
            actor: For the audit log.
            because: For the audit log.

        Raises:
            CustomerUnknown, LedgerUnavailable: Nothing was changed, or nobody knows.
        """
        is_published = await self._provisioning.set_blocked(
            customer_id, policy, blocked=True, actor=actor, because=because
        )
        row = await self._ledger.find_customer(customer_id)
        only_warns = policy is not None and policy.lifecycle[BLOCKED].keep_s is None
        closed = 0 if row is None or only_warns else await close_pages(self._billing, row)
        return Block(is_published=is_published, pages_closed=closed)

    async def unblock(self, customer_id: str, policy: Policy | None, *, actor: str, because: str) -> bool:
        """Lift the block. Returns whether the cache knows.

        Args:
            customer_id: Ours.
            policy: As for `block`.
            actor: For the audit log.
            because: For the audit log.

        Raises:
            CustomerUnknown, LedgerUnavailable: Nothing was changed, or nobody knows.
        """
        return await self._provisioning.set_blocked(customer_id, policy, blocked=False, actor=actor, because=because)
