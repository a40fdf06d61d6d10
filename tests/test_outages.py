"""While the cache cannot decide, each tier's policy does; and what was let in is counted once it is back."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gateway.cache import Cache, Receipt
from gateway.core.errors import (
    AccountSuspended,
    CapacityReduced,
    IdempotencyKeyInFlight,
    InvalidKey,
    QuotaExceeded,
    RateLimited,
)
from gateway.core.key_order import KeyOrder
from gateway.core.keys import KeyCodec
from gateway.core.once import BUSY_S, OnceCall, OnceTerms
from gateway.outages import CALM_S
from tests.caches import line_to
from tests.conftest import PATIENT_S, PEPPER, Parts
from tests.fakes.raw import everywhere, open_raw
from tests.patience import impatient
from tests.steps import DAY_S, admit, admitted, all_back, left, pro, subscribe

LOCAL = 10
"""What `pro` is let in for by default: its quota is 50."""


class Monotonic:
    """Seconds that go forward by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def line(shared_cache_url):
    async with line_to(shared_cache_url) as line:
        yield line


@pytest.fixture
async def remote(parts, line):
    """The same parts, with a cache that can be cut off."""
    cache = await Cache.connect(line.url, deadline_s=PATIENT_S)
    await all_back(cache)
    remote = Parts(parts.ledger, cache, parts.clock, parts.policy_dir, KeyCodec(PEPPER, "test"), line.url)
    remote.monotonic = remote.outages._monotonic = Monotonic()
    yield remote
    await cache.aclose()


@pytest.fixture
async def paying(remote):
    """A customer on `pro` whom the worker knows: customer id, key."""
    customer_id, key, _ = await remote.customer()
    await subscribe(remote, customer_id, pro(remote.clock))
    await admit(remote.admission, key)
    return customer_id, key


async def back(remote, line):
    line.heal()
    if not line.is_open:
        await line.open()
    await all_back(remote.cache)
    return await remote.outages.charge_back()


async def test_a_tier_that_is_not_sold_waits_and_is_told_why(remote, line):
    _, key, _ = await remote.customer()
    await admit(remote.admission, key)
    await line.close()
    with pytest.raises(CapacityReduced, match="this tier waits"):
        await admit(remote.admission, key)


async def test_a_tier_that_is_sold_goes_on_for_its_allowance_and_all_of_it_is_counted_afterwards(remote, line, paying):
    _, key = paying
    await line.close()
    assert await admitted(remote.admission, key, LOCAL + 5) == LOCAL
    with pytest.raises(CapacityReduced, match="is used up"):
        await admit(remote.admission, key)
    assert await remote.outages.charge_back() == []
    assert await back(remote, line) == [paying[0]]
    attempt = await admit(remote.admission, key)
    assert left(attempt, "period") == 50 - 1 - LOCAL - 1
    assert left(attempt, "second") == 98, "a pace is not charged back"
    assert attempt.outage is None


async def test_a_tier_that_lives_on_credits_lets_nobody_in_who_has_none(remote, line):
    text = (remote.policy_dir / "policy.yaml").read_text().replace("50 requests per billing", "0 requests per billing")
    (remote.policy_dir / "policy.yaml").write_text(text)
    remote.policy.reload()
    customer_id, key, _ = await remote.customer()
    await subscribe(remote, customer_id, pro(remote.clock))
    await remote.admission.current_account(customer_id)
    await line.close()
    with pytest.raises(CapacityReduced, match="used up when they last were"):
        await admit(remote.admission, key)


