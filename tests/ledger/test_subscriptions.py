from __future__ import annotations

import asyncio
from dataclasses import asdict, replace

import pytest

from gateway.core.account import MeteredItem, Subscription
from gateway.ledger import CustomerUnknown
from tests.steps import found


@pytest.fixture
def apply(ledger):
    def apply(customer_id, fence, subscription):
        return ledger.apply_subscription(
            customer_id, fence, found(subscription), now=9, actor="stripe", because="evt_1"
        )

    return apply


async def test_fences_rise_and_never_repeat_between_processes(ledger, customer, ledger_url, open_ledger):
    other = await open_ledger(ledger_url)
    fences = await asyncio.gather(*((ledger, other)[i % 2].take_fence(customer) for i in range(20)))
    assert sorted(fences) == list(range(1, 21))


async def test_a_snapshot_is_read_back_whole(ledger, customer, subscription, apply):
    full = replace(
        subscription,
        status="a word Stripe has not coined yet",
        plan_id=None,
        cancel_at=5,
        past_due_since=6,
        last_good_plan_id="pro-yearly",
        unreadable_since=7,
        price_id="price_1",
        status_since=8,
        flags=(("disputed", 9), ("pending_update", 10)),
        entitlements=("exports",),
        seats=12,
        add_ons=(("exports", 1), ("more-requests", 3)),
        add_on_prices=(("price_2", "exports"), ("price_3", "more-requests")),
        scheduled_plan_id="pro-monthly",
        scheduled_at=11,
        scheduled_seats=2,
        scheduled_add_ons=(("exports", 1),),
    )
    third = replace(full, subscription_id="sub_3", metered=(MeteredItem(price_id="price_4", lookup_key="over"),))
    full = replace(full, beneath=replace(subscription, subscription_id="sub_2", beneath=third))
    assert await apply(customer, await ledger.take_fence(customer), full)
    assert await ledger.load_subscription(customer) == full
    assert (await ledger.load_account(customer)).subscription == full


async def test_the_older_of_two_interleaved_reads_never_wins(ledger, customer, subscription, apply):
    older, newer = await ledger.take_fence(customer), await ledger.take_fence(customer)
    assert await apply(customer, newer, replace(subscription, status="canceled"))
    assert not await apply(customer, older, subscription)
    assert (await ledger.load_subscription(customer)).status == "canceled"


async def test_what_is_recorded_is_made_of_what_the_read_before_it_recorded(ledger, customer, subscription):
    older, newer = await ledger.take_fence(customer), await ledger.take_fence(customer)
    saw: list[Subscription | None] = []

    def note(before: Subscription | None) -> Subscription | None:
        saw.append(before)
        return replace(subscription, status="past_due", past_due_since=5 if before is None else before.past_due_since)

    for fence in (older, newer):
        recorded = await ledger.apply_subscription(customer, fence, note, now=9, actor="stripe", because="evt_1")
        assert (recorded.before, recorded.after) == (saw[-1], await ledger.load_subscription(customer))
    assert [before and before.past_due_since for before in saw] == [None, 5]
    assert await ledger.apply_subscription(customer, newer, note, now=9, actor="stripe", because="evt_1") is None
    assert len(saw) == 2, "what came too late is not made"


async def test_a_fence_is_used_once(ledger, customer, subscription, apply):
    fence = await ledger.take_fence(customer)
    assert await apply(customer, fence, subscription)
    assert not await apply(customer, fence, None)
    assert await ledger.load_subscription(customer) == subscription


async def test_a_fence_that_was_never_taken_is_a_fault_of_the_caller(customer, subscription, apply):
    with pytest.raises(ValueError, match="never taken"):
        await apply(customer, 1, subscription)


async def test_a_read_that_finds_nothing_new_raises_no_version_and_writes_no_audit(
    ledger, customer, subscription, apply
):
    assert await apply(customer, await ledger.take_fence(customer), subscription)
    version, entries = (await ledger.find_customer(customer)).version, len(await ledger.list_audit(customer))
    assert await apply(customer, await ledger.take_fence(customer), subscription)
    row = await ledger.find_customer(customer)
    assert (row.version, row.applied_fence) == (version, 2)
    assert len(await ledger.list_audit(customer)) == entries


