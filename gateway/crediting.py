"""USE CASE: credits: grant, list, revoke. Ledger first, then the cache.

Whoever grants gives the grant a reference. The same reference for the same customer is the same grant,
however often it is asked for: an answer that got lost is asked for again, and nothing is doubled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.core.access import in_force
from gateway.core.account import LAST_INSTANT, Grant
from gateway.core.credits import GRANT_ID_LENGTH, default_expiry
from gateway.core.errors import Rejected, TiergateError
from gateway.core.limit_text import EXACT_BELOW
from gateway.ledger import CustomerUnknown, GrantRow, GrantsFull, Ledger
from gateway.provisioning import random_text
from gateway.publishing import Publisher

if TYPE_CHECKING:
    from gateway.clock import Clock
    from gateway.core.policy import Policy

MAX_GRANTS_PER_CUSTOMER = 50
"""Live ones. All of them are in the account, which every worker holds."""
LONGEST_REFERENCE = 200


class CreditsInvalid(Rejected):
    """There can be no such grant."""

    code = "invalid-credits"


class GrantNotFound(TiergateError):
    """This customer has no live grant with that id."""

    code = "credits-not-found"


class ReferenceTaken(TiergateError):
    """Another grant of this customer, of other units, has that reference."""

    code = "credits-reference-taken"


class TooManyGrants(TiergateError):
    """The customer holds as many live grants as one customer may."""

    code = "too-many-credits"


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditOrder:
    """What shall be granted."""

    units: int
    reference: str | None = None
    """The caller's own name for this grant. None: asking again grants again."""
    meter: str = "requests"
    expires_at: int | None = None
    """Unix seconds. None: as policy says of credits."""
    never_expires: bool = False
    """Whatever policy says."""
    reason: str = "not said"
    """For the customer and the audit log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """A grant, and what asking for it did."""

    row: GrantRow
    is_new: bool
    """False: it was there already, under the same reference."""
    in_force: bool
    """Whether the cache knows it."""


class Crediting:
    """Use cases of credits."""

    def __init__(self, ledger: Ledger, publisher: Publisher, clock: Clock) -> None:
        self._ledger = ledger
        self._publisher = publisher
        self._clock = clock

    async def grant(self, customer_id: str, order: CreditOrder, policy: Policy, *, actor: str) -> Granted:
        """Give a customer credits, spendable from its next call on if the cache is up.

        Raises:
            CreditsInvalid: There can be no such grant.
            ReferenceTaken: The reference is that of a grant of another meter or number of units.
            TooManyGrants: Revoke one, or let one be used up.
            CustomerUnknown: No such customer.
        """
        now = int(self._clock.now())
        _check(order, policy, now)
        expires_at = order.expires_at
        if expires_at is None and not order.never_expires:
            account = await self._ledger.load_account(customer_id)
            if account is None:
                raise CustomerUnknown(customer_id)
            expires_at = default_expiry(policy.credits, in_force(account, policy, now), now)
        grant_id = random_text(GRANT_ID_LENGTH)
        wanted = GrantRow(
            customer_id=customer_id,
            grant=Grant(grant_id=grant_id, meter=order.meter, units=order.units, granted_at=now, expires_at=expires_at),
            reference=grant_id if order.reference is None else order.reference,
            reason=order.reason,
        )
        try:
            row = await self._ledger.add_grant(wanted, now=now, actor=actor, most=MAX_GRANTS_PER_CUSTOMER)
        except GrantsFull:
            raise TooManyGrants(
                f"There are {MAX_GRANTS_PER_CUSTOMER} live grants already; revoke one, or let one be used up."
            ) from None
        if (row.grant.meter, row.grant.units) != (order.meter, order.units):
            raise ReferenceTaken(
                f"The reference {row.reference!r} is that of a grant of {row.grant.units:,} {row.grant.meter}."
            )
        is_new = row.grant.grant_id == grant_id
        return Granted(row=row, is_new=is_new, in_force=await self._publisher.publish_soon(customer_id))

    async def list(self, customer_id: str, *, include_ended: bool = False) -> list[GrantRow]:
        """The customer's grants, oldest first; `used` is as of the last settlement."""
        return await self._ledger.list_grants(customer_id, include_ended=include_ended)

    async def revoke(self, customer_id: str, grant_id: str, *, actor: str, because: str) -> bool:
        """Take back what is left of a grant, from the customer's next call on.

        Returns:
            Whether the cache knows already.

        Raises:
            GrantNotFound: No live grant with that id.
        """
        now = int(self._clock.now())
        if not await self._ledger.revoke_grant(customer_id, grant_id, now=now, actor=actor, because=because):
            raise GrantNotFound(f"There are no live credits {grant_id!r}.")
        return await self._publisher.publish_soon(customer_id)


def _check(order: CreditOrder, policy: Policy, now: int) -> None:
    if order.meter not in policy.meters:
        raise CreditsInvalid(f"There is no meter {order.meter[:40]!r}; there are: {', '.join(policy.meters)}.")
    if not 1 <= order.units < EXACT_BELOW:
        raise CreditsInvalid("Credits are at least 1 unit, and at most 2**53 - 1.")
    if order.expires_at is not None and (order.never_expires or not now < order.expires_at <= LAST_INSTANT):
        raise CreditsInvalid("Credits expire in the future, or never, but not both.")
    if order.reference is not None and not _is_reference(order.reference):
        raise CreditsInvalid(f"A reference is 1 to {LONGEST_REFERENCE} printable characters.")


def _is_reference(text: str) -> bool:
    return 1 <= len(text) <= LONGEST_REFERENCE and text.isprintable()
