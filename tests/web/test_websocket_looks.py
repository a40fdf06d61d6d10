"""How long an open WebSocket whose messages are free is believed while the cache cannot decide."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from gateway.cache import Cache
from gateway.core.errors import CapacityReduced
from gateway.core.keys import KeyCodec
from gateway.core.outage_policy import SNAPSHOT_LIVES_S
from gateway.tallies import Tallies
from gateway.web.websocket_charges import WebSocketCharges
from tests.caches import line_to
from tests.conftest import PATIENT_S, PEPPER, Parts
from tests.steps import all_back

MODES = ["deny", "allow", "local 2"]


@pytest.fixture
async def open_one(parts, shared_cache_url):
    """Opens a WebSocket under a tier with this `when_cache_fails`, then the cache is gone."""
    async with line_to(shared_cache_url) as line:
        cache = await Cache.connect(line.url, deadline_s=PATIENT_S)
        try:
            await all_back(cache)

            async def open_one(mode):
                (parts.policy_dir / "policy.yaml").write_text(
                    "version: 1\ndefault_tier: free\ntiers:\n"
                    f"  free: {{limits: [100 requests per day], when_cache_fails: {mode}}}\n"
                    "routes: [{match: GET /socket}]\n"
                )
                remote = Parts(parts.ledger, cache, parts.clock, parts.policy_dir, KeyCodec(PEPPER, "test"), line.url)
                runtime = SimpleNamespace(
                    admission=remote.admission,
                    policy=remote.policy,
                    settlement=remote.settlement,
                    tallies=Tallies(remote.ledger, remote.clock, remote.metrics),
                )
                customer_id, key, key_id = await remote.customer()
                handshake = remote.admission.attempt("dec_9", "GET", "/socket")
                await remote.admission.admit(handshake, key)
                await line.close()
                charges = WebSocketCharges(runtime, handshake, key)
                return SimpleNamespace(
                    charges=charges, parts=remote, line=line, customer_id=customer_id, key_id=key_id, runtime=runtime
                )

            yield open_one
        finally:
            await cache.aclose()


@pytest.mark.parametrize("mode", MODES)
async def test_it_stays_open_for_as_long_as_a_known_key_is_believed(open_one, mode):
    one = await open_one(mode)
    for _ in range(3):
        await one.charges.minute()
        one.parts.clock.time += SNAPSHOT_LIVES_S / 3
    await one.charges.minute()
    one.parts.clock.time += 1
    with pytest.raises(CapacityReduced):
        await one.charges.minute()


@pytest.mark.parametrize("mode", MODES)
async def test_a_key_that_the_ledger_goes_on_to_confirm_keeps_it_open(open_one, mode):
    one = await open_one(mode)
    for _ in range(3):
        await one.charges.minute()
        await one.parts.admission.follow_ledger()
        one.parts.clock.time += SNAPSHOT_LIVES_S
    await one.charges.minute()


@pytest.mark.parametrize("mode", MODES)
async def test_a_key_that_is_revoked_meanwhile_ends_it(open_one, mode):
    one = await open_one(mode)
    await one.charges.minute()
    await one.parts.provisioning.revoke(one.customer_id, one.key_id, actor="test")
    await one.parts.admission.follow_ledger()
    with pytest.raises(CapacityReduced):
        await one.charges.minute()


async def test_whose_account_the_worker_has_forgotten_is_believed_as_long(open_one):
    one = await open_one("allow")
    one.parts.admission._snapshots._accounts.clear()
    one.parts.admission._ready.clear()
    one.parts.clock.time += SNAPSHOT_LIVES_S
    await one.charges.minute()
    one.parts.clock.time += 1
    with pytest.raises(CapacityReduced):
        await one.charges.minute()


async def test_who_came_in_while_the_cache_was_away_is_not_believed_longer_than_its_account(open_one):
    one = await open_one("allow")
    one.parts.clock.time += SNAPSHOT_LIVES_S
    handshake = one.parts.admission.attempt("dec_8", "GET", "/socket")
    await one.parts.admission.admit(handshake, one.charges.presented)
    later = WebSocketCharges(one.runtime, handshake, one.charges.presented)
    await later.minute()
    one.parts.clock.time += 1
    with pytest.raises(CapacityReduced):
        await later.minute()


async def test_a_cache_that_decides_again_begins_the_time_anew(open_one):
    one = await open_one("deny")
    one.parts.clock.time += SNAPSHOT_LIVES_S
    await one.line.open()
    await all_back(one.parts.cache)
    await one.charges.minute()
    await one.line.close()
    one.parts.clock.time += SNAPSHOT_LIVES_S
    await one.charges.minute()
