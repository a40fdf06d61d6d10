"""Are a plan and what is sold beside it sold in the same currencies?

A checkout sells everything in one currency: the buyer's, if each price has an option for it, else the prices' own,
which has to be the same for all (https://docs.stripe.com/products-prices/manage-prices, "Use multi-currency prices").
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.billing import Billing, PriceFacts

MEND_CAP = (
    "Cap by units with `cap`, give each currency a plan and a tier of its own with a `spend_cap` in it, or set these "
    "customers' own caps (`tiergate customers spend-cap`)."
)
MEND_OPTIONS = "Give its price an option for each of these currencies (dashboard: Product catalogue, Edit price)."


async def find_uncapped(billing: Billing, own: PriceFacts, beyond: PriceFacts, currency: str) -> str | None:
    """In words, whom a spend cap leaves without overage, because they pay another currency; None: nobody.

    Args:
        billing: Asked which currencies both prices have.
        own: The plan's price.
        beyond: Of its overage.
        currency: Of the cap.

    Raises:
        BillingUnavailable, BillingRefused: Stripe did not say.
    """
    sold = await billing.fetch_currencies(own.price_id) & await billing.fetch_currencies(beyond.price_id)
    others = sorted(sold - {currency})
    if not others:
        return None
    return (
        f"who pays in {' and '.join(one.upper() for one in others)} has no overage: `spend_cap` is in "
        f"{currency.upper()}, and amounts are not converted"
    )


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
