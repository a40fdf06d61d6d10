"""A plan that policy calls otherwise, at the same price, is kept by everybody who pays for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gateway.core.access import decide_access
from gateway.ledger import Ledger
from tests.billing.conftest import PATIENT_S


async def state(shop: Any, ledger: Ledger, customer_id: str) -> tuple[Any, ...]:
    account = await ledger.load_account(customer_id)
    assert account is not None
    access = decide_access(account, shop.sync.policy, shop.sandbox.clock.now())
    return access.tier and access.tier.name, access.standing, access.plan_id


def rename(shop: Any, old: str, new: str) -> None:
    held = shop.sync._policy
    plans = {new if one == old else one: plan for one, plan in held.current.plans.items()}
    plans[new] = replace(plans[new], plan_id=new)
    held.current = replace(held.current, plans=plans)


async def test_who_pays_keeps_the_tier_at_the_moment_of_the_edit_after_a_restart_and_when_stripe_is_read(
    shop: Any, ledger_url: str
) -> None:
    customer_id = await shop.buyer("pro-monthly")
    rename(shop, "pro-monthly", "pro")
    assert await state(shop, shop.ledger, customer_id) == ("pro", "good", "pro")
    after_a_restart = await Ledger.open(ledger_url, deadline_s=PATIENT_S)
    assert await state(shop, after_a_restart, customer_id) == ("pro", "good", "pro")
    await after_a_restart.aclose()
    await shop.sync.sync_customer(customer_id, "the daily run")
    record = await shop.load(customer_id)
    assert (record.plan_id, record.sold_as, record.plan_changes) == ("pro", "pro_monthly", ())
    rename(shop, "pro", "pro-monthly")
    assert await state(shop, shop.ledger, customer_id) == ("pro", "good", "pro-monthly")


async def test_who_pays_the_price_from_before_a_rise_keeps_the_tier_too(shop: Any) -> None:
    customer_id = await shop.buyer("pro-monthly")
    v1 = shop.sandbox.stripe.v1
    price = (await v1.prices.list_async({"lookup_keys": ["pro_monthly"]})).data[0]
    order = {"product": price.product, "currency": "usd", "unit_amount": 4900, "recurring": {"interval": "month"}}
    await v1.prices.create_async({**order, "lookup_key": "pro_monthly", "transfer_lookup_key": True})
    await shop.settle()
    rename(shop, "pro-monthly", "pro")
    assert (await state(shop, shop.ledger, customer_id))[0] == "pro"
    await shop.sync.sync_customer(customer_id, "the daily run")
    assert await state(shop, shop.ledger, customer_id) == ("pro", "good", "pro")
    await v1.prices.update_async(price.id, {"lookup_key": "pro_monthly", "transfer_lookup_key": True})
    await shop.settle()
