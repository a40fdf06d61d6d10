"""Workers that let calls through by leases: exact at a quota's end, and bounded after every change."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from gateway.admission import Admission, Attempt
from gateway.cache import Cache
from gateway.clock import SystemClock, steady_s
from gateway.core.errors import FeatureNotInTier, InvalidKey, QuotaExceeded
from gateway.leasing import Leasing
from gateway.outages import Outages
from gateway.provisioning import Provisioning
from gateway.publishing import Publisher
from tests.caches import as_user
from tests.conftest import Parts
from tests.fakes.raw import everywhere, open_raw

pytestmark = pytest.mark.slow

POLICY = """\
version: 1
default_tier: free
tiers:
  free: {limits: [%s]}
plans: {}
routes:
  - match: "* /v1/**"
"""
EDITED = """\
version: 1
default_tier: free
tiers:
  free: {limits: [9 requests per billing period]}
  best: {limits: [9 requests per billing period], features: [gold]}
plans:
  gold: {tier: best, price: lookup_key gold}
routes:
  - match: "* /v1/**"
    requires: gold
"""
LIMIT = 3000
LONG_MS = 60_000
"""A lease that nothing but a message ends within a test."""
_SHORT_MS = 5_000
"""One that ends within a test, and not before its next line."""
SOON_S = 60.0


class Worker:
    """What a process has for its own."""

    def __init__(self, parts: Parts, cache: Cache, ttl_ms: int) -> None:
        self.cache = cache
        self.slept_s = 0.0
        self.leasing = Leasing(
            cache, parts.clock, parts.metrics, ttl_ms, steady=lambda: time.monotonic() + self.slept_s
        )
        self.publisher = Publisher(parts.ledger, cache, parts.clock)
        self.publisher.published = self.leasing.drop
        self.leasing.asking.moved = parts.settlement.note_moved
        self.provisioning = Provisioning(parts.ledger, self.publisher, parts.codec, parts.clock)
        outages = Outages(cache, self.publisher, parts.metrics, 1000)
        self.admission = Admission(
            cache, self.publisher, parts.policy, parts.codec, parts.clock, outages, entries=1000, leasing=self.leasing
        )
        self.numbers = 0

    async def call(self, key: bytes) -> Attempt:
        self.numbers += 1
        attempt = self.admission.attempt(f"dec_{id(self):x}_{self.numbers:x}", "GET", "/v1/echo")
        await self.admission.admit(attempt, key)
        return attempt

    async def call_until_leased(self, key: bytes) -> Attempt:
        ends = time.monotonic() + SOON_S
        while not (attempt := await self.call(key)).is_leased:
            assert time.monotonic() < ends
            await asyncio.sleep(0)
        return attempt


@asynccontextmanager
async def working(parts: Parts, ttl_ms: int = 500, cache_url: str | None = None) -> AsyncIterator[Worker]:
    cache = await Cache.connect(cache_url or parts.cache_url, deadline_s=30)
    worker = Worker(parts, cache, ttl_ms)
    news = asyncio.create_task(cache.news(worker.leasing.drop, worker.leasing.inform).run())
    try:
        if cache_url is None:
            await until(lambda: worker.leasing.is_informed)
        yield worker
    finally:
        while not news.done():  # a library under it may swallow a cancellation
            news.cancel()
            await asyncio.wait([news], timeout=1)
        await worker.leasing.aclose()
        await cache.aclose()


async def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + SOON_S
    while not condition():
        assert time.monotonic() < ends
        await asyncio.sleep(0.01)


def limits(parts: Parts, *sentences: str) -> Parts:
    """The same parts in real time, under these limits."""
    (parts.policy_dir / "policy.yaml").write_text(POLICY % ", ".join(sentences))
    return Parts(parts.ledger, parts.cache, SystemClock(), parts.policy_dir, parts.codec, parts.cache_url)


@pytest.fixture
def real(parts: Parts) -> Parts:
    return limits(parts, f"{LIMIT} requests per billing period")


async def used(parts: Parts, customer_id: str) -> int:
    reading = await parts.cache.read_usage(customer_id)
    assert reading is not None
    return reading.quotas["q:requests:period"][1]


async def use_up(worker: Worker, key: bytes) -> tuple[int, int]:
    """Call until the quota is used up and nobody holds any of it. Returns calls let through, and by leases."""
    admitted = leased = refused = 0
    ends = time.monotonic() + SOON_S
    while refused < 2 * 500 / 20:
        assert time.monotonic() < ends
        try:
            attempt = await worker.call(key)
        except QuotaExceeded:
            refused += 1
            await asyncio.sleep(0.02)
        else:
            admitted, refused = admitted + 1, 0
            leased += attempt.is_leased
            if admitted % 10 == 0:
                await asyncio.sleep(0.01)
    return admitted, leased


async def test_two_workers_with_leases_let_a_quota_through_to_the_last_unit(real):
    customer_id, key, _ = await real.customer()
    async with working(real) as one, working(real) as two:
        done = await asyncio.gather(use_up(one, key), use_up(two, key))
        assert sum(admitted for admitted, _ in done) == LIMIT
        assert sum(leased for _, leased in done) > LIMIT / 2
        assert await used(real, customer_id) == LIMIT


async def test_calls_of_a_busy_key_take_few_round_trips(real):
    _, key, _ = await real.customer()
    async with working(real) as worker:
        await worker.call_until_leased(key)
        trips = []
        while not trips or min(trips) >= 10:  # a machine that stands still meanwhile ends a lease
            assert len(trips) < 20, trips
            before = worker.cache.round_trips
            for _ in range(50):
                await worker.call(key)
            trips.append(worker.cache.round_trips - before)


async def test_what_is_not_called_for_goes_back_and_is_settled(real):
    customer_id, key, _ = await real.customer()
    async with working(real) as worker:
        await worker.call_until_leased(key)
        await real.settlement.settle()
        await until(lambda: not worker.leasing._holders and not worker.leasing.asking.under_way)
        assert await used(real, customer_id) == worker.numbers
        await real.settlement.settle()
        counters, _ = await real.ledger.load_counters(customer_id)
        assert counters["q:requests:period"][1] == worker.numbers


async def test_a_worker_that_dies_loses_what_it_held_and_nobody_gets_it(real):
    customer_id, key, _ = await real.customer()
    async with working(real, 30_000) as worker:  # it must not end by itself before it is looked at
        await worker.call_until_leased(key)
        held = await used(real, customer_id) - worker.numbers
        assert held > 0
        worker.leasing._holders.clear()  # it is not there any more to give anything back
        worker.leasing.asking.cache = await Cache.connect("unix:///nowhere")
        async with working(real) as other:
            admitted, _ = await use_up(other, key)
        assert worker.numbers + admitted + held == LIMIT


async def test_the_limits_that_callers_are_told_are_those_of_the_lease(real):
    _, key, _ = await real.customer()
    async with working(real) as worker:
        attempt = await worker.call_until_leased(key)
        assert [state.remaining for state in attempt.states] == [LIMIT - worker.numbers]


async def test_a_call_of_a_lease_can_be_given_back_once(real):
    customer_id, key, _ = await real.customer()
    async with working(real) as worker:
        attempt = await worker.call_until_leased(key)
        assert await worker.admission.refund(attempt) == "given-back"
        assert await worker.admission.refund(attempt) == "nothing"
        await worker.leasing.aclose()
        assert await used(real, customer_id) == worker.numbers - 1


async def test_a_revoked_key_is_refused_at_once_where_it_was_revoked(real):
    customer_id, key, key_id = await real.customer()
    async with working(real, LONG_MS) as worker:
        await worker.call_until_leased(key)
        await worker.provisioning.revoke(customer_id, key_id, actor="test")
        with pytest.raises(InvalidKey):
            await worker.call(key)


async def test_a_revocation_reaches_other_workers_by_message(real):
    customer_id, key, key_id = await real.customer()
    async with working(real, LONG_MS) as one, working(real, LONG_MS) as other:
        await other.call_until_leased(key)
        await one.provisioning.revoke(customer_id, key_id, actor="test")
        await until(lambda: not other.leasing._holders)
        with pytest.raises(InvalidKey):
            await other.call(key)


async def test_with_every_message_lost_a_revoked_key_is_let_in_for_no_longer_than_a_lease(real):
    customer_id, key, key_id = await real.customer()
    async with open_raw(real.cache_url) as raw:
        await raw.execute_command("ACL SETUSER", "mute", "reset", "on", "nopass", "~*", "+@all", **everywhere(raw))
    muted = as_user(real.cache_url, "mute:any")
    async with working(real, _SHORT_MS) as worker, working(real, _SHORT_MS, muted) as mute:
        await worker.call_until_leased(key)
        await mute.provisioning.revoke(customer_id, key_id, actor="test")
        revoked_s = time.monotonic()
        assert (await worker.call(key)).is_leased
        while True:
            called_s = time.monotonic()
            try:
                await worker.call(key)
            except InvalidKey:
                break
            assert called_s <= revoked_s + _SHORT_MS / 1000
            await asyncio.sleep(0.002)


async def test_without_news_every_call_is_charged_by_itself_until_they_come_again(real):
    _, key, _ = await real.customer()
    async with working(real, LONG_MS) as worker:
        await worker.call_until_leased(key)
        lost: list[bool] = []
        worker.leasing.asking.moved = lambda _: lost.append(True)
        async with open_raw(real.cache_url) as raw:
            await raw.client_kill_filter(_type="pubsub", **everywhere(raw))
        await until(lambda: bool(lost))
        await until(lambda: worker.leasing.is_informed)
        await worker.call_until_leased(key)


async def test_a_machine_that_wakes_up_does_not_go_on_with_the_lease_from_before(real):
    _, key, _ = await real.customer()
    async with working(real, LONG_MS) as worker:
        await worker.call_until_leased(key)
        worker.slept_s = LONG_MS / 1000
        assert not (await worker.call(key)).is_leased


async def test_a_draw_that_was_answered_while_the_machine_slept_lets_nothing_through(real):
    customer_id, key, _ = await real.customer()
    async with working(real, LONG_MS) as worker:
        while not worker.leasing.asking.under_way:
            await worker.call(key)
        worker.slept_s = LONG_MS / 1000
        await worker.leasing.asking.answers()
        assert not worker.leasing._holders
        assert await used(real, customer_id) == worker.numbers


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other clocks")
def test_the_clock_of_leases_goes_on_while_the_machine_sleeps():
    before_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before_s <= steady_s() <= time.clock_gettime(time.CLOCK_BOOTTIME)


async def test_a_policy_edit_ends_leases_of_the_worker_that_took_it(real):
    _, key, _ = await real.customer()
    async with working(real, LONG_MS) as worker:
        await worker.call_until_leased(key)
        (real.policy_dir / "policy.yaml").write_text(EDITED)
        real.policy.reload()
        with pytest.raises(FeatureNotInTier):
            await worker.call(key)


async def test_a_pace_below_twenty_a_second_is_charged_call_by_call(real):
    customer_id, key, _ = await real.customer()
    async with working(real) as worker:
        for _ in range(30):
            await worker.call(key)
            await asyncio.sleep(0.06)
        assert await used(real, customer_id) == 30