@pytest.mark.parametrize("mode", ["local 500", "allow"])
async def test_a_call_that_costs_more_than_the_share_of_this_window_is_not_let_in_either(remote, line, mode):
    text = (remote.policy_dir / "policy.yaml").read_text()
    text = text.replace("default_tier", "plan_change: prorate\ndefault_tier").replace("cost: 5", "cost: 45")
    text = text.replace("    features: [exports]\n", f"    features: [exports]\n    when_cache_fails: {mode}\n")
    text = text.replace("10 requests per billing", "2 requests per billing")
    text = text.replace("plans:\n", "plans:\n  small: {tier: free, price: lookup_key small}\n")
    (remote.policy_dir / "policy.yaml").write_text(text)
    assert remote.policy.reload()
    customer_id, key, _ = await remote.customer()
    starts_at = int(remote.clock.time)
    remote.clock.time += 15 * DAY_S
    changed = pro(remote.clock, period_starts_at=starts_at, period_ends_at=starts_at + 30 * DAY_S, anchor_at=starts_at)
    await subscribe(remote, customer_id, replace(changed, plan_changes=((int(remote.clock.time), "small"),)))
    await admit(remote.admission, key)
    await line.close()
    assert await admitted(remote.admission, key, 3, "POST", "/v1/render/a") == 0, "26 units, whatever the cache counted"
    await admit(remote.admission, key)


async def test_a_call_takes_of_the_allowance_what_it_costs(remote, line, paying):
    _, key = paying
    await admit(remote.admission, key, "POST", "/v1/render/a")
    await line.close()
    assert await admitted(remote.admission, key, 3, "POST", "/v1/render/a") == 2
    await back(remote, line)
    assert left(await admit(remote.admission, key), "period") == 50 - 1 - 3 * 5 - 1


async def test_with_allow_everybody_known_is_let_in_without_a_count(remote, line):
    (remote.policy_dir / "policy.yaml").write_text(
        (remote.policy_dir / "policy.yaml").read_text().replace("  free:\n", "  free:\n    when_cache_fails: allow\n")
    )
    assert remote.policy.reload()
    _, key, _ = await remote.customer()
    await admit(remote.admission, key)
    await line.close()
    assert await admitted(remote.admission, key, 30) == 30
    assert await back(remote, line) == []
    assert left(await admit(remote.admission, key), "period") == 8


@pytest.mark.parametrize("mode", ["local 40", "allow"])
async def test_each_worker_holds_the_pace_by_itself_so_an_outage_is_no_flood(remote, line, mode):
    policy = (remote.policy_dir / "policy.yaml").read_text().replace("cost: 5", "cost: 1")
    text = policy.replace(
        "limits: [100 per second burst 100, 50", f"when_cache_fails: {mode}\n    limits: [6 per minute burst 3, 50"
    )
    (remote.policy_dir / "policy.yaml").write_text(text)
    assert remote.policy.reload()
    customer_id, key, _ = await remote.customer()
    await subscribe(remote, customer_id, pro(remote.clock))
    workers = [remote.admission, remote.another_worker()]
    remote.outages._monotonic = remote.monotonic
    for worker in workers:
        await admit(worker, key)
    await line.close()
    assert await admitted(workers[0], key, 5, error=RateLimited) == 3
    with pytest.raises(RateLimited, match="6 units per 60 s") as refused:
        await admit(workers[0], key)
    assert (refused.value.retry_after_s, refused.value.violated) == (10, ("minute",))
    assert await admitted(workers[1], key, 5, error=RateLimited) == 3, "so the bound is burst times workers"
    remote.monotonic.now += 20
    assert await admitted(workers[1], key, 5, error=RateLimited) == 2
    await back(remote, line)


async def test_what_a_pace_refuses_takes_nothing_of_the_allowance(remote, line, paying):
    customer_id, key = paying
    text = (remote.policy_dir / "policy.yaml").read_text().replace("cost: 5", "cost: 1")
    (remote.policy_dir / "policy.yaml").write_text(
        text.replace("100 per second burst 100, 50", "1 per second burst 1, 50")
    )
    assert remote.policy.reload()
    await line.close()
    let_in = 0
    for _ in range(LOCAL):
        let_in += await admitted(remote.admission, key, 3, error=RateLimited)
        remote.monotonic.now += 1
    assert let_in == LOCAL
    with pytest.raises(CapacityReduced):
        await admit(remote.admission, key)
    assert await back(remote, line) == [customer_id]


