"""Calls that hold places in limits on calls at once: over workers, to their ends, and when nobody tells the end."""

import asyncio

import pytest

from gateway.cache import Cache, CacheUnavailable
from gateway.core.errors import IdempotencyKeyInFlight, QuotaExceeded, TooManyConcurrent
from gateway.core.limit_text import parse_limit
from gateway.core.once import OnceCall, OnceTerms
from tests.fakes.raw import everywhere, open_raw

PATIENCE_S = 60.0
LIVE_S = 30


async def one_at_once(parts, *more):
    texts = ("1 concurrent", *more)
    limits = tuple(parse_limit(text, parts.policy.current.meters) for text in texts)
    return await parts.customer(limits=limits, limit_texts=texts)


def attempt_of(admission, call_id):
    return admission.attempt(call_id, "GET", "/v1/echo")


async def admit(admission, key, call_id):
    attempt = attempt_of(admission, call_id)
    await admission.admit(attempt, key)
    return attempt


async def in_progress(parts, customer_id, key_id):
    counts = await parts.cache.count_calls(customer_id, [f"live@{key_id}"], parts.clock.cache_now_ms())
    return counts[f"live@{key_id}"]


async def until_free(parts, customer_id, key_id):
    async with asyncio.timeout(PATIENCE_S):
        while await in_progress(parts, customer_id, key_id):  # noqa: ASYNC110 - the cache has no events
            await asyncio.sleep(0.01)


async def test_a_place_is_one_over_all_workers_and_free_when_the_call_ends(parts):
    customer_id, key, key_id = await one_at_once(parts)
    other = parts.another_worker()
    for turn in range(3):  # decided anew, and by what is remembered
        attempt = await admit(parts.admission, key, f"dec_1{turn}")
        assert attempt.holds_places
        with pytest.raises(TooManyConcurrent) as refused:
            await admit(other, key, f"dec_2{turn}")
        assert refused.value.violated == ("key-concurrent",)
        assert refused.value.retry_after_s == 1
        with pytest.raises(TooManyConcurrent):
            await admit(parts.admission, key, f"dec_3{turn}")
        assert len(parts.admission.live) == parts.admission.live.places == 1
        parts.admission.live.end(attempt.decision_id)
        assert len(parts.admission.live) == len(other.live) == 0
        await until_free(parts, customer_id, key_id)


async def test_a_call_whose_plan_limits_none_at_once_holds_nothing(parts):
    _, key, _ = await parts.customer()
    attempt = await admit(parts.admission, key, "dec_1")
    assert not attempt.holds_places
    assert len(parts.admission.live) == 0


async def test_a_call_that_is_refused_by_a_quota_holds_nothing(parts):
    customer_id, key, key_id = await one_at_once(parts, "1 per day")
    parts.admission.live.end((await admit(parts.admission, key, "dec_1")).decision_id)
    await until_free(parts, customer_id, key_id)
    with pytest.raises(QuotaExceeded):
        await admit(parts.admission, key, "dec_2")
    assert len(parts.admission.live) == await in_progress(parts, customer_id, key_id) == 0


async def test_calls_that_go_on_are_held_and_those_that_ended_are_not(parts):
    customer_id, key, key_id = await one_at_once(parts)
    live = parts.admission.live
    attempt = await admit(parts.admission, key, "dec_1")
    await live.renew()  # it is young, and only remembered
    for _ in range(4):
        parts.clock.time += LIVE_S - 1
        await live.renew()
        assert await in_progress(parts, customer_id, key_id) == 1
    live.end(attempt.decision_id)
    await live.renew()
    assert await in_progress(parts, customer_id, key_id) == 0


async def test_a_call_that_nobody_holds_is_forgotten_in_time(parts):
    customer_id, key, key_id = await one_at_once(parts)
    await admit(parts.admission, key, "dec_1")
    parts.clock.time += LIVE_S - 1
    with pytest.raises(TooManyConcurrent):
        await admit(parts.another_worker(), key, "dec_2")
    parts.clock.time += 1
    await admit(parts.another_worker(), key, "dec_2")
    assert await in_progress(parts, customer_id, key_id) == 1


