from __future__ import annotations

import asyncio
from dataclasses import replace

from gateway.ledger import PlanClaim, PlanTraits
from tests.steps import found


async def claim(ledger, worker, policy_hash="p1", now=100):
    return await ledger.claim_plan_check(worker, policy_hash, now=now, lease_s=60)


async def note(ledger, customers, held_against=lambda one: one, *, by="w1", until=160, now=7, assess=None):
    return await ledger.note_plans(
        customers,
        held_against,
        claim=PlanClaim(worker=by, until=until),
        now=now,
        because="policy p1",
        assess=assess,
    )


async def test_of_many_workers_one_checks_and_the_others_wait_until_it_is_done(ledger, ledger_url, open_ledger):
    other = await open_ledger(ledger_url)
    answers = await asyncio.gather(*(claim((ledger, other)[i % 2], f"w{i}") for i in range(10)))
    assert sorted(answers) == ["busy"] * 9 + ["claimed"]
    worker = f"w{answers.index('claimed')}"
    assert not await other.end_plan_check("somebody else", "p1")
    assert await ledger.end_plan_check(worker, "p1")
    assert await claim(other, "w11") == "done"


async def test_another_policy_is_checked_and_the_one_before_then_too_if_it_comes_back(ledger):
    for policy_hash in ("p1", "p2", "p1"):
        assert await claim(ledger, "w1", policy_hash) == "claimed"
        assert await ledger.end_plan_check("w1", policy_hash)


async def test_a_check_that_was_broken_off_is_done_again_and_so_is_the_one_of_the_policy_before(ledger):
    await claim(ledger, "w1", "p1")
    await ledger.end_plan_check("w1", "p1")
    assert await claim(ledger, "w2", "p2", now=100) == "claimed"
    assert await claim(ledger, "w3", "p1", now=159) == "busy", "what the other has written may be wrong by now"
    assert await claim(ledger, "w3", "p1", now=160) == "claimed"
    assert await note(ledger, [], by="w2") is None
    assert not await ledger.end_plan_check("w2", "p2")


async def test_who_failed_on_the_way_begins_again_at_once(ledger):
    assert [await claim(ledger, "w1", now=now) for now in (100, 101)] == ["claimed"] * 2


async def test_a_claim_by_which_something_is_noted_does_not_run_out(ledger):
    await claim(ledger, "w1", now=100)
    assert await note(ledger, [], until=210) == []
    assert await claim(ledger, "w2", now=209) == "busy"


async def test_customers_are_listed_by_the_words_that_say_which_plan_they_have(ledger, subscription):
    plain = replace(subscription, sold_as="pro_monthly", unreadable_since=None, price_id=None)
    kinds = {
        "a": plain,
        "b": plain,
        "c": replace(plain, unreadable_since=5),
        "d": replace(plain, sold_as=None, beneath=plain),
    }
    for name, record in kinds.items():
        await ledger.create_customer(customer_id=name, user_id=name, now=1, actor="test")
        fence = await ledger.take_fence(name)
        await ledger.apply_subscription(name, fence, found(record), now=2, actor="test", because="test")
    traits = await ledger.count_plan_traits()
    of_plain = PlanTraits(
        status=plain.status,
        plan_id=plain.plan_id,
        sold_as="pro_monthly",
        price_id=None,
        last_good_plan_id=plain.last_good_plan_id,
        last_good_tier=plain.last_good_tier,
        is_unreadable=False,
    )
    unreadable, unnamed = replace(of_plain, is_unreadable=True), replace(of_plain, sold_as=None)
    assert traits == {of_plain: 2, unreadable: 1, unnamed: 1}
    assert await ledger.list_by_plan_traits([of_plain]) == ["a", "b"]
    assert await ledger.list_by_plan_traits([unreadable, unnamed]) == ["c", "d"]
    assert await ledger.list_by_plan_traits(traits, "a", 2) == ["b", "c"]
    assert await ledger.list_by_plan_traits([]) == []
    assert await ledger.list_with_beneath() == ["d"]


