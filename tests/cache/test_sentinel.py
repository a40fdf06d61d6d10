"""The master that sentinels name: who is asked, and what a fail-over costs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from gateway.cache import Cache, CacheUnavailable
from gateway.cache.inspection import inspect_cache
from gateway.cache.sentinel import SentinelEndpoint, ask_sentinels
from gateway.cli.deployment_checks import judge_deployment
from gateway.core.cache_url import parse_cache_url
from tests.fakes.caller import Caller
from tests.fakes.sentinels import Sentinels

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.slow, pytest.mark.not_on("cluster", because="is about the one master that sentinels name")]

LIMIT = 8000
AT_ONCE = 8


@pytest.fixture
async def sentinels(short_dir: Path) -> AsyncIterator[Sentinels]:
    async with Sentinels(short_dir) as sentinels:
        yield sentinels


@pytest.fixture
async def cache(sentinels: Sentinels) -> AsyncIterator[Cache]:
    cache = await Cache.connect(sentinels.url, deadline_s=1.0)
    yield cache
    await cache.aclose()


async def test_the_master_is_found_and_charged_in_one_round_trip_each(
    sentinels: Sentinels, cache: Cache, customer_id: str
) -> None:
    customer = Caller(cache, customer_id, LIMIT)
    assert await cache.wait_ready(30)
    await customer.publish()
    trips = cache.round_trips
    for _ in range(20):
        assert await customer.call()
    assert cache.round_trips == trips + 20
    assert customer.charged == 20
    assert await sentinels.master.client.exists(f"tg:{{{customer_id}}}:use")


async def test_a_sentinel_that_is_away_is_passed_over(sentinels: Sentinels, customer_id: str) -> None:
    await sentinels.sentinels[0].kill()
    cache = await Cache.connect(sentinels.url, deadline_s=1.0)
    assert await cache.wait_ready(30)
    await Caller(cache, customer_id, LIMIT).publish()
    await cache.aclose()


async def test_no_sentinel_is_forgotten_when_many_ask_at_once_while_it_is_away(sentinels: Sentinels) -> None:
    first, *others = sentinels.sentinels
    address = parse_cache_url(sentinels.url)
    endpoint = SentinelEndpoint(address, ask_sentinels(address))
    await first.kill()
    await asyncio.gather(*(endpoint.find() for _ in range(AT_ONCE)))
    await first.start()
    for other in others:
        await other.kill()
    found = await endpoint.find()
    await endpoint.aclose()
    assert found == ("127.0.0.1", sentinels.master.port)


async def test_without_a_sentinel_nothing_is_decided(sentinels: Sentinels, customer_id: str) -> None:
    for sentinel in sentinels.sentinels:
        await sentinel.kill()
    cache = await Cache.connect(sentinels.url, deadline_s=0.2)
    with pytest.raises(CacheUnavailable):
        await cache.charge(Caller(cache, customer_id, LIMIT).request)
    assert not await cache.wait_ready(0.5)
    await cache.aclose()


async def test_a_name_that_the_sentinels_do_not_know_is_said(sentinels: Sentinels, customer_id: str) -> None:
    cache = await Cache.connect(sentinels.url.replace("mymaster", "nobody"), deadline_s=0.2)
    assert not await cache.wait_ready(0.5)
    with pytest.raises(CacheUnavailable) as refusal:
        await cache.charge(Caller(cache, customer_id, LIMIT).request)
    assert refusal.value.reason == "no sentinel names a master that is up"
    await cache.aclose()


async def test_a_replica_that_a_sentinel_still_names_is_refused(sentinels: Sentinels, customer_id: str) -> None:
    for sentinel in sentinels.sentinels:  # they cannot correct what they do not see
        await sentinel.client.execute_command("SENTINEL", "REMOVE", "mymaster")
        await sentinel.client.execute_command("SENTINEL", "MONITOR", "mymaster", "127.0.0.1", sentinels.replica.port, 3)
    cache = await Cache.connect(sentinels.url, deadline_s=0.2)
    assert not await cache.wait_ready(0.3)
    with pytest.raises(CacheUnavailable) as refusal:
        await cache.charge(Caller(cache, customer_id, LIMIT).request)
    assert refusal.value.reason in {
        "the server that the sentinels name is not a master",
        "no sentinel names a master that is up",
    }
    await cache.aclose()


async def test_the_doctor_looks_at_the_master_and_counts_the_sentinels(sentinels: Sentinels) -> None:
    await sentinels.sentinels[0].kill()
    report = await inspect_cache(sentinels.url)
    assert (report.is_replica, report.write_refusal, report.sentinels) == (False, None, (2, 3))
    assert [finding.grade.value for finding in judge_deployment(report)] == ["warn"]


@pytest.mark.parametrize("how", ["fail_over", "take_over"])
async def test_a_fail_over_under_traffic_loses_no_more_than_was_charged_while_it_went_on(
    sentinels: Sentinels, cache: Cache, customer_id: str, how: str
) -> None:
    customer = Caller(cache, customer_id, LIMIT)
    await customer.publish()
    calls = [asyncio.create_task(customer.use_up()) for _ in range(AT_ONCE)]
    while customer.charged < AT_ONCE:  # noqa: ASYNC110 - it waits for the calls
        await asyncio.sleep(0.001)
    before = customer.charged
    await getattr(sentinels, how)()
    while not customer.missing:  # noqa: ASYNC110 - the new master's counters are held against the ledger
        await asyncio.sleep(0.001)
    meanwhile = customer.charged - before
    assert meanwhile < LIMIT // 2, "the old master was left while it still took writes"
    customer.pause_s = 0.0
    await asyncio.wait_for(asyncio.gather(*calls), 60)
    assert LIMIT - customer.unavailable <= customer.charged <= LIMIT + meanwhile + AT_ONCE
    assert customer.missing <= 2 * AT_ONCE, "each call that was under way, once or twice"