async def test_who_is_not_known_here_is_not_let_in(remote, line, paying):
    customer_id, key = paying
    stranger = remote.codec.mint("A" * 12, "b" * 26).text.encode()
    new = (await remote.provisioning.issue(customer_id, KeyOrder(), actor="test")).minted.text.encode()
    wrong = remote.codec.mint(customer_id, "b" * 26).text.encode()
    await line.close()
    for presented in (stranger, new, wrong):
        with pytest.raises(CapacityReduced):
            await admit(remote.admission, presented)
    with pytest.raises(InvalidKey):
        await admit(remote.admission, b"tg_test_garbage")
    assert await admitted(remote.admission, key, 1) == 1


async def test_a_key_that_expires_meanwhile_and_a_customer_that_was_blocked_stay_out(remote, line):
    customer_id, key, _ = await remote.customer(expires_at=int(remote.clock.time) + 60)
    await subscribe(remote, customer_id, pro(remote.clock))
    blocked_id, blocked, _ = await remote.customer("bob")
    await subscribe(remote, blocked_id, pro(remote.clock))
    await admit(remote.admission, blocked)
    await remote.provisioning.set_blocked(blocked_id, None, blocked=True, actor="test", because="test")
    assert await admitted(remote.admission, blocked, 1, error=AccountSuspended) == 0
    await admit(remote.admission, key)
    await line.close()
    assert await admitted(remote.admission, key, 1) == 1
    remote.clock.time += 60
    assert await admitted(remote.admission, key, 1) == 0
    assert await admitted(remote.admission, blocked, 1) == 0


@pytest.mark.parametrize(("later_s", "count"), [(900, 1), (901, 0), (-901, 0)])
async def test_an_account_that_was_not_confirmed_for_a_quarter_of_an_hour_is_not_gone_by(
    remote, line, paying, later_s, count
):
    _, key = paying
    remote.clock.time += 500
    await admit(remote.admission, key)
    await line.close()
    remote.clock.time += later_s
    assert await admitted(remote.admission, key, 1) == count


async def test_an_account_that_is_known_to_be_old_is_not_gone_by(remote, paying):
    customer_id, key = paying
    async with open_raw(remote.cache_url) as raw:
        await raw.hincrby(f"tg:{{{customer_id}}}:use", "v", 1)
    await remote.ledger.aclose()
    assert await admitted(remote.admission, key, 1) == 0


async def test_what_the_ledger_learns_meanwhile_is_known_while_the_cache_is_away(remote, line, paying):
    customer_id, key = paying
    _, leaked, leaked_id = await remote.customer("bob")
    bob_id = remote.codec.parse(leaked).customer_id
    await subscribe(remote, bob_id, pro(remote.clock, subscription_id="sub_2"))
    await admit(remote.admission, leaked)
    new = (await remote.provisioning.issue(customer_id, KeyOrder(), actor="test")).minted.text.encode()
    await admit(remote.admission, new)
    await line.close()
    assert [await admitted(remote.admission, one, 1) for one in (key, leaked, new)] == [1, 1, 1]
    await remote.provisioning.revoke(bob_id, leaked_id, actor="test")
    await remote.provisioning.set_blocked(customer_id, None, blocked=True, actor="test", because="test")
    await remote.admission.follow_ledger()
    assert [await admitted(remote.admission, one, 1) for one in (key, leaked, new)] == [0, 0, 0]
    await remote.provisioning.set_blocked(customer_id, None, blocked=False, actor="test", because="test")
    newest = (await remote.provisioning.issue(customer_id, KeyOrder(), actor="test")).minted.text.encode()
    await remote.admission.follow_ledger()
    assert [await admitted(remote.admission, one, 1) for one in (key, leaked, new, newest)] == [1, 0, 1, 1]


