"""What calls turn out to cost that were let in while the cache could not decide: it counts against `local N`."""

from __future__ import annotations

import pytest

from gateway.cache import Cache
from gateway.core.errors import CapacityReduced
from gateway.core.keys import KeyCodec
from gateway.outages import CALM_S
from tests.caches import line_to
from tests.conftest import PATIENT_S, PEPPER, Parts
from tests.patience import impatient
from tests.steps import admit, admitted, all_back

LOCAL, QUOTA, MOST = 1_000, 100_000, 4_000
POLICY = f"""\
version: 1
default_tier: free
meters:
  tokens: {{settle: response header X-Tokens at most {MOST}}}
tiers:
  free:
    limits: [{QUOTA} tokens per billing period]
    when_cache_fails: local {LOCAL}
routes:
  - {{match: "* /v1/**", cost: {{tokens: 1}}}}
"""


class Monotonic:
    """Seconds that go forward by hand."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def line(shared_cache_url):
    async with line_to(shared_cache_url) as line:
        yield line


@pytest.fixture
async def remote(parts, line):
    """The same parts, with a cache that can be cut off, and a policy that settles."""
    (parts.policy_dir / "policy.yaml").write_text(POLICY)
    cache = await Cache.connect(line.url, deadline_s=PATIENT_S)
    await all_back(cache)
    remote = Parts(parts.ledger, cache, parts.clock, parts.policy_dir, KeyCodec(PEPPER, "test"), line.url)
    remote.monotonic = remote.outages._monotonic = Monotonic()
    yield remote
    await cache.aclose()


@pytest.fixture
async def key(remote):
    _, key, _ = await remote.customer()
    await admit(remote.admission, key)
    return key


async def back(remote, line):
    line.heal()
    if not line.is_open:
        await line.open()
    await all_back(remote.cache)
    return await remote.outages.charge_back()


async def all_let_in(remote, key, cost):
    """Call one after the other until nobody is let in. Returns how many were."""
    calls = 0
    while True:
        try:
            attempt = await admit(remote.admission, key)
        except CapacityReduced:
            return calls
        calls += 1
        await remote.admission.settle(attempt, {"tokens": cost})


@pytest.mark.parametrize(("cost", "calls"), [(MOST, 1), (300, 4), (1, LOCAL), (0, LOCAL)])
async def test_what_is_settled_takes_of_the_allowance_as_soon_as_it_is_known(remote, line, key, cost, calls):
    await line.close()
    assert await all_let_in(remote, key, cost) == calls
    assert remote.outages.owed_units == cost * calls


async def test_what_exceeds_the_allowance_is_what_the_calls_in_progress_cost_more(remote, line, key):
    await line.close()
    live = [await admit(remote.admission, key) for _ in range(5)]
    for attempt in live:
        await remote.admission.settle(attempt, {"tokens": MOST})
    assert await admitted(remote.admission, key, 3) == 0
    assert remote.outages.owed_units == 5 * MOST


async def test_it_is_taken_once(remote, line, key):
    await line.close()
    attempt = await admit(remote.admission, key)
    for _ in range(3):
        await remote.admission.settle(attempt, {"tokens": 700})
    assert await admitted(remote.admission, key, LOCAL) == LOCAL - 700


async def test_a_call_that_may_have_been_charged_takes_it_too(remote, line, key):
    line.hang()
    with impatient(remote.cache):
        attempt = await admit(remote.admission, key)
    assert remote.outages.owed_units == 0
    assert await remote.admission.settle(attempt, {"tokens": MOST}) == "uncounted"
    await line.close()
    assert await admitted(remote.admission, key, 3) == 0


async def test_a_call_that_is_charged_back_takes_it_too_while_its_outage_lasts(remote, line, key):
    await line.close()
    attempt = await admit(remote.admission, key)
    assert await back(remote, line)
    assert await remote.admission.settle(attempt, {"tokens": MOST}) == "settled"
    await line.close()
    assert await admitted(remote.admission, key, 3) == 0


async def test_a_call_takes_nothing_of_an_outage_that_came_after_its_own(remote, line, key):
    await line.close()
    attempt = await admit(remote.admission, key)
    assert await back(remote, line)
    remote.monotonic.now += CALM_S + 1
    await remote.outages.charge_back()
    await line.close()
    await admit(remote.admission, key)
    await remote.admission.settle(attempt, {"tokens": MOST})
    assert await admitted(remote.admission, key, 3) == 3