async def test_a_cache_that_lost_its_data_hears_of_the_calls_in_progress(parts):
    customer_id, key, key_id = await one_at_once(parts)
    await admit(parts.admission, key, "dec_1")
    await parts.admission.live.renew()
    async with open_raw(parts.cache_url) as raw:
        await raw.flushall()
    assert await in_progress(parts, customer_id, key_id) == 0
    await parts.admission.live.renew()
    with pytest.raises(TooManyConcurrent):
        await admit(parts.another_worker(), key, "dec_2")


async def test_a_call_that_was_given_up_while_it_was_charged_gives_its_place_back(parts):
    customer_id, key, key_id = await one_at_once(parts)
    parts.admission.live.end((await admit(parts.admission, key, "dec_1")).decision_id)
    await until_free(parts, customer_id, key_id)
    for number, admission in ((2, parts.admission), (3, parts.another_worker())):
        async with open_raw(parts.cache_url) as raw:
            before = parts.cache.round_trips
            await raw.client_pause(300, **everywhere(raw))
            admitting = asyncio.create_task(admit(admission, key, f"dec_{number}"))
            async with asyncio.timeout(PATIENCE_S):
                while parts.cache.round_trips == before:  # noqa: ASYNC110 - a count has no events
                    await asyncio.sleep(0)
            admitting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await admitting
        await until_free(parts, customer_id, key_id)
        assert len(admission.live) == 0
    reading = await parts.cache.read_usage(customer_id)
    assert reading.quotas["q:requests:period"][1] >= 2  # the second worker had to ask for the account first


async def test_a_repeat_under_an_idempotency_key_takes_a_place_as_its_first_call_did(parts):
    customer_id, key, key_id = await one_at_once(parts, "2 per day")
    call = OnceCall(digest="digest", fingerprint="print", terms=OnceTerms())
    admission = parts.admission
    for number, repeats in enumerate((False, True, True)):
        attempt = attempt_of(admission, f"dec_1{number}")
        attempt.once = call
        await admission.admit(attempt, key)
        assert attempt.holds_places
        assert attempt.is_repeat == repeats
        other = attempt_of(admission, f"dec_2{number}")
        with pytest.raises(TooManyConcurrent):
            await admission.admit(other, key)
        admission.end_once(attempt)
        admission.live.end(attempt.decision_id)
        await until_free(parts, customer_id, key_id)


async def test_a_call_under_an_idempotency_key_that_is_refused_holds_nothing(parts):
    customer_id, key, key_id = await one_at_once(parts)
    admission = parts.admission
    first, second = attempt_of(admission, "dec_1"), attempt_of(admission, "dec_2")
    first.once = second.once = OnceCall(digest="digest", fingerprint="print", terms=OnceTerms())
    await admission.admit(first, key)
    with pytest.raises(IdempotencyKeyInFlight):
        await admission.admit(second, key)
    assert not second.holds_places
    assert await in_progress(parts, customer_id, key_id) == len(admission.live) == 1


async def test_a_cache_that_is_away_is_told_of_and_the_calls_are_held_when_it_is_back(parts):
    customer_id, key, key_id = await one_at_once(parts)
    live = parts.admission.live
    await admit(parts.admission, key, "dec_1")
    await live.renew()
    # a server cannot be taken away from one test only
    others = await Cache.connect("redis://127.0.0.1:9", deadline_s=0.05)
    live._cache, working = others, live._cache
    with pytest.raises(CacheUnavailable):
        await live.renew()
    live._cache = working
    await others.aclose()
    parts.clock.time += LIVE_S - 1
    await live.renew()
    parts.clock.time += LIVE_S - 1
    assert await in_progress(parts, customer_id, key_id) == 1
