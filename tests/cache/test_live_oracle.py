"""Calls that begin, end, go on and are lost, in any order, against a plain list of who is in progress.

After every step the answer, and all that is stored, must be what the list says. However workers die
and time passes, no more calls that are held are in progress than one of the limits allowed.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis

from gateway.cache import Cache, prepare_release, prepare_renewal
from gateway.core.account import Account
from gateway.core.charge import Charged, ChargeRefused, ChargeRequest, ConcurrencyClaim, LimitState, QuotaClaim
from tests.fakes.raw import open_raw

if TYPE_CHECKING:
    from collections.abc import Coroutine

LIVE_MS = 30_000
START_MS = 1_700_000_000_000
LIMITS = {"live": 4, "live@key_1": 2, "live@key_2": 1}
QUOTA = 12


@dataclass
class Call:
    call_id: str
    fields: tuple[str, ...]
    until_ms: dict[str, int] = field(default_factory=dict)
    """Per field, when it stops to count; a field that the server has forgotten is missing."""


class Life(RuleBasedStateMachine):
    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.customer_id = secrets.token_hex(6)
        self.now_ms = START_MS
        self.used = self.begun = 0
        self.calls: dict[str, Call] = {}
        """Whose worker lives."""
        self.orphans: list[Call] = []
        """Whose worker died, or whose end was not heard."""
        self.cache, self.raw = self.runner.run(self._connect())

    async def _connect(self) -> tuple[Cache, Redis]:
        return await Cache.connect(self.url, deadline_s=30, on_reconnect=None), open_raw(self.url)

    def teardown(self) -> None:
        self.do(self.cache.aclose())
        self.do(self.raw.aclose())
        self.runner.close()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    def send(self, command: bytes) -> int:
        async def sent() -> int:
            return await self.cache.send_packed(command)

        return self.do(sent())

    @initialize()
    def begin(self) -> None:
        self.publish()

    def publish(self) -> None:
        account = Account(customer_id=self.customer_id, user_id="u", version=1, created_at=0)
        self.do(self.cache.publish(account, counters={}, seq_floor=0, expires_s=600))

    def counted(self, name: str) -> list[Call]:
        return [call for call in (*self.calls.values(), *self.orphans) if call.until_ms.get(name, 0) > self.now_ms]

    @rule(step_ms=st.integers(0, 9_000) | st.integers(0, 40_000))
    def time_passes(self, step_ms: int) -> None:
        self.now_ms += step_ms

    @rule(fields=st.sets(st.sampled_from(sorted(LIMITS)), min_size=1), cost=st.integers(0, 2), times=st.integers(1, 5))
    def calls_begin(self, fields: set[str], cost: int, times: int) -> None:
        for _ in range(times):
            self.a_call_begins(tuple(sorted(fields, reverse=self.now_ms % 2 == 1)), cost)

    def a_call_begins(self, fields: tuple[str, ...], cost: int) -> None:
        self.begun += 1
        call_id = f"c{self.begun:04}"
        places = [ConcurrencyClaim(field=name, limit=LIMITS[name]) for name in fields]
        quota = QuotaClaim(field="q:m:period", cost=cost, limit=QUOTA, starts_at=0, ends_at=2**33)
        claims = [*places, quota]
        if self.now_ms % 3:
            claims = [quota, *places]
        request = ChargeRequest(
            customer_id=self.customer_id, version=1, claims=tuple(claims), now_ms=self.now_ms, call_id=call_id
        )
        room = {name: LIMITS[name] - len(self.counted(name)) for name in fields}
        passes = all(left >= 1 for left in room.values()) and self.used + cost <= QUOTA
        states = []
        for claim in claims:
            if isinstance(claim, QuotaClaim):
                left = QUOTA - self.used - (cost if passes else 0)
                reset_ms, allowed = 2**33 * 1000 - self.now_ms, self.used + cost <= QUOTA
            else:
                left, allowed = room[claim.field] - passes, room[claim.field] >= 1
                reset_ms = 0 if allowed else 1000
            states.append(LimitState(remaining=max(0, left), reset_ms=reset_ms, allowed=allowed))
        kind = Charged if passes else ChargeRefused
        assert self.do(self.cache.charge(request)) == kind(now_ms=self.now_ms, states=tuple(states))
        if passes:
            self.used += cost
            ends_ms = self.now_ms + LIVE_MS
            self.calls[call_id] = Call(call_id=call_id, fields=fields, until_ms=dict.fromkeys(fields, ends_ms))

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def a_call_ends(self, data: st.DataObject) -> None:
        call = self.calls.pop(data.draw(st.sampled_from(sorted(self.calls))))
        self.send(prepare_release(self.customer_id, call.fields, call.call_id))

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def a_worker_dies(self, data: st.DataObject) -> None:
        dead = data.draw(st.sets(st.sampled_from(sorted(self.calls))))
        self.orphans += [self.calls.pop(call_id) for call_id in sorted(dead)]

    @rule()
    def workers_hold_what_goes_on(self) -> None:
        for name in LIMITS:
            held = [call for call in self.calls.values() if name in call.fields]
            if held:
                ids = [call.call_id for call in held]
                self.send(prepare_renewal(self.customer_id, name, ids, self.now_ms))
                for call in held:
                    call.until_ms[name] = self.now_ms + LIVE_MS

    @rule()
    def the_server_forgets_everything(self) -> None:
        self.do(self.raw.flushall())
        self.publish()
        self.used = 0
        self.orphans.clear()
        for call in self.calls.values():
            call.until_ms.clear()

    @invariant()
    def who_counts_is_who_is_in_progress(self) -> None:
        counts = self.do(self.cache.count_calls(self.customer_id, sorted(LIMITS), self.now_ms))
        assert counts == {name: len(self.counted(name)) for name in LIMITS}

    @invariant()
    def everything_stored_is_of_a_call_that_began(self) -> None:
        for name in LIMITS:
            stored = self.do(self.raw.zrange(f"tg:{{{self.customer_id}}}:{name}", 0, -1))
            assert set(stored) >= {call.call_id for call in self.counted(name)}
            assert set(stored) <= {call.call_id for call in (*self.calls.values(), *self.orphans)}

    @invariant()
    def time_and_sequence_move_with_counters_only(self) -> None:
        stored = self.do(self.raw.hgetall(f"tg:{{{self.customer_id}}}:use"))
        assert set(stored) <= {"v", "e", "s", "t", "q:m:period"}


@pytest.mark.slow
def test_every_history_of_calls_is_counted_as_the_list_counts_it(cache_url: str) -> None:
    class LifeHere(Life):
        url = cache_url

    run_state_machine_as_test(
        LifeHere,
        settings=settings(
            max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
