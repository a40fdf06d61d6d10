"""Which plan sells a price: id, lookup key, memory, product; in that order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.core.access import decide_access
from gateway.core.account import Account, Subscription
from gateway.core.billing_facts import CustomerFacts, ItemFacts
from gateway.core.plan_map import plan_of_item, plan_of_record, running_of, unmapped_products, with_product_tiers
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


DAY_S = 86_400
OTHERS = {one: plan for one, plan in POLICY.plans.items() if one != "pro-monthly"}
RENAMED = replace(POLICY, plans={"pro": replace(POLICY.plans["pro-monthly"], plan_id="pro"), **OTHERS})
WITHOUT = replace(POLICY, plans=OTHERS)
PAID = customer(subscription("active", item("pro_monthly", price_id="price_old")))


def test_who_pays_for_a_plan_that_policy_calls_otherwise_keeps_it_at_once() -> None:
    record = recorded(PAID)
    assert (record.sold_as, granted(record, policy=RENAMED)) == ("pro_monthly", "pro")
    plan = plan_of_record(record, RENAMED)
    assert plan is not None
    assert plan.plan_id == "pro"


def test_a_rename_is_no_change_of_plan_and_what_is_read_next_has_the_new_name() -> None:
    after = recorded(PAID, recorded(PAID), policy=RENAMED)
    assert (after.plan_id, after.last_good_plan_id, after.plan_changes) == ("pro", "pro", ())


def test_a_price_whose_lookup_key_has_moved_keeps_its_plan_through_a_rename() -> None:
    moved = customer(subscription("active", item(None, price_id="price_old")))
    before = recorded(moved, recorded(PAID))
    assert granted(before, policy=RENAMED) == "pro"
    after = recorded(moved, before, policy=RENAMED)
    assert (after.plan_id, after.unreadable_since) == ("pro", None)


def test_a_record_of_before_that_does_not_say_what_it_was_sold_at_is_found_by_its_price_id() -> None:
    record = replace(recorded(PAID), sold_as=None, last_good_tier=None)
    plans = {"now": replace(POLICY.plans["pro-monthly"], plan_id="now", lookup_key=None, price_id="price_old")}
    assert granted(record, policy=replace(POLICY, plans=plans)) == "pro"
    assert granted(record, policy=RENAMED) == "free"


def account_of(record: Subscription | None) -> Account:
    return Account(customer_id="c1", user_id="u1", version=1, created_at=1, subscription=record)


def test_what_a_plan_granted_that_is_not_sold_any_more_is_kept_and_not_for_ever() -> None:
    record = recorded(PAID)
    assert granted(record, policy=WITHOUT) == "pro", "nobody is dropped whom no read has looked at"
    unread = decide_access(account_of(record), WITHOUT, NOW)
    assert (unread.standing, unread.grace_until) == ("unreadable", record.period_ends_at + DAY_S)
    read = recorded(PAID, record, policy=WITHOUT)
    assert (read.unreadable_since, read.last_good_tier) == (NOW, "pro")
    assert decide_access(account_of(read), WITHOUT, NOW).grace_until == NOW + DAY_S
    assert granted(read, policy=replace(WITHOUT, tiers={"free": POLICY.tiers["free"]}, plans={})) == "free"


def test_the_last_good_plan_is_found_by_its_price_too_and_a_later_plan_s_price_is_not_taken_for_it() -> None:
    odd = customer(subscription("active", item("who_knows", price_id="price_x")))
    unread = recorded(odd, recorded(PAID))
    assert (unread.plan_id, unread.sold_as) == (None, "pro_monthly")
    assert granted(unread, policy=RENAMED) == "pro"
    due = recorded(customer(subscription("past_due", item("pro_monthly", price_id="price_enterprise"))), recorded(PAID))
    assert (due.plan_id, due.last_good_plan_id) == ("enterprise", "pro-monthly")
    lost = recorded(odd, due)
    assert (lost.sold_as, granted(lost, policy=RENAMED)) == (None, "pro"), "the tier of the last good plan"


def test_the_last_good_plan_of_who_is_past_due_is_renamed_with_the_plan() -> None:
    due = customer(subscription("past_due", item("pro_monthly", price_id="price_old")))
    after = recorded(due, recorded(due, recorded(PAID)), policy=RENAMED)
    assert (after.plan_id, after.last_good_plan_id) == ("pro", "pro")
