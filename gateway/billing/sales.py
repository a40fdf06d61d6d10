"""The prices that one subscription is sold at, and whether they can stand beside each other.

Laws:
- nothing is sold whose usage would be billed nowhere: a price of overage bills the meter that policy reports to;
- all items of a subscription renew together: Stripe lets other intervals stand beside the plan's only in its flexible
  billing mode (https://docs.stripe.com/billing/subscriptions/mixed-interval), so none is sold. What a customer has
  already, however it came to it, is left alone;
- a subscription pays one currency: beside one that runs is sold what is sold in that, and at a checkout what is in the
  plan's own, since all prices there have to have the same default currency
  (https://docs.stripe.com/products-prices/manage-prices).

A price's interval and meter, and a meter's name, never change at Stripe: once read, they are known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from cachetools import LRUCache

from gateway.billing.failures import stripe_call
from gateway.billing.meter_facts import MeterFacts, read_meter
from gateway.core.errors import BillingRefused
from gateway.core.offer import AddOn
from gateway.core.purchase import AddOnNotSold, CurrencyDiffers

if TYPE_CHECKING:
    import stripe

    from gateway.billing.prices import PriceList
    from gateway.billing.reading import PriceFacts
    from gateway.core.billing_facts import PriceTerms
    from gateway.core.overage import MeteredPrice
    from gateway.core.policy import Plan
    from gateway.core.purchase import Purchase

log = structlog.get_logger(__name__)

_METERS = 1000


class Sales:
    """Reads what is sold, and refuses what does not fit together."""

    def __init__(self, client: stripe.StripeClient, prices: PriceList, *, deadline_s: float) -> None:
        self._client = client
        self._prices = prices
        self._deadline_s = deadline_s
        self._meter_names: LRUCache[str, str] = LRUCache(_METERS)

    async def price_ids(self, purchase: Purchase) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Ids of the prices of the plan and each add-on, and of those of overage.

        Raises:
            AddOnNotSold, CurrencyDiffers: An add-on does not fit the plan.
            BillingRefused: Also if Stripe has no active price for any of them, or if they do not fit together.
            BillingUnavailable: Stripe did not say.
        """
        plan = purchase.plan
        if plan.price_id is not None and not purchase.add_ons and not purchase.metered:
            return (plan.price_id,), ()
        own = await self._for_sale(plan)
        add_ons = [await self.add_on(plan, own, add_on) for add_on in purchase.add_ons]
        metered = [await self.metered(plan, own, one) for one in purchase.metered]
        return (own.price_id, *(one.price_id for one in add_ons)), tuple(one.price_id for one in metered)

    async def add_on(self, plan: Plan, own: PriceTerms, add_on: AddOn, *, pays: str | None = None) -> PriceFacts:
        """The price of an add-on that is sold beside a plan.

        Args:
            plan: Beside which.
            own: Its price.
            add_on: What is sold.
            pays: The currency of the subscription that it comes to; None: both are bought at a checkout.

        Raises:
            AddOnNotSold, CurrencyDiffers, BillingRefused, BillingUnavailable: As `price_ids`.
        """
        price = await self._for_sale(add_on)
        if (price.interval, price.interval_count) != (own.interval, own.interval_count):
            raise AddOnNotSold(
                f"The add-on {add_on.name!r} is paid at another interval than the plan {plan.plan_id!r}, and is not "
                "sold with it."
            )
        if pays is None and own.currency not in {None, price.currency}:
            raise CurrencyDiffers(
                f"The add-on {add_on.name!r} is sold in {price.currency.upper()}, and the plan {plan.plan_id!r} in "
                f"{(own.currency or '').upper()}: one subscription cannot pay both. Buy the plan without it."
            )
        if lacking := await self.find_other_currencies(price, pays):
            raise CurrencyDiffers(
                f"The add-on {add_on.name!r} is sold in {lacking} only, and this subscription pays "
                f"{(pays or '').upper()}, which cannot be changed. Leave the add-on out."
            )
        return price

    async def find_other_currencies(self, price: PriceFacts, pays: str | None) -> str:
        """The currencies that a price is sold in, in words, if a certain one is not among them; else nothing.

        Args:
            price: Asked for its options only where its own currency is another one.
            pays: The currency; None: it is not known, and nothing is refused for it.

        Raises:
            BillingRefused, BillingUnavailable: Stripe did not say.
        """
        if pays in {None, price.currency}:
            return ""
        sold_in = await self._prices.fetch_currencies(price.price_id)
        return "" if pays in sold_in else " and ".join(sorted(sold_in)).upper()

    async def metered(self, plan: Plan, own: PriceTerms, sold: MeteredPrice, *, pays: str | None = None) -> PriceFacts:
        """A price of overage that is sold beside a plan.

        Args:
            plan: Beside which.
            own: Its price.
            sold: The price and the meter that it must bill.
            pays: The currency of the subscription that it comes to; None: both are bought at a checkout.

        Raises:
            CurrencyDiffers, BillingRefused, BillingUnavailable: As `price_ids`.
        """
        name = sold.price.price_id or sold.price.lookup_key or ""
        price = await self._prices.find_overage(sold.price)
        if price is None or price.meter_id is None:
            log.error("overage has no active metered price in stripe", plan_id=plan.plan_id, price=name)
            raise BillingRefused("A price of overage is missing at the payment provider, or bills no usage.")
        check_rhythm(plan, own, (price.interval, price.interval_count), f"overage {name}")
        billed = await self.meter_name(price.meter_id)
        if billed != sold.stripe_meter:
            log.error(
                "a price of overage bills another meter than usage is reported to",
                plan_id=plan.plan_id,
                price=name,
                billed=billed,
                stripe_meter=sold.stripe_meter,
            )
            raise BillingRefused(
                f"The plan {plan.plan_id!r} is not for sale at the moment: its price of overage bills another meter."
            )
        if lacking := await self.find_other_currencies(price, pays):
            raise CurrencyDiffers(
                f"The overage of the plan {plan.plan_id!r} is sold in {lacking} only, and this subscription pays "
                f"{(pays or '').upper()}, which cannot be changed. Cancel it in the billing portal, and buy the plan "
                "when it has ended."
            )
        return price

    async def fetch_meter(self, meter_id: str) -> MeterFacts:
        """A Billing Meter, read now."""
        async with stripe_call("read a meter", self._deadline_s):
            return read_meter(await self._client.v1.billing.meters.retrieve_async(meter_id))

    async def meter_name(self, meter_id: str) -> str:
        """The name (`event_name`) of a Billing Meter, by which usage is reported to it.

        Raises:
            BillingUnavailable, BillingRefused: Stripe did not say.
        """
        if meter_id not in self._meter_names:
            self._meter_names[meter_id] = (await self.fetch_meter(meter_id)).event_name
        return self._meter_names[meter_id]

    async def _for_sale(self, sold: Plan | AddOn) -> PriceFacts:
        """By lookup key whichever price has it now; by id, which is always the same, as it was read before."""
        if sold.price_id is None:
            return await self._prices.fetch_for_sale(sold)
        known = (await self._prices.of({sold.price_id: sold})).get(sold.price_id)
        return await self._prices.fetch_for_sale(sold) if known is None else known


def check_rhythm(plan: Plan, own: PriceTerms, beside: tuple[str | None, int], what: str) -> None:
    """Refuse what does not renew with the plan.

    Args:
        plan: Beside which it is to stand.
        own: The plan's price.
        beside: Interval and how many of it.
        what: It, for the operator.

    Raises:
        BillingRefused: They differ. The log says how.
    """
    if beside == (own.interval, own.interval_count):
        return
    log.error(
        "prices of other intervals cannot be sold beside each other",
        plan_id=plan.plan_id,
        plan_interval=f"{own.interval_count} {own.interval}",
        beside=what,
        interval=f"{beside[1]} {beside[0]}",
    )
    raise BillingRefused(
        f"The plan {plan.plan_id!r} is not for sale like this at the moment: it and what goes with it are paid at"
        " different intervals."
    )
