"""A plan that policy calls otherwise, at the same price, is kept by who pays for it; one that goes, for a while."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway.billing.pace import Pace
from gateway.core.access import decide_access
from gateway.core.billing_facts import SubscriptionFacts
from gateway.core.plan_map import scheduled_plan
from gateway.ledger import Ledger
from gateway.sync import PlanChanges, PlanChecking
from gateway.sync.plan_checking import LEASE_S, LOOKS_AGAIN_S
from gateway.sync.restoring import planned_words, read_lost
from gateway.web.account_plan import planned_change
from tests.billing.conftest import PATIENT_S

pytestmark = pytest.mark.slow


async def state(shop: Any, ledger: Ledger, customer_id: str) -> tuple[Any, ...]:
    account = await ledger.load_account(customer_id)
    assert account is not None
    access = decide_access(account, shop.sync.policy, shop.sandbox.clock.now())
    return access.tier and access.tier.name, access.standing, access.plan_id


def rename(shop: Any, old: str, new: str) -> None:
    held = shop.sync._policy
    plans = {new if one == old else one: plan for one, plan in held.current.plans.items()}
    plans[new] = replace(plans[new], plan_id=new)
    held.current = replace(held.current, plans=plans, policy_hash=f"{old} as {new}")


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


def drop(shop: Any, plan_id: str, *, tier: str | None = None) -> None:
    held = shop.sync._policy
    plans = {name: plan for name, plan in held.current.plans.items() if name != plan_id and plan.tier != tier}
    tiers = {name: one for name, one in held.current.tiers.items() if name != tier}
    held.current = replace(held.current, plans=plans, tiers=tiers, policy_hash=f"without {plan_id}")


async def special(shop: Any) -> str:
    """Somebody who pays for a plan whose product names no tier."""
    v1 = shop.sandbox.stripe.v1
    product = await v1.products.create_async({"name": "Special"})
    order = {"product": product.id, "currency": "usd", "unit_amount": 900, "recurring": {"interval": "month"}}
    price = await v1.prices.create_async(order)
    held = shop.sync._policy
    plan = replace(held.current.plans["enterprise-monthly"], plan_id="special", lookup_key=None, price_id=price.id)
    held.current = replace(held.current, plans=held.current.plans | {"special": plan})
    customer_id: str = await shop.buyer("special")
    return customer_id


async def test_who_pays_for_a_plan_that_policy_drops_keeps_its_tier_for_a_while_and_it_is_flagged(shop: Any) -> None:
    customer_id = await special(shop)
    drop(shop, "special")
    assert (await state(shop, shop.ledger, customer_id))[:2] == ("enterprise", "unreadable"), "Stripe was not read yet"
    outcome = await shop.sync.sync_customer(customer_id, "the daily run")
    assert [one.code for one in outcome.needs_attention] == ["unmapped-price"]
    account = await shop.ledger.load_account(customer_id)
    now = shop.sandbox.clock.now()
    kept = [decide_access(account, shop.sync.policy, now + hours * 3600) for hours in (0, 23, 25)]
    assert [one.tier and one.tier.name for one in kept] == ["enterprise", "enterprise", "free"]
    record = await shop.load(customer_id)
    assert (record.plan_id, record.last_good_plan_id) == (None, "special")


async def test_a_plan_that_comes_back_is_the_plan_again(shop: Any) -> None:
    customer_id = await special(shop)
    before = shop.sync._policy.current
    drop(shop, "special")
    await shop.sync.sync_customer(customer_id, "the daily run")
    shop.sync._policy.current = before
    await shop.sync.sync_customer(customer_id, "the daily run")
    assert await state(shop, shop.ledger, customer_id) == ("enterprise", "good", "special")
    assert (await shop.load(customer_id)).plan_changes == ()


async def test_what_a_dropped_plan_granted_goes_with_its_tier(shop: Any) -> None:
    customer_id = await special(shop)
    drop(shop, "special", tier="enterprise")
    assert (await state(shop, shop.ledger, customer_id))[:2] == ("free", "unreadable")


async def test_a_planned_change_is_to_the_plan_under_its_new_name_and_is_made(shop: Any) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    planned = await changes.apply(customer_id, "pro-monthly", actor="customer", when="period-end")
    rename(shop, "pro-monthly", "pro")
    record = await shop.load(customer_id)
    shown = scheduled_plan(record, shop.sync.policy)
    assert (record.scheduled_plan_id, shown and shown.plan_id) == ("pro-monthly", "pro")
    change = planned_change(record, shop.sync.policy, shop.sandbox.clock.now())
    assert (change and change.plan, change and change.is_other_plan) == ("pro-monthly", True)
    await shop.sandbox.control("clock/advance", until=planned.takes_effect_at + 3_700)
    await shop.settle()
    assert await state(shop, shop.ledger, customer_id) == ("pro", "good", "pro")


async def test_what_was_planned_comes_back_under_the_new_name(shop: Any) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    await changes.apply(customer_id, "pro-monthly", actor="customer", when="period-end")
    current = await shop.sync.fetch_current(customer_id)
    words, planned_as = planned_words(current.facts, shop.sync.policy, current.record)
    assert len(words.split("|")) == 4, "the release before reads words of 4 parts, and runs beside this one for a while"
    rename(shop, "pro-monthly", "pro")
    lost = replace(current.facts, schedule=None, planned_before=words, planned_as=planned_as)
    assert wanted(lost, shop) == "pro"
    assert wanted(replace(lost, planned_as=""), shop) == "pro-monthly", "an earlier release wrote no name"
    stale = planned_as.replace("pro-monthly", "pro-yearly")
    assert wanted(replace(lost, planned_as=stale), shop) == "pro-monthly", "an earlier release left another plan's name"


def wanted(lost: SubscriptionFacts, shop: Any) -> str | None:
    found = read_lost(lost, shop.sync.policy)
    return found and found.plan_id


async def test_a_name_that_is_too_long_to_write_is_left_out_and_not_what_was_planned(shop: Any) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    await changes.apply(customer_id, "pro-monthly", actor="customer", when="period-end")
    current = await shop.sync.fetch_current(customer_id)
    assert current.facts.schedule is not None
    [item] = current.facts.schedule.next_items
    plan = replace(shop.sync.policy.plans["pro-monthly"], lookup_key=None, price_id="price_" + "x" * 490)
    long = replace(current.facts.schedule, next_items=(replace(item, price_id=plan.price_id, lookup_key=None),))
    policy = replace(shop.sync.policy, plans=shop.sync.policy.plans | {"pro-monthly": plan})
    words, planned_as = planned_words(replace(current.facts, schedule=long), policy, current.record)
    assert (words.split("|")[1], planned_as) == ("pro-monthly", "")


async def test_what_was_planned_and_its_name_stand_on_the_subscription_until_it_is_planned_again(shop: Any) -> None:
    customer_id = await shop.buyer("enterprise-monthly")
    changes = PlanChanges(sync=shop.sync, clock=shop.sandbox.clock)
    await changes.apply(customer_id, "pro-monthly", actor="customer", when="period-end")
    current = await shop.sync.fetch_current(customer_id)
    assert await changes._remember_planned(current)
    await shop.sync.billing.changes.later.release(current.facts.schedule.schedule_id)
    noted = (await shop.sync.fetch_current(customer_id)).facts
    assert (len(noted.planned_before.split("|")), noted.planned_as) == (4, "pro-monthly|pro_monthly")
    rename(shop, "pro-monthly", "pro")
    assert await changes.restore(customer_id)
    after = (await shop.sync.fetch_current(customer_id)).facts
    assert (after.planned_before, after.planned_as, after.schedule is not None) == ("", "", True)


async def forget_names(ledger_url: str) -> None:
    """As an earlier release left the ledger."""
    with sqlite3.connect(ledger_url.removeprefix("sqlite:///"), timeout=PATIENT_S) as connection:
        connection.execute("UPDATE subscriptions SET sold_as = NULL, last_good_tier = NULL, scheduled_sold_as = NULL")
    connection.close()


async def check(shop: Any) -> bool:
    """By a worker that has just started."""
    return await PlanChecking(sync=shop.sync, publish=shop.sync._publish).check_if_due()


async def test_records_of_an_earlier_release_are_named_before_a_plan_is_called_otherwise(
    shop: Any, ledger_url: str, published: list[str]
) -> None:
    customer_id = await shop.buyer("pro-monthly")
    await forget_names(ledger_url)
    published.clear()
    assert await check(shop)
    assert published == [customer_id]
    assert not await check(shop), "once is enough"
    rename(shop, "pro-monthly", "pro")
    assert await state(shop, shop.ledger, customer_id) == ("pro", "good", "pro")
    assert await check(shop)
    assert published == [customer_id], "there was nothing to write"


async def test_one_whose_plan_has_no_such_name_any_more_is_read_at_once(shop: Any, ledger_url: str) -> None:
    customer_id = await shop.buyer("pro-monthly")
    await forget_names(ledger_url)
    rename(shop, "pro-monthly", "pro")
    assert await check(shop)
    assert (await shop.ledger.inbox_counts()).by_status["pending"] == 1
    await shop.settle()
    assert await state(shop, shop.ledger, customer_id) == ("pro", "good", "pro")
    assert not await check(shop)
    assert (await shop.ledger.inbox_counts()).by_status["pending"] == 0, "whoever starts later asks for nothing again"


async def test_reads_that_a_check_asks_for_are_due_one_after_the_other(shop: Any, ledger_url: str) -> None:
    for _ in range(3):
        await shop.buyer("pro-monthly")
    await forget_names(ledger_url)
    drop(shop, "pro-monthly")
    shop.sync.billing.pace = Pace(2.0)
    begins_at = int(shop.sandbox.clock.now())
    await check(shop)
    first, second, third = sorted(one.due_at for one in await shop.ledger.list_events(status="pending"))
    assert begins_at <= first <= shop.sandbox.clock.now()
    assert (second - first, third - second) == (1, 1), "half of the turns"


async def test_a_plan_that_goes_is_kept_from_then_on_also_where_nothing_is_read_for_a_year(
    shop: Any, published: list[str]
) -> None:
    customer_id = await shop.buyer("pro-yearly")
    before = shop.sync.policy
    drop(shop, "pro-yearly")
    published.clear()
    begins_at = int(shop.sandbox.clock.now())
    assert await check(shop)
    assert published == [customer_id], "workers decide by what they hold"
    account = await shop.ledger.load_account(customer_id)
    dropped_at = (await shop.load(customer_id)).unreadable_since
    assert begins_at <= dropped_at <= shop.sandbox.clock.now()
    access = [decide_access(account, shop.sync.policy, dropped_at + hours * 3600) for hours in (0, 23, 25)]
    assert [one.tier and one.tier.name for one in access] == ["pro", "pro", "free"]
    [row] = [row for row in await shop.ledger.list_audit(customer_id) if row.actor == "policy"]
    assert row.access_after == row.access_after | {"until": dropped_at + 86_400, "policy": shop.sync.policy.policy_hash}
    shop.sync._policy.current = before
    assert await check(shop)
    assert (await shop.load(customer_id)).unreadable_since is None
    assert await state(shop, shop.ledger, customer_id) == ("pro", "good", "pro-yearly")


async def test_of_two_workers_that_take_an_edit_one_checks_and_both_know(shop: Any, published: list[str]) -> None:
    customer_id = await shop.buyer("pro-monthly")
    workers = [PlanChecking(sync=shop.sync, publish=shop.sync._publish) for _ in range(2)]
    drop(shop, "pro-monthly")
    published.clear()
    checked = await asyncio.gather(*(worker.check_if_due() for worker in workers))
    assert sorted(checked) == [False, True]
    assert published == [customer_id]
    assert [await worker.check_if_due() for worker in workers] == [False, False]


async def test_what_a_worker_left_when_it_died_is_checked_by_another_from_the_same_instant(shop: Any) -> None:
    first, second = await shop.buyer("pro-monthly"), await shop.buyer("pro-monthly")
    drop(shop, "pro-monthly")

    async def die(_: str) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        await PlanChecking(sync=shop.sync, publish=die).check_if_due()
    dropped_at = (await shop.load(first)).unreadable_since
    assert not await check(shop), "the claim of the dead one"
    await shop.sandbox.control("clock/advance", seconds=LEASE_S)
    with capture_logs() as said:
        assert await check(shop)
    assert [(await shop.load(one)).unreadable_since for one in (first, second)] == [dropped_at] * 2
    [told] = [line for line in said if line["event"] == "policy lacks plans that customers have"]
    assert told["customers"] == {"pro-monthly": 2}, "also of whom it was written before"


async def test_a_check_that_was_overtaken_writes_nothing_over_what_the_newer_one_wrote(
    shop: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer_id = await shop.buyer("pro-monthly")
    before = shop.sync.policy
    listed, goes_on = asyncio.Event(), asyncio.Event()
    list_of_ledger = shop.ledger.list_by_plan_traits

    async def list_slowly(*args: Any) -> list[str]:
        page: list[str] = await list_of_ledger(*args)
        listed.set()
        await goes_on.wait()
        return page

    monkeypatch.setattr(shop.ledger, "list_by_plan_traits", list_slowly)
    drop(shop, "pro-monthly")
    overtaken = asyncio.create_task(check(shop))
    await listed.wait()
    shop.sync._policy.current = before
    await shop.sandbox.control("clock/advance", seconds=LEASE_S)
    assert await check(shop)
    goes_on.set()
    assert not await overtaken
    assert (await shop.load(customer_id)).unreadable_since is None


async def test_two_policies_on_one_ledger_do_not_leave_a_dropped_plan_without_its_end(shop: Any) -> None:
    customer_id = await shop.buyer("pro-yearly")
    before = shop.sync.policy
    with_the_edit, from_before = (PlanChecking(sync=shop.sync, publish=shop.sync._publish) for _ in range(2))
    drop(shop, "pro-yearly")
    after = shop.sync.policy
    assert await with_the_edit.check_if_due()
    shop.sync._policy.current = before
    assert await from_before.check_if_due()
    assert (await shop.load(customer_id)).unreadable_since is None, "to this worker the plan came back"
    shop.sync._policy.current = after
    assert not await with_the_edit.check_if_due()
    await shop.sandbox.control("clock/advance", seconds=LOOKS_AGAIN_S)
    assert await with_the_edit.check_if_due()
    dropped_at = (await shop.load(customer_id)).unreadable_since
    assert dropped_at is not None
    for policy, worker in ((before, from_before), (after, with_the_edit)):
        shop.sync._policy.current = policy
        await shop.sandbox.control("clock/advance", seconds=LOOKS_AGAIN_S)
        assert await worker.check_if_due()
        assert (await shop.load(customer_id)).unreadable_since == dropped_at, "they do not undo each other's checks"
