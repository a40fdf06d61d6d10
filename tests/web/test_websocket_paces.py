"""How long a message on an open WebSocket waits for its rates, when a worker holds them by itself."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gateway.cache import Cache
from gateway.core.errors import RateLimited
from gateway.core.keys import KeyCodec
from gateway.tallies import Tallies
from gateway.web.websocket_charges import PATIENCE_S, WebSocketCharges
from tests.caches import line_to
from tests.conftest import PEPPER, Parts
from tests.steps import all_back

POLICY = """\
version: 1
default_tier: free
meters: {messages: {}, rare: {}}
tiers:
  free:
    when_cache_fails: allow
    limits: [100 messages per second burst 2, 1 rare per minute burst 1]
routes:
  - {match: GET /rare, websocket: {cost_per_message: {rare: 1}}}
  - {match: GET /socket, websocket: {cost_per_message: {messages: 1}}}
"""


class Passing:
    """Seconds that pass while somebody waits, and are remembered."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
async def cut_off(parts, shared_cache_url):
    """Opens a WebSocket, then the cache is gone."""
    async with line_to(shared_cache_url) as line:
        cache = await Cache.connect(line.url, deadline_s=10)
        try:
            await all_back(cache)
            remote = Parts(parts.ledger, cache, parts.clock, parts.policy_dir, KeyCodec(PEPPER, "test"), line.url)
            (remote.policy_dir / "policy.yaml").write_text(POLICY)
            assert remote.policy.reload()
            passing = remote.outages._monotonic = Passing()
            runtime = SimpleNamespace(
                admission=remote.admission,
                policy=remote.policy,
                settlement=remote.settlement,
                tallies=Tallies(remote.ledger, remote.clock, remote.metrics),
            )
            _, key, _ = await remote.customer()

            async def open_at(path):
                handshake = remote.admission.attempt("dec_8", "GET", path)
                await remote.admission.admit(handshake, key)
                await line.close()
                return WebSocketCharges(runtime, handshake, key, passing.sleep), passing

            yield open_at
        finally:
            await cache.aclose()


async def test_a_message_waits_for_as_long_as_its_pace_takes_while_the_cache_is_away(cut_off):
    charges, passing = await cut_off("/socket")
    for _ in range(12):
        await charges.message(1)
    assert passing.now - 1000 == pytest.approx(0.1, abs=0.02)


async def test_a_message_that_would_wait_for_too_long_is_refused_at_once(cut_off):
    charges, passing = await cut_off("/rare")
    await charges.message(1)
    with pytest.raises(RateLimited) as refused:
        await charges.message(1)
    assert refused.value.retry_after_s > PATIENCE_S
    assert passing.waits == []
