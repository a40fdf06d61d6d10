"""Prices as shown to people: read from Stripe now and then, remembered in between.

When Stripe is away, the last known price is shown rather than none: it is only a display,
and the checkout page itself shows what will be charged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from time import monotonic

import stripe
import structlog
from cachetools import LRUCache, TTLCache

from gateway.billing.failures import is_missing, stripe_call
from gateway.billing.reading import PriceFacts, read_price
from gateway.core.errors import BillingRefused, BillingUnavailable
from gateway.core.offer import AddOn
from gateway.core.overage import PriceName
from gateway.core.policy import Plan

log = structlog.get_logger(__name__)

_ENTRIES = 1000
_LOOKUP_KEYS_A_CALL = 10
"""Source: `lookup_keys` of https://docs.stripe.com/api/prices/list"""
_EXPAND = ["data.product"]


class PriceList:
    """The prices of plans and add-ons, each remembered for `ttl_s` seconds."""

    def __init__(self, client: stripe.StripeClient, *, ttl_s: float, deadline_s: float) -> None:
        self._client = client
        self._deadline_s = deadline_s
        self._fresh: TTLCache[str, PriceFacts | None] = TTLCache(_ENTRIES, ttl_s, timer=monotonic)
        self._known: LRUCache[str, PriceFacts] = LRUCache(_ENTRIES)
        self._reading = asyncio.Lock()

    async def of(self, wanted: Mapping[str, Plan | AddOn]) -> dict[str, PriceFacts]:
        """The price of each, by the same names. One whose price Stripe does not have is left out.

        Raises:
            BillingUnavailable: Stripe is away and a price was never read.
            BillingRefused: Stripe refused.
        """
        missing = [one for one in wanted.values() if _name(one) not in self._fresh]
        if missing:
            async with self._reading:
                await self._read([one for one in missing if _name(one) not in self._fresh])
        found = {name: self._fresh.get(_name(one), self._known.get(_name(one))) for name, one in wanted.items()}
        return {name: price for name, price in found.items() if price is not None}

    async def fetch_for_sale(self, plan: Plan | AddOn) -> PriceFacts:
        """The price that whoever buys this now gets, asked of Stripe now.

        Raises:
            BillingRefused: Also if Stripe has no active price for it.
            BillingUnavailable: Stripe did not say.
        """
        if plan.price_id is None:
            found = (await self._by_lookup_key([plan.lookup_key or ""])).get(_name(plan))
        else:
            found = (await self._by_id([plan.price_id])).get(_name(plan))
        if found is None:
            name = plan.name if isinstance(plan, AddOn) else plan.plan_id
            log.error("plan has no active price in stripe", plan_id=name, lookup_key=plan.lookup_key)
            kind = "add-on" if isinstance(plan, AddOn) else "plan"
            raise BillingRefused(f"The {kind} {name!r} has no price for sale at the payment provider.")
        return found

    async def find_overage(self, price: PriceName) -> PriceFacts | None:
        """A price of overage, read now; None: Stripe does not have it.

        Raises:
            BillingRefused: Stripe refused.
            BillingUnavailable: Stripe did not say.
        """
        if price.lookup_key is None:
            return (await self._by_id([price.price_id or ""])).get(f"id {price.price_id}")
        return (await self._by_lookup_key([price.lookup_key])).get(f"key {price.lookup_key}")

    async def fetch_currencies(self, price_id: str) -> frozenset[str]:
        """Every currency that a price asks in, its own too, read now. Stripe shows them only where it is asked to.

        Raises:
            BillingRefused: Stripe refused, or does not have the price.
            BillingUnavailable: Stripe did not say.
        """
        async with stripe_call("read a price", self._deadline_s):
            price = await self._client.v1.prices.retrieve_async(price_id, {"expand": ["currency_options"]})
            options = price.currency_options
            return frozenset({price.currency, *(() if options is None else options.to_dict())})

    def forget(self) -> None:
        """Read every price again when it is next asked for."""
        self._fresh.clear()

    async def _read(self, plans: Sequence[Plan | AddOn]) -> None:
        try:
            found = await self._by_lookup_key([plan.lookup_key for plan in plans if plan.lookup_key is not None])
            found |= await self._by_id([plan.price_id for plan in plans if plan.price_id is not None])
        except BillingUnavailable:
            if all(_name(plan) in self._known for plan in plans):
                return
            raise
        for plan in plans:
            price = found.get(_name(plan))
            self._fresh[_name(plan)] = price
            if price is not None:
                self._known[_name(plan)] = price

    async def _by_lookup_key(self, keys: list[str]) -> dict[str, PriceFacts]:
        found: dict[str, PriceFacts] = {}
        for start in range(0, len(keys), _LOOKUP_KEYS_A_CALL):
            some = keys[start : start + _LOOKUP_KEYS_A_CALL]
            async with stripe_call("list prices", self._deadline_s):
                page = await self._client.v1.prices.list_async(
                    {"lookup_keys": some, "active": True, "expand": _EXPAND, "limit": 100}
                )
                found |= {f"key {price.lookup_key}": read_price(price) for price in page.data}
        return found

    async def _by_id(self, price_ids: list[str]) -> dict[str, PriceFacts]:
        found: dict[str, PriceFacts] = {}
        for price_id in price_ids:
            async with stripe_call("read a price", self._deadline_s):
                try:
                    price = await self._client.v1.prices.retrieve_async(price_id, {"expand": ["product"]})
                except stripe.InvalidRequestError as error:
                    if not is_missing(error):
                        raise
                    continue
                found[f"id {price_id}"] = read_price(price)
        return found


def _name(plan: Plan | AddOn) -> str:
    return f"id {plan.price_id}" if plan.price_id is not None else f"key {plan.lookup_key}"
