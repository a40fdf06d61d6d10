"""A worker whose clock is wrong decides by the cache's: each answer tells it, whatever limits the tier has."""

from dataclasses import dataclass

import pytest

from gateway.admission import Admission
from gateway.core.errors import CapacityReduced, InvalidKey
from gateway.policyfiles import PolicyHolder
from tests.conftest import TestClock

HOUR_S = 3600
RATES_ONLY = """\
version: 1
default_tier: free
tiers:
  free:
    limits: [100 per second]
routes:
  - match: "* /v1/**"
"""


@dataclass
class OffClock:
    """Of a worker: off by so much, while the cache's is right."""

    right: TestClock
    off_s: float

    def now(self):
        return self.right.time + self.off_s

    def cache_now_ms(self):
        return self.right.cache_now_ms()


@pytest.fixture
def policy(tmp_path):
    folder = tmp_path / "rates-only"
    folder.mkdir()
    (folder / "policy.yaml").write_text(RATES_ONLY)
    return PolicyHolder(folder)


def worker(parts, policy, off_s):
    clock = OffClock(parts.clock, off_s)
    admission = Admission(parts.cache, parts.publisher, policy, parts.codec, clock, parts.outages, entries=1000)
    return admission, clock


async def admit(admission, key):
    attempt = admission.attempt("dec_1", "GET", "/v1/echo")
    await admission.admit(attempt, key)
    return attempt


async def test_a_key_expires_by_the_caches_clock_on_a_worker_that_is_an_hour_behind(parts, policy):
    admission, _ = worker(parts, policy, -HOUR_S)
    _, key, _ = await parts.customer(expires_at=int(parts.clock.time) + 600)
    attempt = await admit(admission, key)
    assert abs(attempt.now - parts.clock.time) < 1
    parts.clock.time += 599
    await admit(admission, key)
    parts.clock.time += 1
    with pytest.raises(InvalidKey):
        await admit(admission, key)
    with pytest.raises(InvalidKey):
        await admission.identify(key)


async def test_the_first_call_of_all_is_refused_if_its_key_has_expired_by_the_caches_clock(parts, policy):
    admission, _ = worker(parts, policy, -HOUR_S)
    _, key, _ = await parts.customer(expires_at=int(parts.clock.time) + 600)
    parts.clock.time += 600
    with pytest.raises(InvalidKey):
        await admit(admission, key)


async def test_a_key_is_asked_for_by_the_caches_clock_also_where_nothing_is_charged(parts, policy):
    admission, _ = worker(parts, policy, -HOUR_S)
    _, key, _ = await parts.customer(expires_at=int(parts.clock.time) + 600)
    parts.clock.time += 600
    with pytest.raises(InvalidKey):
        await admission.identify(key)


async def test_a_key_works_to_its_end_on_a_worker_that_is_an_hour_ahead(parts, policy):
    admission, _ = worker(parts, policy, HOUR_S)
    _, key, _ = await parts.customer(expires_at=int(parts.clock.time) + 600)
    await admit(admission, key)
    parts.clock.time += 599
    await admit(admission, key)


async def test_a_call_that_only_a_worker_whose_clock_was_set_ahead_would_refuse_is_let_in(parts, policy):
    admission, clock = worker(parts, policy, 0)
    _, key, _ = await parts.customer(expires_at=int(parts.clock.time) + 600)
    await admit(admission, key)
    clock.off_s = HOUR_S
    await admit(admission, key)


async def test_a_clock_that_is_set_while_a_worker_runs_is_noticed_by_its_next_call(parts, policy):
    admission, clock = worker(parts, policy, 0)
    _, key, _ = await parts.customer(expires_at=int(parts.clock.time) + 600)
    await admit(admission, key)
    for off_s in (-HOUR_S, HOUR_S, 0):
        clock.off_s = off_s
        await admit(admission, key)
        attempt = await admit(admission, key)
        assert abs(attempt.now - parts.clock.time) < 1
    clock.off_s = -HOUR_S
    await admit(admission, key)
    parts.clock.time += 600
    with pytest.raises(InvalidKey):
        await admit(admission, key)


async def test_while_the_cache_is_away_time_goes_on_as_it_was_last_told(parts, policy):
    admission, _ = worker(parts, policy, -HOUR_S)
    _, key, _ = await parts.customer(expires_at=int(parts.clock.time) + 600)
    await admit(admission, key)
    await parts.cache.aclose()
    parts.clock.time += 600
    attempt = admission.attempt("dec_2", "GET", "/v1/echo")
    with pytest.raises(CapacityReduced, match="was not seen"):
        await admission.admit(attempt, key)
    assert abs(attempt.now - parts.clock.time) < 1