async def test_an_account_that_the_ledger_confirms_does_not_grow_old(remote, line, paying):
    _, key = paying
    await line.close()
    for _ in range(3):
        assert await admitted(remote.admission, key, 1) == 1
        await remote.admission.follow_ledger()
        remote.clock.time += 900
    await remote.admission.follow_ledger()  # nobody has called since
    remote.clock.time += 1
    assert await admitted(remote.admission, key, 1) == 0


async def test_who_was_over_its_quota_stays_out_until_the_window_ends(remote, line, paying):
    _, key = paying
    assert await admitted(remote.admission, key, 60, error=QuotaExceeded) == 49
    await line.close()
    with pytest.raises(CapacityReduced, match="quota was used up"):
        await admit(remote.admission, key)


GROUPED = """\
version: 1
default_tier: free
tiers:
  free:
    limits: [5 requests per billing period on a, 5 requests per billing period on b]
    when_cache_fails: %s
plans: {}
routes:
  - {match: GET /v1/a, group: a}
  - {match: POST /v1/a, group: a, cost: 2}
  - {match: GET /v1/b, group: b}
"""


@pytest.mark.parametrize("mode", ["allow", "local 4"])
async def test_every_quota_that_was_used_up_stays_closed_not_only_the_last_one_that_refused(remote, line, mode):
    (remote.policy_dir / "policy.yaml").write_text(GROUPED % mode)
    assert remote.policy.reload()
    _, key, _ = await remote.customer()
    for path in ("/v1/a", "/v1/b"):
        assert await admitted(remote.admission, key, 6, path=path, error=QuotaExceeded) == 5
    await line.close()
    for path in ("/v1/b", "/v1/a"):
        assert await admitted(remote.admission, key, 3, path=path) == 0


async def test_a_dear_call_that_is_refused_does_not_reopen_a_quota_for_cheap_ones(remote, line):
    (remote.policy_dir / "policy.yaml").write_text(GROUPED % "allow")
    assert remote.policy.reload()
    _, key, _ = await remote.customer()
    assert await admitted(remote.admission, key, 6, path="/v1/a", error=QuotaExceeded) == 5
    assert await admitted(remote.admission, key, 1, "POST", "/v1/a", error=QuotaExceeded) == 0
    await line.close()
    assert await admitted(remote.admission, key, 3, path="/v1/a") == 0
    assert await admitted(remote.admission, key, 3, path="/v1/b") == 3


async def test_a_cache_that_comes_and_goes_refills_nothing(remote, line, paying):
    _, key = paying
    for expected in (LOCAL, 0, 0):
        await line.close()
        assert await admitted(remote.admission, key, LOCAL + 1) == expected
        await back(remote, line)
        remote.monotonic.now += CALM_S - 1
        await remote.outages.charge_back()
    remote.monotonic.now += 1
    await remote.outages.charge_back()
    await line.close()
    assert await admitted(remote.admission, key, LOCAL + 1) == LOCAL


async def test_an_outage_does_not_end_while_something_is_owed(remote, line, paying):
    _, key = paying
    await line.close()
    assert await admitted(remote.admission, key, LOCAL) == LOCAL
    remote.monotonic.now += 10 * CALM_S
    assert await remote.outages.charge_back() == []
    assert await admitted(remote.admission, key, 1) == 0


@pytest.mark.parametrize("is_full", [False, True], ids=["away", "full"])
async def test_an_outage_does_not_end_while_the_cache_does_not_decide_though_nothing_is_owed(
    remote, parts, line, paying, is_full
):
    _, key = paying
    async with open_raw(parts.cache_url) as raw:
        if is_full:
            await raw.config_set("maxmemory", "1", **everywhere(raw))
        else:
            await line.close()
        try:
            for _ in range(2):
                assert await remote.admission.refund(await admit(remote.admission, key)) == "given-back"
            remote.monotonic.now += CALM_S
            assert await remote.outages.charge_back() == []
            assert await admitted(remote.admission, key, LOCAL) == LOCAL - 2
        finally:
            await raw.config_set("maxmemory", "0", **everywhere(raw))


