"""Are a plan and what is sold beside it sold in the same currencies?

A checkout sells everything in one currency: the buyer's, if each price has an option for it, else the prices' own,
which has to be the same for all (https://docs.stripe.com/products-prices/manage-prices, "Use multi-currency prices").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.billing import Billing, PriceFacts

MEND_OPTIONS = "Give its price an option for each of these currencies (dashboard: Product catalogue, Edit price)."


async def find_lack(billing: Billing, own: PriceFacts, beside: PriceFacts) -> str | None:
    """In words, which currencies of a plan's price another price lacks, and what it means; None: it lacks none.

    Args:
        billing: Asked for the plan's, and for the others if there are several.
        own: The plan's price.
        beside: Of an add-on or of overage, in the plan's own currency.

    Raises:
        BillingUnavailable, BillingRefused: Stripe did not say.
    """
    wanted = await billing.fetch_currencies(own.price_id)
    if len(wanted) == 1:
        return None
    lacking = sorted(wanted - await billing.fetch_currencies(beside.price_id))
    if not lacking:
        return None
    named = " and ".join(one.upper() for one in lacking)
    return (
        f"the plan is sold in {named} too, and this is not: a checkout of both is in {own.currency.upper()} for"
        " everybody, and a subscription in another currency cannot take it on"
    )
