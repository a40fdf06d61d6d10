"""What metered prices ask for, remembered for a while.

Stripe does not change what a price asks in its own currency, and does change what it asks in others
(`currency_options`): what is remembered grows old, and is forgotten when an event tells of a change.
A price shows its steps, and what it asks in another currency than its own, only where that is expanded, which is
deeper than a list of subscriptions goes: such prices are read by themselves.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import stripe
from cachetools import TTLCache

from gateway.billing.failures import stripe_call
from gateway.clock import steady_s
from gateway.core.tariff import PriceStep, Tariff, TiersMode

if TYPE_CHECKING:
    from collections.abc import Sequence

_ENTRIES = 1000
_METERED = "metered"
_MODES: dict[str, TiersMode] = {"graduated": "graduated", "volume": "volume"}


def is_metered(price: stripe.Price) -> bool:
    """Whether it bills usage."""
    return price.recurring is not None and price.recurring.usage_type == _METERED


class TariffReader:
    """Reads tariffs of prices, each once in `ttl_s` seconds."""

    def __init__(self, client: stripe.StripeClient, *, ttl_s: float, deadline_s: float) -> None:
        self._client = client
        self._deadline_s = deadline_s
        self._known: TTLCache[tuple[str, str], Tariff | None] = TTLCache(_ENTRIES, ttl_s, timer=steady_s)

    def forget(self) -> None:
        """Read each again when it is next asked for."""
        self._known.clear()

    async def of(self, price: stripe.Price, currency: str) -> Tariff | None:
        """What a metered price asks of a subscription in a currency; None: in a way that this version does not read.

        Raises:
            BillingUnavailable, BillingRefused: Stripe did not say.
        """
        if price.currency == currency and price.billing_scheme == "per_unit":
            return _by_unit(price, currency)
        key = price.id, currency
        if key in self._known:
            return self._known[key]
        fresh = self._known[key] = await self._fetch(price, currency)
        return fresh

    async def _fetch(self, shown: stripe.Price, currency: str) -> Tariff | None:
        is_own = shown.currency == currency
        expand = ["tiers"] if is_own else ["currency_options", f"currency_options.{currency}.tiers"]
        async with stripe_call("read a price", self._deadline_s):
            price = await self._client.v1.prices.retrieve_async(shown.id, {"expand": expand})
            if is_own:
                return _by_steps(price, price.tiers)
            options = price.currency_options
            if options is None or currency not in options:
                return None
            option = options[currency]
            if price.billing_scheme == "per_unit":
                return _tariff(price, currency, option.unit_amount_decimal)
            return _by_steps(price, option.tiers, currency)


def _by_unit(price: stripe.Price, currency: str) -> Tariff | None:
    return _tariff(price, currency, price.unit_amount_decimal)


def _tariff(price: stripe.Price, currency: str, amount: Decimal | None) -> Tariff | None:
    if amount is None:
        return None
    packed = price.transform_quantity
    return Tariff(
        currency=currency,
        unit_amount=_text(amount),
        divide_by=1 if packed is None else packed.divide_by,
        rounds_up=packed is None or packed.round == "up",
    )


def _by_steps(
    price: stripe.Price,
    steps: Sequence[stripe.Price.Tier | stripe.Price.CurrencyOptions.Tier] | None,
    currency: str | None = None,
) -> Tariff | None:
    mode = _MODES.get(price.tiers_mode or "")
    if not steps or mode is None:
        return None
    return Tariff(
        currency=currency or price.currency,
        mode=mode,
        steps=tuple(
            PriceStep(
                up_to=step.up_to,
                unit_amount=_text(step.unit_amount_decimal),
                flat_amount=_text(step.flat_amount_decimal),
            )
            for step in steps
        ),
    )


def _text(amount: Decimal | None) -> str:
    """As text without an exponent. What stands in a map (`currency_options`), the SDK leaves as Stripe wrote it."""
    return "0" if amount is None else format(Decimal(amount), "f")
