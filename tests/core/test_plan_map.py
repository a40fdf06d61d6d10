"""Which plan sells a price: id, lookup key, memory, product; in that order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.account import Subscription
from gateway.core.billing_facts import CustomerFacts, ItemFacts
from gateway.core.plan_map import plan_of_item, running_of, unmapped_products, with_product_tiers
from gateway.core.policy import tier_plan_id
from tests.core.test_projection import NOW, POLICY, codes, customer, granted, item, recorded, subscription

BY_PRODUCT = item("who_knows", product_id="prod_1", product_tier="enterprise")


def plan_id(of: ItemFacts) -> str | None:
    plan = plan_of_item(of, POLICY, None)
    return None if plan is None else plan.plan_id


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        (item("pro_monthly", price_id="price_enterprise", product_tier="free"), "enterprise"),
        (item("pro_monthly", product_tier="enterprise"), "pro-monthly"),
        (BY_PRODUCT, "tier:enterprise"),
        (item("who_knows", product_tier="nonesuch"), None),
        (item("who_knows"), None),
    ],
    ids=["price id", "lookup key", "product", "a tier that is not there", "nothing"],
)
def test_a_price_maps_by_id_then_lookup_key_then_product(price: ItemFacts, expected: str | None) -> None:
    assert plan_id(price) == expected


def test_a_tier_that_a_product_names_is_granted_like_one_that_a_plan_names() -> None:
    record = recorded(customer(subscription("active", BY_PRODUCT)))
    assert (record.plan_id, record.last_good_plan_id, record.unreadable_since) == ("tier:enterprise",) * 2 + (None,)
    assert granted(record) == "enterprise"
    assert codes(customer(subscription("active", BY_PRODUCT))) == []


def test_a_moved_lookup_key_keeps_its_plan_whatever_the_product_says() -> None:
    before = recorded(customer(subscription("active", item("pro_monthly", price_id="price_old"))))
    moved = item(None, price_id="price_old", product_tier="enterprise")
    assert recorded(customer(subscription("active", moved)), before).plan_id == "pro-monthly"


def test_what_a_product_says_is_not_remembered() -> None:
    before = recorded(customer(subscription("active", BY_PRODUCT)))
    lowered = replace(BY_PRODUCT, product_tier="pro")
    assert recorded(customer(subscription("active", lowered)), before).plan_id == "tier:pro"
    silent = recorded(customer(subscription("active", replace(BY_PRODUCT, product_tier=None))), before)
    assert (silent.plan_id, silent.last_good_plan_id, silent.unreadable_since) == (None, "tier:enterprise", NOW)
    assert granted(silent) == "enterprise"


def test_a_tier_that_policy_dropped_is_unmapped_and_the_finding_names_it() -> None:
    before = recorded(customer(subscription("active", BY_PRODUCT)))
    smaller = replace(POLICY, tiers={"free": POLICY.tiers["free"], "pro": POLICY.tiers["pro"]}, plans={})
    assert smaller.find_plan(before.plan_id) is None
    strange = customer(subscription("active", replace(BY_PRODUCT, product_tier="gold")))
    assert codes(strange) == ["unmapped-price"]


def test_only_products_of_prices_that_are_not_on_sale_and_not_ended_are_read() -> None:
    sold, odd = item(product_id="prod_sold"), item("who_knows", product_id="prod_odd")
    ended = subscription("canceled", item("old", product_id="prod_old"), subscription_id="sub_2")
    facts = customer(subscription("active", sold, odd), ended)
    assert unmapped_products(facts, POLICY) == ("prod_odd",)
    read = with_product_tiers(facts, {"prod_odd": "pro"})
    assert [one.product_tier for one in read.subscriptions[0].items] == [None, "pro"]


def test_no_plan_of_a_policy_can_have_the_id_of_a_products_plan() -> None:
    assert ":" in tier_plan_id("pro")
    assert with_product_tiers(CustomerFacts(stripe_customer_id="cus_1", exists=False), {}).subscriptions == ()


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (("canceled", "active"), "sub_1"),
        (("paused", "incomplete", "past_due"), "sub_2"),
        (("active", "past_due"), "sub_0"),
        (("canceled", "paused"), "sub_0"),
    ],
)
def test_what_can_be_changed_is_the_best_that_takes_money(statuses: tuple[str, ...], expected: str) -> None:
    record: Subscription | None = None
    for number, status in reversed(list(enumerate(statuses))):
        record = Subscription(
            subscription_id=f"sub_{number}",
            status=status,
            plan_id="pro",
            period_starts_at=1,
            period_ends_at=2,
            anchor_at=1,
            beneath=record,
        )
    running = running_of(record)
    assert running is not None
    assert running.subscription_id == expected
    assert running_of(None) is None
