"""Changes that a cluster has missed, while one of its masters is down and when it is back."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from contextlib import aclosing
from pathlib import Path

import pytest

from gateway.cache import Cache, CacheUnavailable
from gateway.core.charge import AccountStale, Charged, ChargeRequest
from gateway.core.key_order import KeyOrder
from gateway.provisioning import Provisioning
from gateway.publishing import Publisher
from gateway.settlement import Settlement
from tests.fakes.valkey_cluster import ValkeyCluster

pytestmark = pytest.mark.slow


async def version_at(cache, customer_id):
    """The version that the cache decides on; None if it knows no account."""
    try:
        answer = await cache.charge(ChargeRequest(customer_id=customer_id, version=0, claims=()))
    except CacheUnavailable:
        return "unavailable"
    assert not isinstance(answer, Charged)
    return answer.version if isinstance(answer, AccountStale) else None


async def test_a_master_that_is_down_keeps_nobody_elses_changes_out_and_gets_its_own_when_it_is_back(parts):
    publisher = None

    async def repair():
        if publisher is not None:
            await publisher.repair()

    with tempfile.TemporaryDirectory(prefix="tg") as folder:
        async with (
            ValkeyCluster(Path(folder)) as cluster,
            aclosing(await Cache.connect(cluster.url, deadline_s=1.0, on_reconnect=repair)) as cache,
        ):
            publisher = Publisher(parts.ledger, cache, parts.clock)
            provisioning = Provisioning(parts.ledger, publisher, parts.codec, parts.clock)
            assert await cache.wait_ready(30)
            rows = []
            for master in cluster.masters[:2]:
                while True:
                    row = await provisioning.create_customer(secrets.token_hex(4), actor="test")
                    if await cluster.owner(row.customer_id) is master:
                        rows.append(row)
                        break
            lost, kept = (row.customer_id for row in rows)
            await cluster.masters[0].kill()
            for customer_id in (lost, kept):
                await provisioning.issue(customer_id, KeyOrder(), actor="test")
            while cache.is_reachable(lost):
                with pytest.raises(CacheUnavailable):
                    await publisher.publish(lost)
            assert lost in await parts.ledger.unpublished(100)
            assert kept not in await parts.ledger.unpublished(100)
            await publisher.repair()
            assert {cache.is_reachable(customer_id) for customer_id in await parts.ledger.unpublished(100)} == {False}
            settlement = Settlement(parts.ledger, cache, publisher, parts.clock, parts.metrics)
            settlement.note_moved(lost)
            settlement.note_moved(kept)
            await settlement.settle()
            assert settlement._charged == {lost}, "tried again"
            await cluster.masters[0].start()
            while (version := await version_at(cache, lost)) == "unavailable":  # noqa: ASYNC110 - it waits for a process
                await asyncio.sleep(0.02)
            assert version == 2, "nothing was decided before what was missed had been published"
            assert await version_at(cache, kept) == 2
            assert lost not in await parts.ledger.unpublished(100)
