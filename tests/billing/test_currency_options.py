"""A metered price that asks in several currencies: a subscription is billed, and capped, in its own."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.billing import API_VERSION, Billing, StripeOptions
from gateway.billing.tariffs import TariffReader
from gateway.core.spending import most_charged, units_at_all
from gateway.core.tariff import PriceStep, Tariff
from gateway.ledger import Ledger
from gateway.sync import EventWorker, Sync
from tests.billing.conftest import CUS, KEY, Account, Answer, Request, StandIn, opened, publishing

PRICE: dict[str, Any] = {
    "id": "price_over",
    "object": "price",
    "active": True,
    "billing_scheme": "per_unit",
    "created": 1_700_000_000,
    "currency": "usd",
    "custom_unit_amount": None,
    "livemode": False,
    "lookup_key": None,
    "metadata": {},
    "nickname": None,
    "product": "prod_over",
    "recurring": {
        "interval": "month",
        "interval_count": 1,
        "meter": "mtr_over",
        "trial_period_days": None,
        "usage_type": "metered",
    },
    "tax_behavior": "unspecified",
    "tiers_mode": None,
    "transform_quantity": None,
    "type": "recurring",
    "unit_amount": 10,
    "unit_amount_decimal": "10",
}


def step(up_to: int | None, unit: str, flat: str | None = None) -> dict[str, Any]:
    return {
        "flat_amount": None,
        "flat_amount_decimal": flat,
        "unit_amount": None,
        "unit_amount_decimal": unit,
        "up_to": up_to,
    }


def option(unit: str | None = None, tiers: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    made = {
        "custom_unit_amount": None,
        "tax_behavior": "unspecified",
        "unit_amount": None,
        "unit_amount_decimal": unit,
    }
    return made if tiers is None else made | {"tiers": tiers}


class Prices:
    """A Stripe that has one price, and shows what it asks in other currencies only where that is expanded."""

    def __init__(self, billing: Billing, stand_in: StandIn) -> None:
        self._client = billing._client
        self._stand_in = stand_in

    async def tariff(self, currency: str, options: dict[str, Any], **changes: Any) -> Tariff | None:
        """What a subscription in that currency is asked."""
        plain = PRICE | changes

        async def answer(request: Request) -> Answer:
            expanded = {value for name, values in request.query.items() if "expand" in name for value in values}
            shown = dict(plain)
            if "currency_options" in expanded:
                shown["currency_options"] = {
                    name: {
                        key: value
                        for key, value in one.items()
                        if key != "tiers" or f"currency_options.{name}.tiers" in expanded
                    }
                    for name, one in options.items()
                }
            return Answer(body=json.dumps(shown).encode(), headers={"stripe-version": API_VERSION})

        self._stand_in.handler = answer
        price = await self._client.v1.prices.retrieve_async("price_over")
        return await TariffReader(self._client, ttl_s=300, deadline_s=20).of(price, currency)


@pytest.fixture
async def prices(stand_in: StandIn) -> AsyncIterator[Prices]:
    async with opened(StripeOptions(secret_key=KEY, base_url=stand_in.url)) as billing:
        yield Prices(billing, stand_in)


async def test_a_price_by_the_unit_asks_what_the_currency_of_the_subscription_says(prices: Prices) -> None:
    asked = {"eur": option("9.5"), "usd": option("10")}
    assert await prices.tariff("eur", asked) == Tariff(currency="eur", unit_amount="9.5")
    assert await prices.tariff("usd", asked) == Tariff(currency="usd", unit_amount="10")


async def test_packages_are_those_of_the_price_at_the_amount_of_the_currency(prices: Prices) -> None:
    found = await prices.tariff("eur", {"eur": option("900")}, transform_quantity={"divide_by": 100, "round": "down"})
    assert found == Tariff(currency="eur", unit_amount="900", divide_by=100, rounds_up=False)


@pytest.mark.parametrize("mode", ["graduated", "volume"])
async def test_steps_are_those_of_the_currency(prices: Prices, mode: Any) -> None:
    own = {"billing_scheme": "tiered", "tiers_mode": mode, "unit_amount": None, "unit_amount_decimal": None}
    found = await prices.tariff("eur", {"eur": option(tiers=[step(100, "9"), step(None, "4.5", "200")])}, **own)
    steps = (PriceStep(up_to=100, unit_amount="9"), PriceStep(up_to=None, unit_amount="4.5", flat_amount="200"))
    assert found == Tariff(currency="eur", mode=mode, steps=steps)


async def test_a_currency_that_the_price_does_not_have_is_not_read_so_nothing_is_exceeded_under_a_cap(
    prices: Prices,
) -> None:
    assert await prices.tariff("gbp", {"eur": option("9.5")}) is None
    assert units_at_all([None], 1_000, "gbp") == 0


async def test_a_cap_buys_at_the_amount_of_its_currency_and_nothing_in_another(prices: Prices) -> None:
    tariff = await prices.tariff("eur", {"eur": option("9.5")})
    assert units_at_all([tariff], 1_000, "eur") == 105
    assert most_charged([tariff], 105) == 998
    assert units_at_all([tariff], 1_000, "usd") == 0


async def test_the_amounts_of_two_currencies_of_one_price_are_remembered_apart(prices: Prices) -> None:
    asked = {"eur": option("9.5"), "gbp": option("8")}
    eur, gbp = await prices.tariff("eur", asked), await prices.tariff("gbp", asked)
    assert eur is not None
    assert gbp == replace(eur, currency="gbp", unit_amount="8")


@pytest.mark.parametrize(("seconds", "is_told"), [(300.0, "told"), (0.0, "")])
async def test_what_a_price_asks_in_another_currency_is_read_again(
    stand_in: StandIn, seconds: float, is_told: str
) -> None:
    """A price keeps its id when its other currencies are repriced: a cap would buy at the amount from before."""
    asked = "3"

    async def answer(_: Request) -> Answer:
        return Answer(body=PRICE | {"currency_options": {"eur": option(asked)}})

    stand_in.handler = answer
    async with opened(StripeOptions(secret_key=KEY, base_url=stand_in.url, price_ttl_s=seconds)) as billing:
        price = await billing._client.v1.prices.retrieve_async("price_over")
        assert await billing.facts._tariffs.of(price, "eur") == Tariff(currency="eur", unit_amount="3")
        asked = "30"
        if is_told:
            billing.forget_prices()
        found = await billing.facts._tariffs.of(price, "eur")
    assert found == Tariff(currency="eur", unit_amount="30")
    assert units_at_all([found], 5_000, "eur") == 166


@pytest.mark.parametrize("follows", ["the one that had the event", "another"])
async def test_customers_whose_usage_is_billed_at_a_price_that_changed_are_read_again(
    *, stand_in: StandIn, sync: Sync, account: Account, ledger: Ledger, customer: str, deliver: Any, follows: str
) -> None:
    """What is expanded only is not among the attributes that an event says were changed."""
    asked = "3"

    async def answer(request: Request) -> Answer:
        if request.path == "/v1/prices/price_over":
            return Answer(body=PRICE | {"currency_options": {"eur": option(asked)}})
        return await account.answer(request)

    stand_in.handler = answer
    subscription = account.subscriptions[CUS][0]
    subscription["currency"] = "eur"
    subscription["items"]["data"].append(subscription["items"]["data"][0] | {"id": "si_2", "price": PRICE})
    async with opened(StripeOptions(secret_key=KEY, base_url=stand_in.url)) as billing:
        beside = Sync(
            ledger=ledger, billing=billing, policy=sync._policy, publish=publishing(ledger, []), clock=sync.clock
        )
        await beside.sync_customer(customer, "test")
        await sync.sync_customer(customer, "test")
        asked = "30"
        changed = {"object": PRICE, "previous_attributes": {"metadata": {"note": None}}}
        await deliver("evt_1", "price.updated", PRICE, data=changed)
        await EventWorker(ledger=ledger, sync=sync, clock=sync.clock).work_once()
        follower = sync if follows == "the one that had the event" else beside
        assert await EventWorker(ledger=ledger, sync=follower, clock=sync.clock).work_once() == 1
    recorded = await ledger.load_subscription(customer)
    assert recorded is not None
    assert [item.tariff for item in recorded.metered] == [Tariff(currency="eur", unit_amount="30")]
