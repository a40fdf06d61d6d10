"""The same order of tasks in every run: what a test waits for must not say, by its speed, who comes first.

Between two waits for the world outside, an event loop runs its tasks in an order that is always the same. The
world outside is the ledger's threads and the cache's sockets. SQLite is called in the loop instead; what looks
at the database or changes it is answered in the loop's next turn, so that others come between, and what only
ends that unseen at once. And the cache is asked one thing at a time, whose answer is taken only when every
other task waits. The simulated Stripe is in the loop anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar, cast

import aiosqlite.core
import pytest

Result = TypeVar("Result")
_UNSEEN = frozenset({"cursor", "fetchall", "fetchone", "fetchmany", "rollback"})
"""Calls that nobody else can see: rows are fetched that were found before, and a reader ends without a change."""


class OneAtATime:
    """Makes waiting for a socket take as many turns of the loop as all others need to come to a stop."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def run(self, do: Callable[[], Awaitable[Result]]) -> Result:
        """Wait for it, and then for everybody else."""
        ready = cast("Any", asyncio.get_running_loop())._ready
        async with self._turn:
            try:
                return await do()
            finally:
                while ready:  # noqa: ASYNC110 - they signal nothing
                    await asyncio.sleep(0)


class _AtOnce:
    """In place of the queue to a connection's thread."""

    def put_nowait(self, job: tuple[asyncio.Future[Any] | None, Callable[[], Any]]) -> None:
        future, call = job
        if future is not None and _name_of(call) in _UNSEEN:
            future.set_result(call())
            return
        loop = asyncio.get_running_loop()
        try:
            result = call()
        except Exception as error:  # noqa: BLE001 - whoever waits is told
            if future is not None:
                loop.call_soon(aiosqlite.core.set_exception, future, error)
            return
        if future is not None:
            loop.call_soon(aiosqlite.core.set_result, future, result)


def _name_of(call: Callable[[], Any]) -> str:
    return call.func.__name__ if isinstance(call, partial) else ""


class _NoThread:
    """In place of a connection's thread."""

    daemon = True

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def start(self) -> None:
        """Nothing is waited for elsewhere."""

    def join(self) -> None:
        """It has ended."""


def work_in_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections to SQLite that are opened from now on have no thread."""
    monkeypatch.setattr(aiosqlite.core, "SimpleQueue", _AtOnce)
    monkeypatch.setattr(aiosqlite.core, "Thread", _NoThread)
