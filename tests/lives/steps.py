"""Every step that a process of the gateway takes outside itself, and what may happen to it there.

A step is a call of the ledger, a command to the cache, or a request to Stripe. Each of them, in whatever
code, passes through `pass_through`; so the code under test names no steps, and a new one is one more. A
process that is killed takes no further step: what it was about to do does not happen, what it has done stays.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar, cast

import pytest
import stripe

from gateway.billing.transport import Transport
from gateway.cache import Cache, CacheUnavailable
from gateway.core.errors import LedgerUnavailable
from gateway.ledger.database import Database
from tests.lives.order import OneAtATime, work_in_the_loop

Result = TypeVar("Result")
Fate: TypeAlias = Literal["done", "refused", "unknown", "killed before", "killed after"]
"""`refused`: it did not happen and is answered with an outage; `unknown`: it happened, and looks like one."""


class Killed(BaseException):
    """kill -9, as far as one process's tasks can feel it."""


@dataclass(slots=True, kw_only=True)
class Process:
    """One process of the gateway; `fate_of` says what becomes of each of its steps."""

    fate_of: Callable[[str, int], Fate]
    steps: list[str] = field(default_factory=list)
    is_dead: bool = False
    under_way: int = 0
    """Steps that have begun and not ended."""
    step_ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def take(self, kind: str, name: str, do: Callable[[], Awaitable[Result]]) -> Result:
        """One step."""
        if self.is_dead:
            raise Killed
        fate = self.fate_of(kind, len(self.steps))
        self.steps.append(f"{kind} {name}")
        happens = fate not in {"killed before", "refused"}
        self.under_way += 1
        try:
            result = await do() if happens else None
        finally:
            self.under_way -= 1
            self.step_ended.set()
        if fate.startswith("killed") or self.is_dead:
            self.is_dead = True
            raise Killed
        if fate != "done":
            raise self._error(kind, may_have_happened=happens)
        return cast("Result", result)

    def _error(self, kind: str, *, may_have_happened: bool) -> Exception:
        if kind == "ledger":
            return LedgerUnavailable("The ledger does not answer.")
        if kind == "cache":
            return CacheUnavailable(reason="cut", may_have_happened=may_have_happened)
        return stripe.APIConnectionError("No answer", should_retry=False)  # type: ignore[no-untyped-call]


RUNNING: ContextVar[Process | None] = ContextVar("RUNNING", default=None)


async def run_in(process: Process, work: Coroutine[Any, Any, Result]) -> Result | None:
    """Do something as that process; None if it was killed meanwhile. It takes no step afterwards."""
    token = RUNNING.set(process)
    try:
        return await work
    except Killed:
        while process.under_way:
            process.step_ended.clear()
            await process.step_ended.wait()
        return None
    finally:
        RUNNING.reset(token)


async def pass_through(kind: str, name: str, do: Callable[[], Awaitable[Result]]) -> Result:
    """A step of the running process; without one, the test itself looks on."""
    process = RUNNING.get()
    return await do() if process is None else await process.take(kind, name, do)


@contextmanager
def watched(monkeypatch: pytest.MonkeyPatch, ask_stripe: Callable[..., Coroutine[Any, Any, Any]]) -> Iterator[None]:
    """Every step of every process passes through here; requests to Stripe are answered by `ask_stripe`."""
    see_through = Database.see_through
    one_at_a_time = OneAtATime()

    async def ledger_step(database: Database, work: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await pass_through("ledger", work.__name__, lambda: see_through(database, work))
        finally:
            if inspect.getcoroutinestate(work) == inspect.CORO_CREATED:
                work.close()

    def cache_step(name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        call = getattr(Cache, name)

        async def step(*args: Any, **options: Any) -> Any:
            return await pass_through("cache", name, lambda: one_at_a_time.run(lambda: call(*args, **options)))

        return step

    charge_packed = Cache.charge_packed

    def charge_step(cache: Cache, command: bytes) -> asyncio.Future[list[Any]]:
        if RUNNING.get() is None:
            return charge_packed(cache, command)
        return asyncio.ensure_future(pass_through("cache", "charge", lambda: charge_packed(cache, command)))

    async def stripe_step(_: Transport, method: str, url: str, headers: Any, post_data: Any = None) -> Any:
        name = f"{method} {url.partition('?')[0].partition('/v1/')[2]}"
        return await pass_through("stripe", name, lambda: ask_stripe(method, url, headers, post_data))

    work_in_the_loop(monkeypatch)
    monkeypatch.setattr(Database, "see_through", ledger_step)
    monkeypatch.setattr(Cache, "charge_packed", charge_step)
    for name in ("publish", "read_usages", "charge_back", "try_write"):
        monkeypatch.setattr(Cache, name, cache_step(name))
    monkeypatch.setattr(Transport, "request_async", stripe_step)
    monkeypatch.setattr(Transport, "sleep_async", lambda _, __: asyncio.sleep(0))
    yield