async def test_the_calm_begins_when_the_cache_is_back_not_with_the_last_call(remote, line, paying):
    _, key = paying
    await line.close()
    for _ in range(LOCAL):
        await remote.admission.refund(await admit(remote.admission, key))
    remote.monotonic.now += CALM_S - 1
    await remote.outages.charge_back()
    await back(remote, line)
    remote.monotonic.now += 1
    await remote.outages.charge_back()
    await line.close()
    assert await admitted(remote.admission, key, 1) == 0


async def test_a_call_that_may_have_been_counted_is_not_counted_twice(remote, parts, line, paying):
    customer_id, key = paying
    line.hang()
    with impatient(remote.cache):
        assert (await admit(remote.admission, key)).outage.parts == ()
    line.heal()
    await all_back(remote.cache)
    assert await remote.outages.charge_back() == []
    reading = await parts.cache.read_usage(customer_id)
    assert reading.quotas["q:requests:period"][1] == 2


async def test_a_call_whose_charge_had_no_answer_keeps_its_idempotency_key_until_it_ends(remote, parts, line, paying):
    _, key = paying
    clock, live = remote.clock, remote.admission.live
    live_for_long = 3 * BUSY_S // 10

    async def post(admission, digest, number):
        attempt = admission.attempt(number, "POST", "/v1/echo")
        attempt.once = OnceCall(digest=digest, fingerprint="print", terms=OnceTerms())
        await admission.admit(attempt, key)
        return attempt

    await post(remote.admission, "another", "dec_1")  # the server has the script
    line.deafen()
    attempt = await post(remote.admission, "key", "dec_2")
    assert (attempt.outage.mode, attempt.outage.parts) == ("local", ())
    line.hear()
    await all_back(remote.cache)
    other = parts.another_worker()
    for _ in range(live_for_long):
        with pytest.raises(IdempotencyKeyInFlight):
            await post(other, "key", "dec_3")
        await live.renew()
        clock.time += 10
    live.end(attempt.decision_id)
    assert await remote.admission.refund(attempt) == "nothing"
    remote.admission.end_once(attempt)
    await remote.cache.ping()
    assert (await post(other, "key", "dec_4")).is_repeat
    assert len(live) == 1  # the first of all


async def test_a_call_whose_charge_was_not_sent_holds_no_idempotency_key(remote, line, paying):
    _, key = paying
    await line.close()
    attempt = remote.admission.attempt("dec_1", "POST", "/v1/echo")
    attempt.once = OnceCall(digest="key", fingerprint="print", terms=OnceTerms())
    await admitted(remote.admission, key, 1)  # the loss is noticed
    await remote.admission.admit(attempt, key)
    assert attempt.once is None
    assert len(remote.admission.live) == 0


async def test_a_charge_back_whose_answer_is_lost_is_counted_once(remote, parts, line, paying):
    customer_id, key = paying
    await parts.cache.charge_back(Receipt(customer_id=customer_id, receipt_id="first", parts=()))  # it has the script
    await line.close()
    await admitted(remote.admission, key, 4)
    await line.open()
    await all_back(remote.cache)
    await remote.outages._cache.ping()  # its connection is open: what is asked next is the charge-back itself
    line.deafen()
    assert await remote.outages.charge_back() == []
    assert (await parts.cache.read_usage(customer_id)).quotas["q:requests:period"][1] == 5
    line.hear()
    await all_back(remote.cache)
    await remote.outages.charge_back()
    await remote.outages.charge_back()
    assert (await parts.cache.read_usage(customer_id)).quotas["q:requests:period"][1] == 5


