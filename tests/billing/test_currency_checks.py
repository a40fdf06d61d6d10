"""What is sold together is sold in one currency: what the doctor tells of it, and what a checkout does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from gateway.billing import Billing, StripeOptions
from gateway.cli.findings import Finding
from gateway.cli.offer_checks import check_offers
from gateway.cli.overage_checks import check_overages
from gateway.core.errors import BillingRefused
from gateway.core.offer import AddOn
from gateway.core.overage import Overage, PriceName
from gateway.core.policy import Policy
from tests.billing.conftest import Answer, Request, StandIn, opened, through

pytestmark = pytest.mark.slow

PLAN = "price_pro_monthly"


class Doctor:
    """Asks a Stripe whose prices have options for more currencies than their own."""

    def __init__(self, shop: Any, billing: Billing) -> None:
        self.shop = shop
        self.billing = billing
        self.also: dict[str, tuple[str, ...]] = {}
        """By price: other currencies that it asks in."""
        self.asked: list[str] = []
        """Prices of which the currencies were read."""
        self._ask = through(shop.sandbox.url)

    async def answer(self, request: Request) -> Answer:
        got = await self._ask(request)
        if "currency_options" not in str(request.query):
            return got
        price = json.loads(got.body)  # type: ignore[arg-type]
        self.asked.append(price["id"])
        [own] = price["currency_options"].values()
        price["currency_options"] |= dict.fromkeys(self.also.get(price["id"], ()), own)
        return Answer(status=got.status, body=price)

    async def price(self, **changes: Any) -> str:
        """A new monthly price."""
        v1 = self.shop.sandbox.stripe.v1
        product = await v1.products.create_async({"name": "Beside"})
        wanted = {"product": product.id, "currency": "usd", "unit_amount": 5, "recurring": {"interval": "month"}}
        return str((await v1.prices.create_async(wanted | changes)).id)

    def policy(
        self, *, overage: str | None = None, add_on: str | None = None, spend_cap: tuple[int, str] | None = None
    ) -> Policy:
        held: Policy = self.shop.sync._policy.current
        plan, tiers, add_ons = held.plans["pro-monthly"], dict(held.tiers), {}
        if overage is not None:
            beyond = Overage(
                meter="requests", stripe_meter="api_overage", price=PriceName(price_id=overage), spend_cap=spend_cap
            )
            tiers["pro"] = replace(tiers["pro"], overages=(beyond,))
        if add_on is not None:
            add_ons["extra"] = AddOn(name="extra", title="Extra", price_id=add_on, lookup_key=None)
            plan = replace(plan, add_ons=("extra",))
        return replace(held, tiers=tiers, plans={plan.plan_id: plan}, add_ons=add_ons)

    async def find(self, policy: Policy) -> list[Finding]:
        return [*await check_overages(self.billing, policy), *await check_offers(self.billing, policy)]


@pytest.fixture
async def doctor(shop: Any) -> AsyncIterator[Doctor]:
    stripe = StandIn()
    async with (
        stripe.listening(),
        opened(StripeOptions(secret_key=shop.sandbox.key, base_url=stripe.url)) as billing,
    ):
        made = Doctor(shop, billing)
        stripe.account_id, stripe.handler = None, made.answer
        yield made


async def test_overage_that_is_not_sold_in_each_currency_of_its_plan_is_told(doctor: Doctor) -> None:
    doctor.also = {PLAN: ("eur", "gbp"), "price_api_overage": ("gbp",)}
    [found] = await doctor.find(doctor.policy(overage="price_api_overage"))
    assert (found.grade.value, found.subject) == ("warn", "overage")
    assert "the plan is sold in EUR too, and this is not" in found.what
    assert "in USD for everybody" in found.what


async def test_an_add_on_that_is_not_sold_in_each_currency_of_its_plan_is_told(doctor: Doctor) -> None:
    add_on = await doctor.price()
    doctor.also = {PLAN: ("eur", "gbp")}
    found = [one.what for one in await doctor.find(doctor.policy(add_on=add_on)) if one.grade.value == "warn"]
    assert len(found) == 1
    assert "add-on 'extra' beside plan 'pro-monthly': the plan is sold in EUR and GBP too, and this is not" in found[0]


async def test_buyers_whose_currency_is_not_that_of_the_spend_cap_are_told_of(doctor: Doctor) -> None:
    doctor.also = {PLAN: ("eur", "gbp"), "price_api_overage": ("eur", "gbp", "jpy")}
    capped = doctor.policy(overage="price_api_overage", spend_cap=(5_000, "usd"))
    [found] = await doctor.find(capped)
    assert (found.grade.value, found.subject) == ("warn", "overage")
    assert "who pays in EUR and GBP has no overage: `spend_cap` is in USD" in found.what
    assert "JPY" not in found.what, "the plan is not sold in it"


async def test_a_spend_cap_says_nothing_of_buyers_of_one_currency(doctor: Doctor) -> None:
    doctor.also = {"price_api_overage": ("eur",)}
    found = await doctor.find(doctor.policy(overage="price_api_overage", spend_cap=(5_000, "usd")))
    assert {one.grade.value for one in found} == {"ok"}


async def test_what_is_sold_in_each_currency_of_its_plan_is_right(doctor: Doctor) -> None:
    add_on = await doctor.price()
    doctor.also = {PLAN: ("eur",), "price_api_overage": ("eur", "gbp"), add_on: ("eur",)}
    found = await doctor.find(doctor.policy(overage="price_api_overage", add_on=add_on))
    assert {one.grade.value for one in found} == {"ok"}


async def test_a_plan_in_one_currency_asks_no_more_of_what_is_beside_it(doctor: Doctor) -> None:
    add_on = await doctor.price()
    found = await doctor.find(doctor.policy(overage="price_api_overage", add_on=add_on))
    assert {one.grade.value for one in found} == {"ok"}
    assert set(doctor.asked) == {PLAN}


async def test_prices_whose_first_currencies_differ_are_never_sold_together(doctor: Doctor) -> None:
    found = await doctor.find(doctor.policy(add_on=await doctor.price(currency="eur")))
    assert [one.what for one in found if one.grade.value == "fail"] == [
        "add-on 'extra' is never sold with plan 'pro-monthly': it is in EUR, and the plan in USD"
    ]


async def test_what_has_an_option_for_the_currency_of_its_plan_is_sold_to_who_has_the_plan(doctor: Doctor) -> None:
    add_on = await doctor.price(currency="eur")
    doctor.also = {PLAN: ("eur", "gbp"), add_on: ("usd", "jpy")}
    found = [one for one in await doctor.find(doctor.policy(add_on=add_on)) if one.grade.value != "ok"]
    words = (
        "add-on 'extra' is not sold at a checkout of plan 'pro-monthly', for it is first in EUR, and the plan in USD: "
        "only who has the plan already, and pays in EUR or USD, can add it"
    )
    assert [(one.grade.value, one.what) for one in found] == [("warn", words)]


async def test_a_checkout_of_overage_in_another_currency_than_its_plan_is_refused(shop: Any, doctor: Doctor) -> None:
    """Whoever would buy sees 502 `billing-refused`."""
    meters = await shop.sandbox.stripe.v1.billing.meters.list_async()
    meter = next(one.id for one in meters.data if one.event_name == "api_overage")
    metered = {"interval": "month", "usage_type": "metered", "meter": meter}
    shop.sync._policy.current = doctor.policy(overage=await doctor.price(currency="eur", recurring=metered))
    with pytest.raises(BillingRefused):
        await shop.checkout(await shop.new_customer())
