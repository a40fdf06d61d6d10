"""A subscription pays one currency for as long as it lasts, so it is changed to no plan that is not sold in that.

Stripe refuses it; it is said here before Stripe is asked, with what can be done. A price is sold in its own currency,
and in others if it has options for them (https://docs.stripe.com/products-prices/manage-prices). What comes beside a
plan is held to the same by `gateway.billing.sales`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.purchase import CurrencyDiffers

if TYPE_CHECKING:
    from gateway.core.billing_facts import PriceTerms
    from gateway.core.candidate import Candidate
    from gateway.core.policy import Plan
    from gateway.sync.customers import Sync


async def price_of(sync: Sync, plan: Plan, current: Candidate) -> PriceTerms:
    """What a subscription pays for a plan: for the one that there is what it pays, for another what is on sale.

    Raises:
        CurrencyDiffers: It is not sold in the currency of the subscription.
        BillingUnavailable, BillingRefused: Nobody can say, or there is no price.
    """
    if plan == current.plan and current.item is not None:
        return current.item
    price, pays = await sync.billing.changes.fetch_price(plan), current.facts.currency
    lacking = await sync.billing.changes.sales.find_other_currencies(price, pays)
    if lacking:
        raise CurrencyDiffers(
            f"The plan {plan.plan_id!r} is sold in {lacking} only, and this subscription pays {(pays or '').upper()}, "
            "which cannot be changed. Cancel it in the billing portal, and buy the plan when it has ended."
        )
    return price