async def test_a_charge_back_that_does_not_arrive_is_sent_again(remote, parts, line, paying):
    customer_id, key = paying
    await line.close()
    await admitted(remote.admission, key, 4)
    await line.open()
    await all_back(remote.cache)
    await remote.outages._cache.ping()  # its connection is open: what is asked next is the charge-back itself
    line.swallow()
    assert await remote.outages.charge_back() == []
    assert (await parts.cache.read_usage(customer_id)).quotas["q:requests:period"][1] == 1
    line.hear()
    await all_back(remote.cache)
    assert await remote.outages.charge_back() == [customer_id]
    assert (await parts.cache.read_usage(customer_id)).quotas["q:requests:period"][1] == 5


async def test_a_call_that_is_not_billed_is_owed_nothing(remote, line, paying):
    _, key = paying
    await line.close()
    attempts = [await admit(remote.admission, key) for _ in range(3)]
    assert await remote.admission.refund(attempts[0]) == "given-back"
    assert await remote.admission.refund(attempts[0]) == "nothing"
    await back(remote, line)
    assert await remote.admission.refund(attempts[1]) == "given-back"
    assert await remote.admission.refund(attempts[1]) == "nothing"
    assert left(await admit(remote.admission, key), "period") == 50 - 1 - 1 - 1


async def test_a_call_that_cost_something_else_in_the_end_is_owed_that(remote, line, paying):
    _, key = paying
    await line.close()
    first, second = [await admit(remote.admission, key) for _ in range(2)]
    assert await remote.admission.settle(first, {"requests": 4}) == "settled"
    assert await remote.admission.settle(first, {"requests": 9}) == "uncounted"
    assert await remote.admission.refund(first) == "nothing"
    await back(remote, line)
    assert await remote.admission.settle(second, {"requests": 3}) == "settled"
    assert left(await admit(remote.admission, key), "period") == 50 - 1 - 4 - 3 - 1


async def test_a_cache_that_comes_back_empty_counts_what_is_owed_on_top_of_what_was_settled(
    parts, remote, line, paying
):
    customer_id, key = paying
    remote.settlement.note_moved(customer_id)
    await remote.settlement.settle()
    await line.close()
    assert await admitted(remote.admission, key, 4) == 4
    async with open_raw(parts.cache_url) as raw:
        await raw.delete(*[k async for k in raw.scan_iter(f"*{customer_id}*")])
    assert await back(remote, line) == [customer_id]
    assert left(await admit(remote.admission, key), "period") == 50 - 1 - 4 - 1


async def test_two_workers_are_bounded_each_by_itself_and_both_are_counted(remote, line, paying):
    _, key = paying
    first = remote.outages
    other = remote.another_worker()
    await admit(other, key)
    await line.close()
    assert await admitted(remote.admission, key, 20) == LOCAL
    assert await admitted(other, key, 20) == LOCAL
    await back(remote, line)
    await first.charge_back()
    assert left(await admit(other, key), "period") == 50 - 2 - 2 * LOCAL - 1


async def test_a_quota_may_end_above_its_limit_by_the_allowance_and_not_more(remote, line, paying):
    customer_id, key = paying
    assert await admitted(remote.admission, key, 45) == 45
    await line.close()
    assert await admitted(remote.admission, key, 20) == LOCAL
    await back(remote, line)
    assert (await remote.cache.read_usage(customer_id)).quotas["q:requests:period"][1] == 56
    with pytest.raises(QuotaExceeded):
        await admit(remote.admission, key)
    remote.settlement.note_moved(customer_id)
    await remote.settlement.settle()
    (row,) = await remote.ledger.list_usage(customer_id, since=0)
    assert row.used == 56, "and it is shown as such"


async def test_many_at_once_are_let_in_for_the_allowance_exactly(remote, line, paying):
    _, key = paying
    await line.close()
    outcomes = await asyncio.gather(*(admitted(remote.admission, key, 1) for _ in range(100)))
    assert sum(outcomes) == LOCAL
