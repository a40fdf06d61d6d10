"""Schedules in their place: put, let go of, ended. What their phases do is in `schedules`."""

from __future__ import annotations

from dataclasses import replace

from gateway.sandbox.engine.agenda import note_schedule
from gateway.sandbox.engine.saving import change_subscription, difference, emit
from gateway.sandbox.schedule_records import Schedule
from gateway.sandbox.shapes.schedules import schedule_shape
from gateway.sandbox.world import World, find


def schedule_of(world: World, schedule_id: str) -> Schedule:
    """Raises NoSuchRecord."""
    return find(world.tables.schedules, "subscription schedule", schedule_id)


def put_schedule(world: World, schedule: Schedule, event: str = "updated") -> None:
    """`subscription_schedule.created`, `.updated` or how it ended; none if nothing that Stripe shows has changed."""
    known = world.tables.schedules.get(schedule.id)
    world.tables.schedules[schedule.id] = schedule
    note_schedule(world, schedule)
    after = schedule_shape(world, schedule)
    previous = difference(schedule_shape(world, known), after) if known is not None and event == "updated" else None
    if event != "updated" or previous:
        emit(world, f"subscription_schedule.{event}", after, previous)


def let_go(world: World, schedule: Schedule, *, is_complete: bool = False) -> Schedule:
    """The subscription goes on by itself, as it is."""
    subscription_id = schedule.subscription_id
    released = replace(
        schedule,
        status="released",
        subscription_id=None,
        released_at=world.now,
        released_subscription_id=subscription_id,
        completed_at=world.now if is_complete else None,
    )
    put_schedule(world, released, "released")
    if subscription_id is not None:
        change_subscription(world, replace(world.subscription(subscription_id), schedule_id=None))
    return released


def end_with_subscription(world: World, schedule_id: str) -> None:
    """Its subscription is over, and so is the schedule."""
    schedule = schedule_of(world, schedule_id)
    if schedule.is_running:
        put_schedule(world, replace(schedule, status="canceled", canceled_at=world.now), "canceled")
