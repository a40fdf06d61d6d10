"""Which Stripe customer one of ours has: bound once, and anew only in place of one that Stripe has deleted.

Laws:
- whether the old one is deleted is asked at that moment, of the ledger's own account;
- nobody is bound to a Stripe customer that is deleted itself: an event about it may come late;
- a buyer who has none is first looked for at Stripe by its labels, because this ledger may have lost what it knew
  (a restore from a backup), or somebody made it anew by hand; then one is made.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from gateway.core.errors import BillingRefused
from gateway.core.user_id import OWN_PREFIX
from gateway.ledger import Binding

if TYPE_CHECKING:
    from gateway.core.adoption import ListedCustomer
    from gateway.ledger import CustomerRow
    from gateway.sync.customers import Sync

log = structlog.get_logger(__name__)


async def bind(sync: Sync, customer_id: str, stripe_customer_id: str, by: Binding) -> str:
    """Bind a customer to a Stripe customer that names it, unless it has another that Stripe still has.

    Returns:
        The Stripe customer that is recorded now.

    Raises:
        StripeAccountWrong: The key is not of the ledger's account.
        CustomerExists: The Stripe customer is another customer's.
        CustomerUnknown, BillingUnavailable, BillingRefused, LedgerUnavailable: Nothing was bound.
    """
    await sync.account.check()
    bound = await sync.ledger.bind_stripe_customer(customer_id, stripe_customer_id, by=by)
    if bound == stripe_customer_id or not await is_replaced(sync, bound, stripe_customer_id):
        return bound
    because = f"{by.because}; Stripe does not have {bound} any more"
    return await sync.ledger.bind_stripe_customer(
        customer_id, stripe_customer_id, instead_of=bound, by=replace(by, because=because)
    )


async def is_replaced(sync: Sync, bound: str, by: str) -> bool:
    """Whether Stripe has deleted one customer, and has the other. The account must be proven."""
    account = sync.billing.account
    return not await account.has_customer(bound) and await account.has_customer(by)


async def find_made(sync: Sync, row: CustomerRow) -> str | None:
    """The Stripe customer that is labelled as the one of a customer who has none that Stripe still has; None: none is.

    One that names it counts, and one of the same user that names a customer whom this ledger lost. Two of those, and
    nobody can tell which is to pay.

    Raises:
        BillingRefused: There are several.
        BillingUnavailable, LedgerUnavailable: Nobody can say.
    """
    if row.stripe_customer_id is None and row.user_id.startswith(OWN_PREFIX):  # it is new, or has not bought
        return None
    try:
        found = await sync.billing.customers.find_labelled(row.customer_id, row.user_id)
    except BillingRefused as error:
        log.warning("stripe was not searched for the buyer", customer_id=row.customer_id, reason=str(error))
        return None
    ledger_id = await sync.ledger.find_ledger_id()
    known: frozenset[str] = frozenset() if ledger_id is None else frozenset({ledger_id})
    made = [one.stripe_customer_id for one in found if await _is_of(sync, row, one, known)]
    if len(made) > 1:
        log.error("several stripe customers are labelled as one buyer's", customer_id=row.customer_id, found=made)
        raise BillingRefused(
            "The payment provider has more than one account of this user; the provider must settle it."
        )
    return made[0] if made else None


async def _is_of(sync: Sync, row: CustomerRow, one: ListedCustomer, known: frozenset[str]) -> bool:
    if one.claimed_id != row.customer_id:
        is_lost = one.is_of(known) and await sync.ledger.find_customer(one.claimed_id or "") is None
        if not is_lost or one.claimed_user_id != row.user_id:
            return False
    if one.stripe_customer_id == row.stripe_customer_id:
        return False
    is_free = await sync.ledger.find_customer_by_stripe(one.stripe_customer_id) is None
    return is_free and await sync.billing.account.has_customer(one.stripe_customer_id)


async def find_or_make(sync: Sync, row: CustomerRow) -> tuple[str, bool]:
    """The Stripe customer that a buyer pays as, who has none or one that Stripe has deleted. It is bound.

    Returns:
        Its id, and whether it was there: then it may have subscriptions.

    Raises:
        CustomerExists, CustomerUnknown, BillingUnavailable, BillingRefused, LedgerUnavailable: Nothing was bound.
    """
    gone = row.stripe_customer_id
    found = await find_made(sync, row)
    now, because = int(sync.clock.now()), "first checkout" if gone is None else f"Stripe does not have {gone} any more"
    if found is not None:
        because = f"{because}; {found} is labelled as its own"
        log.warning("stripe customer found by its labels", customer_id=row.customer_id, stripe_customer_id=found)
    made = found or await sync.billing.create_customer(
        row.customer_id, row.user_id, instead_of=gone, ledger_id=await sync.ledger.keep_ledger_id(now=now)
    )
    by = Binding(now=now, actor="checkout", because=because)
    bound = await sync.ledger.bind_stripe_customer(row.customer_id, made, instead_of=gone, by=by)
    return bound, found is not None
