"""Who may ask Stripe when: computed on a clock that stands still, so that nothing here waits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from math import inf
from typing import Any

import pytest

from gateway.billing import StripeOptions
from gateway.billing.pace import Pace
from gateway.core.errors import BillingUnavailable
from tests.billing.conftest import Answer, Request, opened


@dataclass
class StoppedClock:
    at: float = 100.0

    def __call__(self) -> float:
        return self.at


def waits(pace: Pace, turns: int) -> list[float]:
    """How long the next so many turns have to wait."""
    return [round(pace.reserve(), 6) for _ in range(turns)]


def test_turns_are_spaced_evenly() -> None:
    assert waits(Pace(10, StoppedClock()), 4) == [0.0, 0.1, 0.2, 0.3]


def test_time_that_nobody_used_is_not_made_up_for() -> None:
    clock = StoppedClock()
    pace = Pace(10, clock)
    waits(pace, 1)
    clock.at += 60
    assert waits(pace, 3) == [0.0, 0.1, 0.2]


def test_requests_of_others_put_off_the_turns_to_come() -> None:
    pace = Pace(10, StoppedClock())
    for _ in range(5):
        pace.count()
    assert waits(pace, 2) == [0.5, 0.6]


def test_however_many_requests_others_make_work_goes_on_after_a_while() -> None:
    pace = Pace(10, StoppedClock())
    for _ in range(10_000):
        pace.count()
    assert waits(pace, 1)[0] <= 5.1


async def test_a_turn_pays_for_its_first_request_and_not_for_the_second() -> None:
    pace = Pace(10, StoppedClock())
    async with pace.turn():
        pace.count()
        pace.count()
    assert waits(pace, 1) == [0.2]


async def test_what_one_turn_has_paid_for_is_not_what_another_asks() -> None:
    pace = Pace(1_000, StoppedClock())

    async def ask_nothing() -> None:
        async with pace.turn():
            await asyncio.sleep(0)

    await asyncio.gather(ask_nothing(), ask_nothing())
    pace.count()
    assert waits(pace, 1) == [0.003]


def test_too_many_requests_halve_the_pace_and_it_recovers() -> None:
    clock = StoppedClock()
    pace = Pace(20, clock)
    pace.slow_down()
    assert pace.per_second == 10
    assert waits(pace, 1) == [1.0]
    for _ in range(40):
        clock.at += 10
        pace.reserve()
    assert pace.per_second == 20
    assert pace.limited == 1


def test_the_pace_never_falls_below_one_a_second() -> None:
    clock = StoppedClock()
    pace = Pace(20, clock)
    for _ in range(20):
        pace.slow_down()
        clock.at += 1
    assert pace.per_second == pytest.approx(1.0)


def test_too_many_requests_never_make_a_pace_faster_that_is_slower_than_that() -> None:
    clock = StoppedClock()
    pace = Pace(0.25, clock)
    for _ in range(3):
        pace.slow_down()
        clock.at += 1
    assert pace.per_second == 0.25


def test_answers_to_requests_that_were_under_way_together_halve_the_pace_once() -> None:
    clock = StoppedClock()
    pace = Pace(20, clock)
    for _ in range(5):
        pace.slow_down()
        clock.at += 0.1
    assert (pace.per_second, pace.limited) == (10, 5)
    clock.at += 1
    pace.slow_down()
    assert pace.per_second == 5


async def test_every_request_to_stripe_is_counted_whoever_made_it(account: Any, stand_in: Any) -> None:
    account.dispute("du_1", "needs_response")
    stand_in.handler = account.answer
    async with opened(StripeOptions(secret_key="sk_test_1", base_url=stand_in.url, background_per_s=1)) as billing:
        billing.pace._clock = StoppedClock()
        await billing.facts.fetch_dispute("du_1")
        await billing.facts.fetch_dispute("du_1")
        assert billing.pace.reserve() == 2


async def test_an_answer_that_says_too_many_requests_slows_down(stand_in: Any) -> None:
    async def too_many(_: Request) -> Answer:
        return Answer(status=429, body={"error": {"type": "invalid_request_error", "code": "rate_limit"}})

    stand_in.handler = too_many
    async with opened(StripeOptions(secret_key="sk_test_1", base_url=stand_in.url, background_per_s=20)) as billing:
        with pytest.raises(BillingUnavailable):
            await billing.facts.fetch_dispute("du_1")
        assert billing.pace.per_second == 10
        assert billing.pace.take_limited() == 1


def test_without_a_pace_nobody_waits_whatever_stripe_says() -> None:
    pace = Pace(inf, StoppedClock())
    pace.count()
    pace.slow_down()
    assert waits(pace, 3) == [0.0, 0.0, 0.0]
