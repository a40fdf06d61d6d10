"""An outage of one master of a cluster: it is one for its own customers, for as long as it lasts."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from gateway.cache import Cache, CacheUnavailable
from gateway.core.keys import KeyCodec
from gateway.outages import CALM_S
from tests.conftest import PEPPER, Parts
from tests.fakes.valkey_cluster import ValkeyCluster
from tests.steps import admit, admitted, all_back, pro, subscribe
from tests.test_outages import LOCAL, Monotonic

pytestmark = pytest.mark.slow


@pytest.fixture
async def cluster():
    with tempfile.TemporaryDirectory(prefix="tg") as folder:
        async with ValkeyCluster(Path(folder)) as cluster:
            yield cluster


@pytest.fixture
async def spread(parts, cluster):
    """The parts of a gateway on the cluster."""
    cache = await Cache.connect(cluster.url, deadline_s=1.0)
    await all_back(cache)
    spread = Parts(parts.ledger, cache, parts.clock, parts.policy_dir, KeyCodec(PEPPER, "test"), cluster.url)
    spread.monotonic = spread.outages._monotonic = Monotonic()
    yield spread
    await cache.aclose()


async def paying_at(spread, cluster, master):
    """The key of a customer whom one master has, and whom the worker knows."""
    while True:
        customer_id, key, _ = await spread.customer(secrets.token_hex(4))
        if await cluster.owner(customer_id) is master:
            await subscribe(spread, customer_id, pro(spread.clock))
            await admit(spread.admission, key)
            return key


async def is_down(spread, master):
    async with asyncio.timeout(60):
        while f"127.0.0.1:{master.port}" not in spread.cache.down:  # noqa: ASYNC110 - it has no events
            await asyncio.sleep(0.01)


async def take_writes(spread, master):
    """Start a master again, and wait until it does what it is for, without a call that could fail meanwhile."""
    await master.start()
    await all_back(spread.cache)
    async with asyncio.timeout(60):
        while True:
            with suppress(CacheUnavailable):
                await spread.cache.try_write(everywhere=True)
                return
            await asyncio.sleep(0.05)


async def test_an_allowance_is_not_refilled_while_the_master_of_its_customer_is_down(spread, cluster):
    master = cluster.masters[0]
    key = await paying_at(spread, cluster, master)
    await master.kill()
    for _ in range(LOCAL):  # of the time until it is known to be down, too
        await spread.admission.refund(await admit(spread.admission, key))
    await is_down(spread, master)
    assert await admitted(spread.admission, key, 1) == 0
    spread.monotonic.now += CALM_S
    assert await spread.outages.charge_back() == []
    spread.monotonic.now += CALM_S
    assert await spread.outages.charge_back() == []
    assert await admitted(spread.admission, key, 1) == 0, "the others are well, this one is not"
    spread.monotonic.now += CALM_S / 2
    assert await spread.outages.charge_back() == []
    await take_writes(spread, master)
    spread.monotonic.now += CALM_S / 2
    await spread.outages.charge_back()
    await master.kill()
    assert await admitted(spread.admission, key, 1) == 0, "the calm begins when it is back"
    await take_writes(spread, master)
    await spread.outages.charge_back()
    spread.monotonic.now += CALM_S
    await spread.outages.charge_back()
    await admit(spread.admission, key)
    await master.kill()
    assert await admitted(spread.admission, key, LOCAL + 1) == LOCAL
