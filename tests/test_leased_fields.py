"""What callers are told is left, by two workers with leases of one quota.

Each says what was left when it drew its lease, less what it has let through since. So what it says is what is left,
plus what the other has let through since then, less what the other held then.
"""

import asyncio
import random
import time

import pytest

from tests.conftest import Parts
from tests.test_leasing import LIMIT, SOON_S, Worker, limits, until, used, working

TTL_S = 0.5
SHARE = 10
"""A lease takes so much of what is left, at most, and a worker holds two."""


@pytest.fixture
def real(parts: Parts) -> Parts:
    return limits(parts, f"{LIMIT} requests per billing period")


class Caller:
    """Calls two workers in turns, and compares what they say."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.passed: list[tuple[float, Worker]] = []
        """Each call that was let through: by whom, and when it had been."""
        self.leased = 0

    def since(self, at_s: float) -> int:
        return sum(passed_s >= at_s for passed_s, _ in self.passed)

    async def call(self, worker: Worker) -> None:
        begun_s = time.monotonic()
        attempt = await worker.call(self.key)
        (state,) = attempt.states
        self.passed.append((time.monotonic(), worker))
        left = LIMIT - len(self.passed)
        others = sum(passed_s >= begun_s - TTL_S and who is not worker for passed_s, who in self.passed)
        assert state.remaining <= left + others * attempt.is_leased
        before = left + self.since(begun_s - 2 * TTL_S)
        assert state.remaining >= left - 2 * before // SHARE
        self.leased += attempt.is_leased


@pytest.mark.slow
async def test_callers_are_told_what_is_left_give_or_take_what_the_other_worker_has(real):
    customer_id, key, _ = await real.customer()
    caller, order = Caller(key), random.Random(1)
    async with working(real) as one, working(real) as other:
        ends = time.monotonic() + SOON_S
        while len(caller.passed) < LIMIT // 2:
            assert time.monotonic() < ends
            for _ in range(order.randrange(1, 20)):
                await caller.call(order.choice((one, other)))
            await asyncio.sleep(0.005)
        assert caller.leased > LIMIT // 4
        await until(lambda: not one.leasing._holders and not other.leasing._holders)
        await until(lambda: not one.leasing.asking.under_way and not other.leasing.asking.under_way)
        assert await used(real, customer_id) == len(caller.passed)
        attempt = await one.call(key)
        assert not attempt.is_leased
        assert attempt.states[0].remaining == LIMIT - len(caller.passed) - 1
