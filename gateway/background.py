"""Work that goes on beside requests: each task has a name, an interval and its own failures.

A task that fails is logged, counted and run again; it never ends the process and never
silently stops. Ending the group cancels the running tasks and waits for them to give up; work that
swallows the cancellation, as a library under it may, ends its task all the same once it returns, and is
cancelled again if it goes on.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import structlog

from gateway.core.errors import TiergateError
from gateway.telemetry import Metrics

log = structlog.get_logger(__name__)

_JITTER = 0.2
_AGAIN_S = 1.0
"""A task that has not ended so long after it was cancelled is cancelled again."""


class Background:
    """A group of repeated tasks, ended together. Use as an async context manager."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._tasks: list[asyncio.Task[None]] = []
        self._is_ending = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_ending = True
        running = set(self._tasks)
        while running:
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=_AGAIN_S)

    def every(self, interval_s: float, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Run `work` now and then again `interval_s` seconds (plus up to a fifth) after each run has ended."""
        self._tasks.append(asyncio.create_task(self._repeat(interval_s, name, work), name=name))

    def run(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Keep a task that loops by itself running; if it fails, it is started again after a second."""
        self._tasks.append(asyncio.create_task(self._repeat(1.0, name, work), name=name))

    def once(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        """Run `work` until it has succeeded once; after a failure, try again a second later."""
        self._tasks.append(asyncio.create_task(self._until_done(name, work), name=name))

    async def _until_done(self, name: str, work: Callable[[], Awaitable[object]]) -> None:
        has_failed = False
        while not await self._attempt(name, work, quiet=has_failed) and not self._is_ending:
            has_failed = True
            await asyncio.sleep(1.0)

    async def _repeat(self, interval_s: float, name: str, work: Callable[[], Awaitable[object]]) -> None:
        works = True
        while True:
            works = await self._attempt(name, work, quiet=not works)
            if self._is_ending:
                return
            await asyncio.sleep(interval_s * (1 + _JITTER * random.random()))  # noqa: S311 - spreads load

    async def _attempt(self, name: str, work: Callable[[], Awaitable[object]], *, quiet: bool) -> bool:
        try:
            await work()
        except TiergateError as error:
            self._metrics.background_failures.labels(name).inc()
            if not quiet:
                log.warning("background task failed", task=name, error=type(error).__name__, reason=str(error))
            return False
        except Exception:  # a task's failure must not end the others
            self._metrics.background_failures.labels(name).inc()
            if not quiet:
                log.exception("background task failed", task=name)
            return False
        if quiet:
            log.info("background task works again", task=name)
        return True
