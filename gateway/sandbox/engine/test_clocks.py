"""Test clocks of the API (`/v1/test_helpers/test_clocks`): they show and move the one clock that the sandbox has.

At Stripe each has a time of its own that stands still between advances. Here time is the sandbox's: it goes
on, it never runs back, and an advance of one clock is an advance of everything. What Stripe refuses is refused.

Source: https://docs.stripe.com/billing/testing/test-clocks/api-advanced-usage.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.sandbox.engine.leaving import delete_customer
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.engine.saving import emit
from gateway.sandbox.periods import boundary
from gateway.sandbox.records import Customer, TestClock
from gateway.sandbox.shapes.events import deleted_shape
from gateway.sandbox.shapes.test_clocks import test_clock_shape
from gateway.sandbox.world import World, find

MOST_CUSTOMERS = 3
_MOST_INTERVALS = 2
_WITHOUT_SUBSCRIPTIONS = ("year", 1)
_SLACK_S = 3_600
"""How far behind the present a new clock may be set: whoever asks reads another clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Reach:
    """How far an advance may go from where the clock stands."""

    interval: str
    interval_count: int

    def until(self, at: int) -> int:
        return boundary(at, self.interval, self.interval_count, _MOST_INTERVALS)


def find_clock(world: World, clock_id: str) -> TestClock:
    """Raises NoSuchRecord."""
    return find(world.tables.test_clocks, "test_clock", clock_id)


def create_clock(world: World, frozen_time: int, name: str | None) -> TestClock:
    """A clock that stands at `frozen_time`.

    Raises:
        Refused: that is past, and time here runs forward only.
    """
    if frozen_time < world.now - _SLACK_S:
        raise Refused("The sandbox has one clock, and it cannot be set to the past.", param="frozen_time")
    clock = TestClock(id=world.new_id("clock"), created=world.now, frozen_time=frozen_time, name=name)
    world.tables.test_clocks[clock.id] = clock
    world.advance_to = frozen_time if frozen_time > world.now else None
    emit(world, "test_helpers.test_clock.created", test_clock_shape(clock))
    return clock


def advance_clock(world: World, clock_id: str, frozen_time: int) -> TestClock:
    """Start an advance; whoever carries the act out moves the time then, and calls `end_advances`.

    Raises:
        Refused: backwards, or further than Stripe goes at once.
    """
    clock = find_clock(world, clock_id)
    if frozen_time <= clock.frozen_time:
        raise Refused("A test clock can only be advanced to a time after its frozen time.", param="frozen_time")
    furthest = min(reach.until(clock.frozen_time) for reach in _reaches(world, clock))
    if frozen_time > furthest:
        message = f"A test clock can be advanced by two intervals of its shortest subscription: to {furthest} at most."
        raise Refused(message, param="frozen_time")
    advancing = replace(clock, target_time=frozen_time)
    world.tables.test_clocks[clock.id] = advancing
    world.advance_to = frozen_time
    emit(world, "test_helpers.test_clock.advancing", test_clock_shape(advancing))
    return advancing


def end_advances(world: World) -> None:
    """Time is where it was to be advanced to."""
    for clock in list(world.tables.test_clocks.values()):
        if clock.target_time is not None:
            ready = replace(clock, frozen_time=clock.target_time, target_time=None)
            world.tables.test_clocks[clock.id] = ready
            emit(world, "test_helpers.test_clock.ready", test_clock_shape(ready))


def delete_clock(world: World, clock_id: str) -> None:
    """Delete a clock with its customers, as Stripe does."""
    clock = find_clock(world, clock_id)
    for customer in customers_on(world, clock.id):
        delete_customer(world, customer.id)
    del world.tables.test_clocks[clock.id]
    emit(world, "test_helpers.test_clock.deleted", deleted_shape("test_helpers.test_clock", clock.id))


def check_place(world: World, clock_id: str) -> None:
    """A new customer may be put on the clock.

    Raises:
        NoSuchRecord: there is no such clock.
        Refused: it is full.
    """
    if len(customers_on(world, find_clock(world, clock_id).id)) >= MOST_CUSTOMERS:
        raise Refused(f"A test clock can have {MOST_CUSTOMERS} customers at most.", param="test_clock")


def customers_on(world: World, clock_id: str) -> list[Customer]:
    """Those of a clock that are not deleted."""
    return [one for one in world.tables.customers.values() if one.test_clock_id == clock_id and not one.deleted]


def _reaches(world: World, clock: TestClock) -> list[_Reach]:
    prices = [
        world.price(item.price_id)
        for customer in customers_on(world, clock.id)
        for subscription in world.subscriptions_of(customer.id)
        if subscription.ended_at is None
        for item in subscription.items
    ]
    interval, count = _WITHOUT_SUBSCRIPTIONS
    found = [_Reach(interval=one.interval, interval_count=one.interval_count) for one in prices if one.interval]
    return found or [_Reach(interval=interval, interval_count=count)]