async def test_a_change_is_audited_with_both_sides(ledger, customer, subscription, apply):
    await apply(customer, await ledger.take_fence(customer), subscription)
    await apply(customer, await ledger.take_fence(customer), None)
    ended, began, _ = await ledger.list_audit(customer)
    changes = [list(change) for change in subscription.plan_changes]
    empty = {
        name: []
        for name in (
            "flags",
            "entitlements",
            "metered",
            "add_ons",
            "add_on_prices",
            "scheduled_add_ons",
            "extras_changes",
        )
    }
    lists = {"plan_changes": changes, **empty}
    shown = asdict(subscription) | lists
    assert (began.before, began.after) == (None, shown)
    assert (ended.before, ended.after) == (shown, None)
    assert (ended.at, ended.actor, ended.because, ended.action) == (
        9,
        "stripe",
        "evt_1",
        "subscription-changed",
    )
    assert await ledger.load_subscription(customer) is None


async def test_nobody_has_no_subscription(ledger, subscription, apply):
    assert await ledger.load_subscription("nobody") is None
    with pytest.raises(CustomerUnknown):
        await apply("nobody", 1, subscription)


async def test_processes_that_race_leave_the_latest_read(ledger, customer, ledger_url, start_process):
    processes = [start_process("sync", ledger_url, customer, 25) for _ in range(3)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3
    for process in processes:
        process.stdin.close()
    lost = [int(await asyncio.to_thread(process.stdout.read)) for process in processes]
    row = await ledger.find_customer(customer)
    assert row.sync_fence == row.applied_fence == 75
    assert (await ledger.load_subscription(customer)).subscription_id == "sub_75"
    # Every read that was applied was new, so each raised the version once.
    assert row.version == 1 + 75 - sum(lost)
    applied = [
        int(entry.after["subscription_id"].removeprefix("sub_"))
        for entry in await ledger.list_audit(customer)
        if entry.action == "subscription-changed"
    ]
    assert applied == sorted(applied, reverse=True)


async def test_customers_are_found_whose_plan_hangs_on_prices_and_products(ledger, subscription):
    kinds = {
        "sold": replace(subscription, price_id="price_sold", unreadable_since=None),
        "unmapped": replace(subscription, price_id="price_odd", plan_id=None, unreadable_since=7),
        "by-product": replace(subscription, price_id="price_odd", plan_id="tier:pro"),
        "other": replace(subscription, price_id="price_other", unreadable_since=None),
        "beside": replace(subscription, price_id="price_other", add_on_prices=(("price_odd%", "exports"),)),
        "stray": replace(subscription, price_id="price_other", add_on_prices=(("price_sold_1", ""),)),
        "metered": replace(subscription, price_id="price_other", metered=(MeteredItem(price_id="price_use"),)),
        "beneath": replace(subscription, price_id="price_other", beneath=replace(subscription, price_id="price_low")),
    }
    for name, record in kinds.items():
        await ledger.create_customer(
            customer_id=name, user_id=name, now=1, stripe_customer_id=f"cus_{name}", actor="test"
        )
        fence = await ledger.take_fence(name)
        await ledger.apply_subscription(name, fence, found(record), now=2, actor="test", because="test")
    assert await ledger.list_by_plan_map(None) == ["cus_beneath", "cus_by-product", "cus_stray", "cus_unmapped"]
    assert await ledger.list_by_plan_map("price_sold") == ["cus_beneath", "cus_by-product", "cus_sold", "cus_unmapped"]
    assert await ledger.list_by_plan_map("price_low") == ["cus_beneath", "cus_by-product", "cus_unmapped"]
    assert await ledger.list_by_plan_map("price_sold", after="cus_by-product", limit=1) == ["cus_sold"]
    always = ["cus_beneath", "cus_by-product", "cus_unmapped"]
    assert await ledger.list_by_plan_map("price_odd%") == sorted([*always, "cus_beside"])
    assert await ledger.list_by_plan_map("price_sold_1") == sorted([*always, "cus_stray"])
    assert await ledger.list_by_plan_map("price_use") == sorted([*always, "cus_metered"])
    assert await ledger.list_by_plan_map(None, metered_at="price_use") == sorted(
        ["cus_beneath", "cus_by-product", "cus_stray", "cus_unmapped", "cus_metered"]
    )
    assert await ledger.list_by_plan_map("price_us") == always, "it is another price"
