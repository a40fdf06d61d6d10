"""Time: everything that falls due, in the order in which it falls due."""

from __future__ import annotations

import heapq

from gateway.sandbox.engine.agenda import checkout_due, invoice_due, schedule_due, subscription_due
from gateway.sandbox.engine.checkout import expire
from gateway.sandbox.engine.renewals import invoice_falls_due, subscription_falls_due
from gateway.sandbox.engine.schedules import schedule_falls_due
from gateway.sandbox.world import World


def next_due_at(world: World) -> int | None:
    """The next instant on the agenda at which something really happens."""
    while world.agenda:
        at, kind, record_id = world.agenda[0]
        if _still_due(world, kind, record_id) == at:
            return at
        heapq.heappop(world.agenda)
    return None


def reach(world: World, now: int) -> bool:
    """Do all that is due up to `now`, each thing at its own instant, and make `now` the present.

    Returns:
        Whether anything happened.
    """
    happened = False
    while (at := next_due_at(world)) is not None and at <= now:
        _, kind, record_id = heapq.heappop(world.agenda)
        world.now = max(world.now, at)
        _do(world, kind, record_id)
        happened = True
    world.now = max(world.now, now)
    return happened


def _still_due(world: World, kind: str, record_id: str) -> int | None:
    if kind == "subscription":
        subscription = world.tables.subscriptions.get(record_id)
        return subscription_due(world, subscription) if subscription else None
    if kind == "invoice":
        invoice = world.tables.invoices.get(record_id)
        return invoice_due(invoice) if invoice else None
    if kind == "schedule":
        schedule = world.tables.schedules.get(record_id)
        return schedule_due(schedule) if schedule else None
    session = world.tables.checkouts.get(record_id)
    return checkout_due(session) if session else None


def _do(world: World, kind: str, record_id: str) -> None:
    if kind == "subscription":
        subscription_falls_due(world, world.subscription(record_id))
    elif kind == "invoice":
        invoice_falls_due(world, record_id)
    elif kind == "schedule":
        schedule_falls_due(world, world.tables.schedules[record_id])
    else:
        expire(world, record_id)
