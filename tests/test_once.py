"""A call with an Idempotency-Key on its way through admission."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest

from gateway.core.errors import IdempotencyKeyInFlight, IdempotencyKeyReused, InvalidKey
from gateway.core.once import BUSY_S, OnceCall, OnceTerms

CALL = OnceCall(digest="key", fingerprint="print", terms=OnceTerms())
OTHER = OnceCall(digest="key", fingerprint="other", terms=OnceTerms())
NUMBERS = count()


async def admit(admission, key, call=CALL, path="/v1/echo"):
    attempt = admission.attempt(f"dec_{next(NUMBERS)}", "POST", path)

    def gate(_account, _plan):
        if not attempt.is_repeat:
            attempt.once = call

    attempt.gate = gate
    await admission.admit(attempt, key)
    return attempt


async def ended(admission, key, call=CALL):
    """A first call that has come to its end: the end travels before whatever is asked next."""
    attempt = await admit(admission, key, call)
    admission.end_once(attempt)
    return attempt


def left(attempt, name="period"):
    index = [limit.name for limit in attempt.plan.limits].index(name)
    return attempt.states[index].remaining


async def used(parts, customer_id):
    reading = await parts.cache.read_usage(customer_id)
    return reading.quotas["q:requests:period"][1]


async def test_a_repeat_is_admitted_and_its_plan_takes_nothing_from_quotas(parts):
    customer_id, key, _ = await parts.customer()
    first = await ended(parts.admission, key)
    repeat = await admit(parts.another_worker(), key)
    assert (first.is_repeat, repeat.is_repeat) == (False, True)
    assert [limit.claim.cost for limit in repeat.plan.limits] == [1, 0]
    assert left(first) == left(repeat) == 9
    assert await used(parts, customer_id) == 1


async def test_a_repeat_that_fails_gives_nothing_back(parts):
    customer_id, key, _ = await parts.customer()
    await ended(parts.admission, key)
    repeat = await admit(parts.admission, key)
    assert await parts.admission.refund(repeat) == "nothing"
    assert await used(parts, customer_id) == 1


async def test_after_a_repeat_other_calls_are_charged_as_ever(parts):
    customer_id, key, _ = await parts.customer()
    await ended(parts.admission, key)
    for admission in (parts.admission, parts.another_worker()):
        repeat = await admit(admission, key)
        assert repeat.is_repeat
        assert repeat.ready is None
        plain = await admit(admission, key, None)
        assert {limit.claim.cost for limit in plain.plan.limits} == {1}
    assert await used(parts, customer_id) == 3


async def test_a_repeat_in_flight_and_another_call_are_refused(parts):
    _, key, _ = await parts.customer()
    await admit(parts.admission, key)
    for admission in (parts.admission, parts.another_worker()):
        with pytest.raises(IdempotencyKeyInFlight, match=f"{BUSY_S} s"):
            await admit(admission, key)
        with pytest.raises(IdempotencyKeyReused):
            await admit(admission, key, OTHER)


async def test_a_call_that_takes_longer_than_any_bound_is_in_flight_until_it_ends_and_its_repeats_wait(parts):
    customer_id, key, _ = await parts.customer()
    live = parts.admission.live
    first = await admit(parts.admission, key)
    await live.renew()  # it is young, and only remembered
    for _ in range(4):
        parts.clock.time += BUSY_S - 1
        await live.renew()
        for admission in (parts.admission, parts.another_worker()):
            with pytest.raises(IdempotencyKeyInFlight, match=f"{BUSY_S} s"):
                await admit(admission, key)
    parts.admission.end_once(first)
    await live.renew()  # said too late: it has ended
    assert (await admit(parts.another_worker(), key)).is_repeat
    assert await used(parts, customer_id) == 1
    assert len(live) == 1
    live.end(first.decision_id)
    assert len(live) == 0


async def test_a_call_that_takes_longer_than_its_key_is_kept_is_waited_for_all_the_same(parts):
    customer_id, key, _ = await parts.customer()
    short = replace(CALL, terms=OnceTerms(window_s=BUSY_S))
    first = await admit(parts.admission, key, short)
    await parts.admission.live.renew()
    for _ in range(3):
        parts.clock.time += BUSY_S - 1
        await parts.admission.live.renew()
    with pytest.raises(IdempotencyKeyInFlight):
        await admit(parts.another_worker(), key, short)
    parts.admission.end_once(first)
    assert (await admit(parts.another_worker(), key, short)).is_repeat
    parts.clock.time += BUSY_S
    assert not (await admit(parts.another_worker(), key, short)).is_repeat
    assert await used(parts, customer_id) == 2


async def test_a_call_whose_worker_died_is_taken_for_lost_in_time(parts):
    _, key, _ = await parts.customer()
    await admit(parts.admission, key)
    await parts.admission.live.renew()
    parts.clock.time += BUSY_S - 1
    with pytest.raises(IdempotencyKeyInFlight, match="1 s"):
        await admit(parts.another_worker(), key)
    parts.clock.time += 1
    assert (await admit(parts.another_worker(), key)).is_repeat


async def test_a_slow_call_that_was_given_back_does_not_take_its_key_again(parts):
    customer_id, key, _ = await parts.customer()
    first = await admit(parts.admission, key)
    await parts.admission.live.renew()
    assert await parts.admission.refund(first) == "given-back"
    other = await admit(parts.another_worker(), key, OTHER)
    await parts.admission.live.renew()
    assert not other.is_repeat
    assert await used(parts, customer_id) == 1
    parts.clock.time += BUSY_S
    assert (await admit(parts.another_worker(), key, OTHER)).is_repeat, "the first worker held nothing of the second's"


async def test_a_repeat_holds_no_key(parts):
    _, key, _ = await parts.customer()
    first = await ended(parts.admission, key)
    repeat = await admit(parts.admission, key)
    assert repeat.is_repeat
    assert first.holds_places
    assert not repeat.holds_places
    assert len(parts.admission.live) == 1


async def test_a_call_that_is_given_back_frees_its_key_and_is_not_settled_as_done(parts):
    customer_id, key, _ = await parts.customer()
    first = await admit(parts.admission, key)
    assert await parts.admission.refund(first) == "given-back"
    assert first.once is None
    parts.admission.end_once(first)
    second = await admit(parts.admission, key, OTHER)
    assert not second.is_repeat
    assert await used(parts, customer_id) == 1


async def test_a_call_that_costs_nothing_frees_its_key_too(parts):
    (parts.policy_dir / "policy.yaml").write_text(
        "version: 1\ndefault_tier: free\ntiers: {free: {limits: unlimited}}\nroutes: [{match: '* /v1/**'}]\n"
    )
    assert parts.policy.reload()
    _, key, _ = await parts.customer()
    first = await admit(parts.admission, key)
    assert await parts.admission.refund(first) == "nothing"
    assert not (await admit(parts.admission, key)).is_repeat


async def test_a_revoked_key_hears_nothing_of_its_calls(parts):
    customer_id, key, key_id = await parts.customer()
    other = parts.another_worker()
    await ended(parts.admission, key)
    await admit(other, key, None)
    assert await parts.provisioning.revoke(customer_id, key_id, actor="test")
    for call in (CALL, OTHER):
        with pytest.raises(InvalidKey):
            await admit(other, key, call)


async def test_an_upgrade_between_a_call_and_its_repeat_is_seen_by_the_repeat(parts):
    customer_id, key, _ = await parts.customer()
    other = parts.another_worker()
    await admit(other, key, None)
    await ended(parts.admission, key)
    await parts.provisioning.set_blocked(customer_id, None, blocked=True, actor="test", because="test")
    await parts.provisioning.set_blocked(customer_id, None, blocked=False, actor="test", because="test")
    repeat = await admit(other, key)
    assert repeat.is_repeat
    assert repeat.account.version > 1


async def test_the_end_of_a_call_reaches_nobody_while_the_cache_is_away_and_breaks_nothing(parts):
    _, key, _ = await parts.customer()
    first = await admit(parts.admission, key)
    await parts.cache.aclose()
    parts.admission.end_once(first)