async def test_what_is_noted_raises_the_version_of_those_whom_it_changes_only(ledger, customer, subscription):
    fence = await ledger.take_fence(customer)
    record = replace(subscription, unreadable_since=None)
    await ledger.apply_subscription(customer, fence, found(record), now=2, actor="test", because="test")
    before = (await ledger.find_customer(customer)).version

    def held_against(one):
        return replace(one, unreadable_since=one.unreadable_since or 7)

    await claim(ledger, "w1")
    noted = await note(ledger, [customer, "nobody"], held_against)
    assert [(one.customer_id, one.is_changed, one.record.unreadable_since) for one in noted] == [(customer, True, 7)]
    noted = await note(ledger, [customer], held_against, now=8)
    assert [(one.is_changed, one.record.unreadable_since) for one in noted] == [(False, 7)]
    assert (await ledger.find_customer(customer)).version == before + 1


async def test_where_the_end_of_what_is_granted_is_moved_the_audit_log_says_so(ledger, customer, subscription):
    fence = await ledger.take_fence(customer)
    await ledger.apply_subscription(customer, fence, found(subscription), now=2, actor="test", because="test")

    def assess(account):
        return {"until": account.subscription.unreadable_since}

    await claim(ledger, "w1")
    for unreadable_since, sold_as in ((7, None), (7, "pro_monthly")):
        await note(
            ledger,
            [customer],
            lambda one, since=unreadable_since, name=sold_as: replace(one, unreadable_since=since, sold_as=name),
            assess=assess,
        )
    [row] = [row for row in await ledger.list_audit(customer) if row.because == "policy p1"]
    assert (row.actor, row.access_before, row.access_after) == ("policy", {"until": None}, {"until": 7})


async def test_what_a_read_of_stripe_records_at_the_same_time_is_not_lost(
    ledger, customer, subscription, ledger_url, open_ledger
):
    other = await open_ledger(ledger_url)
    fence = await ledger.take_fence(customer)
    await ledger.apply_subscription(customer, fence, found(subscription), now=2, actor="test", because="test")
    await claim(ledger, "w1")
    for number in range(1, 20):
        fence = await ledger.take_fence(customer)
        await asyncio.gather(
            other.apply_subscription(
                customer,
                fence,
                lambda before, number=number: replace(before, price_id=f"price_{number}"),
                now=2,
                actor="test",
                because="test",
            ),
            note(ledger, [customer], lambda before, number=number: replace(before, unreadable_since=number), now=2),
        )
        record = await ledger.load_subscription(customer)
        assert (record.price_id, record.unreadable_since) == (f"price_{number}", number)


async def test_who_was_overtaken_notes_nothing_over_what_the_next_one_noted(
    ledger, customer, subscription, ledger_url, open_ledger
):
    other = await open_ledger(ledger_url)
    fence = await ledger.take_fence(customer)
    record = replace(subscription, unreadable_since=None)
    await ledger.apply_subscription(customer, fence, found(record), now=2, actor="test", because="test")
    for number in range(100, 1100, 100):
        slow, next_one = f"w{number}", f"w{number + 60}"
        assert await claim(ledger, slow, f"p{number}", now=number) == "claimed"
        noted, claimed = await asyncio.gather(
            note(ledger, [customer], lambda one: replace(one, unreadable_since=1), by=slow, until=number + 120),
            claim(other, next_one, "newer", now=number + 60),
        )
        assert (noted is None) == (claimed == "claimed"), "one of the two was first"
        if claimed == "busy":
            assert await claim(other, next_one, "newer", now=number + 120) == "claimed"
        assert await note(other, [customer], lambda one: replace(one, unreadable_since=None), by=next_one)
        assert await note(ledger, [customer], lambda one: replace(one, unreadable_since=1), by=slow) is None
        assert (await ledger.load_subscription(customer)).unreadable_since is None
        assert await other.end_plan_check(next_one, "newer")
