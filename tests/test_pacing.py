"""Who is no call is paced over all workers; while the cache cannot decide, each worker counts by itself."""

from __future__ import annotations

import secrets

import pytest

from gateway.cache import Cache
from gateway.clock import SystemClock
from gateway.core.charge import RateClaim
from gateway.pacing import Pacing
from tests.caches import line_to
from tests.conftest import PATIENT_S
from tests.steps import all_back

RATE = RateClaim(field="r:test:3600000", cost=1, units=60, window_ms=3_600_000, burst=3)
"""One a minute, three at once."""


class Monotonic:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def line(shared_cache_url):
    async with line_to(shared_cache_url) as line:
        yield line


@pytest.fixture
async def caches(line):
    opened = [await Cache.connect(line.url, deadline_s=PATIENT_S) for _ in range(2)]
    for cache in opened:
        await all_back(cache)
    yield opened
    for cache in opened:
        await cache.aclose()


@pytest.fixture
def clock():
    return Monotonic()


@pytest.fixture
def workers(caches, clock):
    return [Pacing(cache, SystemClock(), monotonic=clock, entries=4) for cache in caches]


@pytest.fixture
def who():
    """Somebody of whom the cache has not heard."""
    return secrets.token_hex(8)


async def let_in(worker, who, times):
    return [await worker.wait_s(who, RATE) == 0 for _ in range(times)]


async def test_all_workers_count_together(workers, who):
    one, other = workers
    assert await let_in(one, who, 2) == [True, True]
    assert await let_in(other, who, 2) == [True, False]
    assert 1 <= await one.wait_s(who, RATE) <= 60


async def test_without_the_cache_each_worker_lets_in_the_pace_and_no_more(workers, line, clock, who):
    await line.close()
    for worker in workers:
        assert await let_in(worker, who, 5) == [True, True, True, False, False]
        assert await worker.wait_s(who, RATE) == 60
    clock.now += 60
    assert await let_in(workers[0], who, 2) == [True, False]


async def test_without_the_cache_one_does_not_wait_for_another(workers, line, who):
    await line.close()
    await let_in(workers[0], who, 4)
    assert await workers[0].wait_s(f"{who} and another", RATE) == 0


async def test_what_a_worker_remembers_is_bounded_and_who_comes_back_is_not_forgotten(workers, line, who):
    await line.close()
    worker = workers[0]
    await let_in(worker, who, 3)
    for number in range(20):
        await worker.wait_s(f"{who} {number}", RATE)
        assert await worker.wait_s(who, RATE) > 0, "asked for again and again, though it is let in no more"
    assert len(worker) == 4


async def test_when_the_cache_is_back_it_counts_again(workers, line, caches, who):
    await line.close()
    await let_in(workers[0], who, 4)
    await line.open()
    await all_back(caches[0])
    assert await workers[0].wait_s(who, RATE) == 0
