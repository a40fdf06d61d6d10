from __future__ import annotations

import asyncio

from gateway.ledger import Ledger, Swept
from tests.steps import found


async def test_facts_are_kept_as_they_were_first_recorded(ledger: Ledger) -> None:
    assert await ledger.load_facts() == {}
    assert await ledger.keep_facts({"mode": "test"}, now=1) == {"mode": "test"}
    kept = {"mode": "test", "account": "acct_1"}
    assert await ledger.keep_facts({"mode": "live", "account": "acct_1"}, now=2) == kept
    assert await ledger.load_facts() == kept


async def test_of_several_that_start_at_once_one_decides(ledger: Ledger) -> None:
    seen = await asyncio.gather(*(ledger.keep_facts({"mode": f"{number}"}, now=1) for number in range(8)))
    assert len({facts["mode"] for facts in seen}) == 1


async def test_a_replaced_fact_is_audited_without_its_value(ledger: Ledger) -> None:
    await ledger.keep_facts({"pepper": "old"}, now=1)
    await ledger.replace_facts({"pepper": "new"}, now=2, actor="operator")
    assert await ledger.load_facts() == {"pepper": "new"}
    [entry] = await ledger.list_audit()
    assert (entry.action, entry.actor, entry.because) == ("installation-changed", "operator", "accepted: pepper")


async def test_leaving_stripe_unbinds_customers_and_leaves_the_others_alone(
    ledger: Ledger, new_customer, subscription
) -> None:
    bound, free = await new_customer(ledger, stripe_customer_id="cus_1"), await new_customer(ledger)
    fence = await ledger.take_fence(bound)
    await ledger.apply_subscription(bound, fence, found(subscription), now=1_000, actor="stripe", because="test")
    version = (await ledger.find_customer(bound)).version
    await ledger.keep_facts({"mode": "test", "account": "acct_1"}, now=1)
    assert await ledger.leave_stripe({"mode": "live"}, without=("account",), now=2, actor="operator") == 1
    assert await ledger.load_facts() == {"mode": "live"}
    row, account = await ledger.find_customer(bound), await ledger.load_account(bound)
    assert (row.stripe_customer_id, row.version, account.subscription) == (None, version + 1, None)
    assert (await ledger.find_customer(free)).version == 1


async def test_how_far_sweeps_of_an_account_were_says_nothing_of_the_one_that_takes_its_place(ledger: Ledger) -> None:
    claim = {"now": 100, "lease_s": 60}
    swept = Swept(place={"page": 2}, swept_to=90, types=("v1.invoice.paid",))
    await ledger.claim_sweep("told-thinly", "before", **claim)
    await ledger.end_sweep("told-thinly", "before", swept)
    await ledger.claim_sweep("undelivered", "before", **claim)
    await ledger.leave_stripe({"mode": "live"}, without=("account",), now=100, actor="operator")
    assert not await ledger.keep_sweep("undelivered", "before", {"page": 2}, **claim), "it reads what was left"
    assert [await ledger.claim_sweep(name, "w1", **claim) for name in ("told-thinly", "undelivered")] == [Swept()] * 2


async def test_an_id_is_drawn_once_and_read_once(ledger: Ledger, ledger_url, open_ledger) -> None:
    assert await ledger.find_ledger_id() is None
    drawn = await ledger.keep_ledger_id(now=1)
    other = await open_ledger(ledger_url)
    assert [await other.find_ledger_id(), await other.keep_ledger_id(now=2)] == [drawn] * 2
    await ledger.replace_facts({"mode": "live"}, now=3, actor="operator")
    await ledger.leave_stripe({"mode": "test"}, without=("account",), now=4, actor="operator")
    assert (await ledger.load_facts())["ledger-id"] == drawn, "or who has read it would write another one"
    await ledger.aclose()
    assert await ledger.keep_ledger_id(now=5) == drawn
