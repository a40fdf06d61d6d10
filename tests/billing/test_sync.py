"""One customer, or all, read and recorded in the order of fences."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.core.errors import BillingUnavailable, CapacityReduced
from gateway.ledger import CustomerUnknown, Ledger
from gateway.sync import Sync
from gateway.sync.everyone import sync_all

NOW = 1_800_000_000
DAY = 86_400
CUS = "cus_1"


async def test_a_sync_records_publishes_and_audits(
    sync: Sync, ledger: Ledger, customer: str, published: list[str]
) -> None:
    outcome = await sync.sync_customer(customer, "customer.subscription.created evt_1")
    recorded = await ledger.load_subscription(customer)
    assert (outcome.result, outcome.changed, outcome.subscription) == ("applied", True, recorded)
    assert recorded is not None
    assert (recorded.plan_id, recorded.status, recorded.price_id) == ("pro-monthly", "active", "price_pro_monthly")
    assert published == [customer]
    [row] = [row for row in await ledger.list_audit(customer) if row.because == "customer.subscription.created evt_1"]
    assert row.access_before is not None
    assert row.access_after is not None
    assert (row.access_before["tier"], row.access_before["standing"]) == ("free", "lapsed")
    assert (row.access_after["tier"], row.access_after["standing"]) == ("pro", "good")
    assert row.access_after["policy"] == sync.policy.policy_hash


async def test_a_sync_that_finds_nothing_new_publishes_nothing(
    sync: Sync, ledger: Ledger, customer: str, published: list[str]
) -> None:
    await sync.sync_customer(customer, "first")
    version = (await ledger.load_account(customer)).version
    outcome = await sync.sync_customer(customer, "second")
    assert (outcome.result, outcome.changed) == ("applied", False)
    assert (await ledger.load_account(customer)).version == version
    assert published == [customer]


async def test_who_waits_for_a_sync_finds_the_cache_in_step_although_another_recorded_it(
    sync: Sync, customer: str, published: list[str]
) -> None:
    publish, slow, release = sync._publish, asyncio.Event(), asyncio.Event()

    async def publish_late(customer_id: str) -> None:
        slow.set()
        await release.wait()
        await publish(customer_id)

    sync._publish = publish_late
    event = asyncio.create_task(sync.sync_customer(customer, "an event"))
    await slow.wait()
    sync._publish = publish
    outcome = await sync.sync_customer(customer, "back from the checkout")
    assert (outcome.changed, published) == (False, [customer])
    release.set()
    await event


async def test_a_cache_that_is_down_does_not_fail_the_sync(sync: Sync, ledger: Ledger, customer: str) -> None:
    async def publish(_: str) -> None:
        raise CapacityReduced("The cache is down.")

    sync._publish = publish
    outcome = await sync.sync_customer(customer, "test")
    assert outcome.result == "applied"
    assert await ledger.unpublished(10) == [customer]


async def test_a_customer_that_never_came_near_stripe_is_not_read(sync: Sync, ledger: Ledger, account: Any) -> None:
    await ledger.create_customer(customer_id="customer0009", user_id="other", now=NOW, actor="test")
    assert (await sync.sync_customer("customer0009", "test")).result == "unbound"
    assert account.reads == 0


async def test_an_unknown_customer_is_an_error(sync: Sync) -> None:
    with pytest.raises(CustomerUnknown):
        await sync.sync_customer("nobody", "test")


async def test_a_stripe_that_is_down_changes_nothing(
    sync: Sync, ledger: Ledger, account: Any, customer: str, published: list[str]
) -> None:
    await sync.sync_customer(customer, "before")
    recorded = await ledger.load_subscription(customer)
    account.is_down = True
    with pytest.raises(BillingUnavailable):
        await sync.sync_customer(customer, "during")
    assert await ledger.load_subscription(customer) == recorded
    assert published == [customer]


async def test_a_customer_that_stripe_does_not_have_is_deleted(
    sync: Sync, ledger: Ledger, account: Any, customer: str
) -> None:
    await sync.sync_customer(customer, "before")
    del account.subscriptions[CUS]
    outcome = await sync.sync_customer(customer, "customer.deleted")
    ended = await ledger.load_subscription(customer)
    assert ended is not None
    assert ended.status == "customer_deleted"
    assert [finding.code for finding in outcome.findings] == ["no-such-customer"]


async def test_a_slow_answer_never_replaces_a_newer_one(
    sync: Sync, ledger: Ledger, account: Any, customer: str
) -> None:
    gate = asyncio.Event()
    account.gates = [gate]
    slow = asyncio.create_task(sync.sync_customer(customer, "slow"))
    await account.was_read.wait()
    account.put(CUS, "canceled")
    await sync.sync_customer(customer, "fast")
    gate.set()
    assert (await slow).result == "superseded"
    recorded = await ledger.load_subscription(customer)
    assert recorded is not None
    assert recorded.status == "canceled"


STATES = st.sampled_from(["active", "past_due", "canceled", "unpaid", "trialing"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(states=st.lists(STATES, min_size=2, max_size=5), order=st.permutations(range(5)))
@pytest.mark.slow
async def test_however_answers_overtake_each_other_the_last_state_stays(
    sync: Sync, ledger: Ledger, account: Any, states: list[str], order: list[int]
) -> None:
    owner = await fresh_customer(ledger)
    gates = [asyncio.Event() for _ in states]
    account.gates = list(gates)
    tasks = []
    for state in states:
        account.put(f"cus_{owner}", state)
        account.was_read.clear()
        tasks.append(asyncio.create_task(sync.sync_customer(owner, state)))
        await account.was_read.wait()
    for turn in order:
        if turn < len(gates):
            gates[turn].set()
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    recorded = await ledger.load_subscription(owner)
    assert recorded is not None
    assert recorded.status == states[-1]


async def test_all_customers_are_read_and_the_report_says_what_changed(
    sync: Sync, ledger: Ledger, account: Any, customer: str
) -> None:
    await ledger.create_customer(customer_id="customer0002", user_id="two", now=NOW, actor="test")
    await ledger.create_customer(
        customer_id="customer0003", user_id="three", now=NOW, stripe_customer_id="cus_3", actor="test"
    )
    account.put("cus_3", "active", "who_knows")
    seen: list[str] = []
    report = await sync_all(sync, lambda step: seen.append(step.cursor), per_second=1000)
    assert (report.checked, report.changed, report.unbound, report.failed) == (2, 2, 1, 0)
    assert (report.stopped_because, report.cursor) == (None, "customer0003")
    assert seen == [customer, "customer0002", "customer0003"]
    assert [(owner, finding.code) for owner, finding in report.findings] == [("customer0003", "unmapped-price")]


async def test_reading_all_customers_keeps_the_pace(sync: Sync, ledger: Ledger, account: Any) -> None:
    for _ in range(4):
        account.put(f"cus_{await fresh_customer(ledger)}", "active")
    started_at = asyncio.get_running_loop().time()
    await sync_all(sync, per_second=20)
    assert asyncio.get_running_loop().time() - started_at >= 3 / 20


async def test_reading_all_customers_goes_on_behind_the_cursor(
    sync: Sync, ledger: Ledger, account: Any, customer: str
) -> None:
    await ledger.create_customer(
        customer_id="customer0003", user_id="three", now=NOW, stripe_customer_id="cus_3", actor="test"
    )
    account.put("cus_3", "active")
    report = await sync_all(sync, after=customer, per_second=1000)
    assert report.checked == 1
    assert await ledger.load_subscription(customer) is None


@pytest.mark.usefixtures("customer")
async def test_a_long_outage_stops_with_a_cursor_to_resume_from(
    sync: Sync, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.sync.everyone._OUTAGE_PAUSES_S", (0.01,))
    account.is_down = True
    report = await sync_all(sync, per_second=1000)
    assert report.stopped_because is not None
    assert report.cursor == ""


async def test_one_customer_missing_among_others_is_ended(
    sync: Sync, ledger: Ledger, account: Any, customer: str
) -> None:
    await sync.sync_customer(customer, "before")
    other = await fresh_customer(ledger)
    account.put(f"cus_{other}", "active")
    del account.subscriptions[CUS]
    report = await sync_all(sync, per_second=1000)
    assert (report.missing, report.stopped_because) == ([customer], None)
    ended = await ledger.load_subscription(customer)
    assert ended is not None
    assert ended.status == "customer_deleted"


async def fresh_customer(ledger: Ledger) -> str:
    owner = f"fresh{len(await ledger.list_customers(limit=1000)):07d}"
    await ledger.create_customer(
        customer_id=owner, user_id=owner, now=NOW, stripe_customer_id=f"cus_{owner}", actor="test"
    )
    return owner
