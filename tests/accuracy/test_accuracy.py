from __future__ import annotations

import pytest

from tests.accuracy.trial import Trial, run_trial

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("any_cache")]


async def test_the_count_ends_exactly_at_the_limit() -> None:
    verdict = await run_trial(Trial(seconds=8, workers=2, pace=500, kill_every_s=None), print)
    assert verdict.faults() == []


async def test_the_count_ends_exactly_at_the_limit_although_workers_are_killed() -> None:
    verdict = await run_trial(Trial(seconds=12, workers=2, pace=500, kill_every_s=3), print)
    assert verdict.faults() == []
    assert verdict.killed


async def test_the_count_ends_exactly_at_the_limit_although_workers_that_hold_leases_are_killed() -> None:
    settings = (("TIERGATE_LEASES", "on"),)
    verdict = await run_trial(Trial(seconds=12, workers=2, pace=500, kill_every_s=3, settings=settings), print)
    assert verdict.faults() == []
    assert verdict.killed
