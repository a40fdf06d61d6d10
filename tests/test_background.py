from __future__ import annotations

import asyncio
import contextlib

import pytest

from gateway.background import Background
from gateway.telemetry import Metrics


@pytest.mark.parametrize("start", ["every", "run", "once"])
async def test_work_that_swallows_its_cancellation_does_not_keep_the_group_from_ending(start: str) -> None:
    started = asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            raise OSError("what a library makes of it") from None

    async with asyncio.timeout(10):
        async with Background(Metrics()) as background:
            if start == "every":
                background.every(3600, "a task", work)
            else:
                getattr(background, start)("a task", work)
            await started.wait()


async def test_work_that_goes_on_after_a_cancellation_is_cancelled_again() -> None:
    started = asyncio.Event()

    async def work() -> None:
        started.set()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        await asyncio.sleep(3600)

    async with asyncio.timeout(10):
        async with Background(Metrics()) as background:
            background.run("a task", work)
            await started.wait()


async def test_a_task_that_fails_is_counted_and_run_again() -> None:
    runs = 0
    again = asyncio.Event()
    metrics = Metrics()

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs > 1:
            again.set()
        raise OSError("no")

    async with asyncio.timeout(10), Background(metrics) as background:
        background.every(0.001, "a task", work)
        await again.wait()
    assert metrics.background_failures.labels("a task")._value.get() >= 1
