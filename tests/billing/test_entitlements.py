"""Features that Stripe grants, beside a tier's own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gateway.core.access import decide_access


async def features(shop: Any, customer_id: str) -> set[str]:
    account = await shop.ledger.load_account(customer_id)
    tier = decide_access(account, shop.sync.policy, shop.sandbox.clock.now()).tier
    return set() if tier is None else set(tier.features)


async def grant(shop: Any, lookup_key: str) -> None:
    v1 = shop.sandbox.stripe.v1
    made = await v1.entitlements.features.create_async({"name": lookup_key, "lookup_key": lookup_key})
    await v1.products.features.create_async("prod_pro", {"entitlement_feature": made.id})


async def test_an_entitlement_that_policy_names_is_a_feature_while_the_plan_is_in_force(
    shop: Any, held_policy: Any
) -> None:
    held_policy.current = replace(held_policy.current, entitlements=frozenset({"exports"}))
    customer_id = await shop.buyer("pro-monthly")
    assert await features(shop, customer_id) == set()
    for lookup_key in ("exports", "not-in-policy"):
        await grant(shop, lookup_key)
    await shop.settle()
    assert (await shop.load(customer_id)).entitlements == ("exports", "not-in-policy")
    assert await features(shop, customer_id) == {"exports"}
    await shop.sandbox.stripe.v1.subscriptions.cancel_async((await shop.load(customer_id)).subscription_id)
    await shop.settle()
    assert await features(shop, customer_id) == set()


async def test_a_thin_summary_of_entitlements_names_nobody_and_is_found_by_its_snapshot(
    shop: Any, held_policy: Any
) -> None:
    held_policy.current = replace(held_policy.current, entitlements=frozenset({"thinly"}))
    customer_id = await shop.buyer("pro-monthly")
    await shop.hear_thinly()
    await grant(shop, "thinly")
    await shop.settle()
    assert await features(shop, customer_id) == {"thinly"}
    told = {one.type: one.outcome for one in await shop.ledger.list_events()}
    assert told["v1.entitlements.active_entitlement_summary.updated"] == "applied"


async def test_stripe_is_not_asked_for_entitlements_that_policy_does_not_count(shop: Any) -> None:
    await grant(shop, "unused")
    customer_id = await shop.buyer("pro-monthly")
    assert (await shop.load(customer_id)).entitlements == ()


async def test_every_page_of_entitlements_is_read(shop: Any) -> None:
    for number in range(101):
        await grant(shop, f"paged-{number:03d}")
    customer_id = await shop.buyer("pro-monthly")
    row = await shop.ledger.find_customer(customer_id)
    found = await shop.billing.facts.fetch_entitlements(row.stripe_customer_id)
    assert {f"paged-{number:03d}" for number in range(101)} <= set(found)


async def test_a_customer_deleted_at_stripe_is_entitled_to_nothing_and_loses_its_tier(
    shop: Any, held_policy: Any
) -> None:
    held_policy.current = replace(held_policy.current, entitlements=frozenset({"exports"}))
    await grant(shop, "of-who-left")
    customer_id = await shop.buyer("pro-monthly")
    row = await shop.ledger.find_customer(customer_id)
    await shop.sandbox.stripe.v1.customers.delete_async(row.stripe_customer_id)
    await shop.settle()
    gone = await shop.load(customer_id)
    assert (gone.status, gone.entitlements) == ("canceled", ())
    assert (await shop.ledger.inbox_counts()).by_status["dead"] == 0
    assert await features(shop, customer_id) == set()
