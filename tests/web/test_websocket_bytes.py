"""An open WebSocket that is settled by bytes: each minute's are counted in the windows of that minute, once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace

import pytest

from gateway.cache import Cache
from gateway.core.errors import InvalidKey, QuotaExceeded, RouteNotFound
from gateway.core.keys import KeyCodec
from gateway.tallies import Tallies
from gateway.upstream import Outcome
from gateway.web.settling import Settling
from gateway.web.websocket_bytes import ByteCharges
from tests.caches import line_to
from tests.conftest import PEPPER, Parts
from tests.steps import all_back

POLICY = """\
version: 1
default_tier: free
meters:
  kb: {settle: response bytes per 1KB}
tiers:
  free:
    limits: [100 kb per hour, 1_000 kb per day]
routes:
  - {match: GET /bounded, cost: {kb: 3}, settle: {kb: at most 20}}
  - {match: GET /socket, cost: {kb: 3}}
"""
KB = 1000
HOUR_S = 3600
NUMBERS = count(1)


@dataclass
class Opened:
    """A WebSocket after its handshake, with what `Metered` does at its end."""

    parts: Parts
    customer_id: str
    key_id: str
    attempt: object
    settling: Settling
    charges: ByteCharges
    tallies: Tallies
    moved: int = field(default=0)

    async def minute(self, kb: float = 0) -> None:
        self.moved += int(kb * KB)
        self.parts.clock.time += 60
        await self.charges.minute(self.moved, 0)

    async def end(self, kb: float = 0) -> None:
        self.moved += int(kb * KB)
        outcome = Outcome(101, self.moved, 0, "complete")
        await self.charges.end(outcome)
        await self.parts.admission.settle(self.attempt, self.settling.costs(outcome))

    async def used(self) -> tuple[int, int, int]:
        """Of the hour before, this one, and the day."""
        reading = await self.parts.cache.read_usage(self.customer_id)
        hour, day = "q:kb:3600", "q:kb:86400"
        before = reading.ended.get(hour, (0, 0))[1]
        return before, reading.quotas[hour][1], reading.quotas[day][1]


async def opened(parts, path="/socket"):
    (parts.policy_dir / "policy.yaml").write_text(POLICY)
    assert parts.policy.reload()
    customer_id, key, key_id = await parts.customer()
    tallies = Tallies(parts.ledger, parts.clock, parts.metrics)
    runtime = SimpleNamespace(
        admission=parts.admission,
        clock=parts.clock,
        metrics=parts.metrics,
        policy=parts.policy,
        settlement=parts.settlement,
        tallies=tallies,
    )
    attempt = parts.admission.attempt(f"dec_7{next(NUMBERS):x}", "GET", path)
    await parts.admission.admit(attempt, key)
    settling = Settling(attempt.route.settle, parts.metrics, path)
    charges = ByteCharges(runtime, attempt, key, settling)
    return Opened(parts, customer_id, key_id, attempt, settling, charges, tallies)


@pytest.fixture
async def socket(parts):
    return await opened(parts)


async def test_each_minute_is_counted_in_the_hour_in_which_it_passes(parts, socket):
    parts.clock.time += HOUR_S - 130
    await socket.minute(10)
    await socket.minute(5)
    assert await socket.used() == (0, 15, 15)
    await socket.minute(7)
    assert await socket.used() == (15, 7, 22)
    await socket.end(2)
    assert await socket.used() == (15, 9, 24)


async def test_what_passed_by_a_minute_is_counted_though_its_worker_dies(socket):
    await socket.minute(10)
    assert await socket.used() == (0, 10, 10)


async def test_what_was_reserved_pays_for_the_first_bytes_and_the_rest_of_it_is_given_back(socket):
    await socket.minute(1)
    assert await socket.used() == (0, 3, 3)
    await socket.end(1)
    assert await socket.used() == (0, 2, 2)


async def test_a_unit_that_was_begun_counts_once_however_many_minutes_it_takes(socket):
    for _ in range(8):
        await socket.minute(0.7)
    await socket.end()
    assert (await socket.used())[1] == 6


async def test_all_minutes_together_cost_no_more_than_the_bound(parts):
    socket = await opened(parts, "/bounded")
    for _ in range(4):
        await socket.minute(8)
    await socket.end(8)
    assert await socket.used() == (0, 20, 20)


async def test_a_used_up_quota_ends_it_and_what_passed_is_counted(socket):
    await socket.minute(100)
    with pytest.raises(QuotaExceeded):
        await socket.minute(6)
    await socket.end(2)
    assert await socket.used() == (0, 108, 108)


async def test_what_passed_before_its_quota_was_used_up_is_counted_in_the_hour_that_runs(parts, socket):
    await socket.minute(50)
    parts.clock.time += HOUR_S
    await socket.minute(100)
    with pytest.raises(QuotaExceeded):
        await socket.minute(6)
    await socket.end(2)
    assert await socket.used() == (50, 108, 158)


async def test_what_is_left_when_it_ends_in_the_next_hour_is_counted_there(parts, socket):
    parts.clock.time += HOUR_S
    await socket.end(10)
    assert await socket.used() == (3, 7, 10)


@pytest.mark.parametrize("revoked_in", ["the same hour", "the next"])
async def test_a_revoked_key_keeps_no_bytes_from_being_counted(parts, socket, revoked_in):
    await socket.minute(10)
    await parts.provisioning.revoke(socket.customer_id, socket.key_id, actor="test")
    if revoked_in == "the next":
        parts.clock.time += HOUR_S
    with pytest.raises(InvalidKey):
        await socket.minute(4)
    await socket.end(1)
    assert (await socket.used())[1:] == (15, 15)


async def test_a_route_that_is_gone_ends_it(parts, socket):
    (parts.policy_dir / "policy.yaml").write_text(POLICY.replace("GET /socket", "GET /other"))
    assert parts.policy.reload()
    with pytest.raises(RouteNotFound):
        await socket.minute(10)


async def test_an_end_in_the_middle_of_a_charge_counts_nothing_twice(socket):
    charging = asyncio.ensure_future(socket.minute(10))
    await asyncio.sleep(0)
    charging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await charging
    await socket.end(1)
    assert await socket.used() == (0, 11, 11)


async def test_what_cannot_be_charged_while_the_cache_is_away_is_made_up_for(parts, shared_cache_url):
    async with line_to(shared_cache_url) as line:
        cache = await Cache.connect(line.url, deadline_s=10)
        try:
            await all_back(cache)
            remote = Parts(parts.ledger, cache, parts.clock, parts.policy_dir, KeyCodec(PEPPER, "test"), line.url)
            socket = await opened(remote)
            await line.close()
            await socket.minute(10)
            await line.open()
            await all_back(cache)
            await socket.minute(10)
            await socket.end(1)
            assert await socket.used() == (0, 21, 21)
        finally:
            await cache.aclose()


async def test_the_history_of_usage_has_what_the_counters_have(parts, socket):
    await socket.minute(10)
    await socket.minute(5)
    await socket.tallies.flush()
    rows = await parts.ledger.list_history(socket.customer_id, from_at=0, to_at=2**40, by="hour")
    assert sum(row.units for row in rows if row.meter == "kb") == 15 - 3  # the handshake's are counted by its own call
