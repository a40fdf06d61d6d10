"""The seller's own routes about Stripe's events: what has come, what became of it, and to work on it again."""

from __future__ import annotations

import json
from typing import Literal

from litestar import get, post
from litestar.params import FromPath, FromQuery

from gateway.ledger import InboxRow
from gateway.web.admin_bodies import (
    EventDetail,
    EventPage,
    EventView,
    Replayed,
)
from gateway.web.billing_gate import needs_billing
from gateway.web.callers import FromRuntime
from gateway.web.paging import Limit, Position
from gateway.web.problem_shape import problems
from gateway.web.refusals import EventBusy, EventNotFound

EventStatus = Literal["pending", "claimed", "done", "dead"]


@get("/events", responses=problems(400, 401, 403, 404, 409), summary="List Stripe events")
async def list_events(
    runtime: FromRuntime, status: FromQuery[EventStatus | None] = None, limit: Limit = 50, before: Position = None
) -> EventPage:
    """The inbox, newest first; `status` is pending, claimed, done or dead."""
    rows = await runtime.ledger.list_events(status=status, limit=limit, before=before)
    counts = await runtime.ledger.inbox_counts()
    return EventPage(
        events=[_event(row) for row in rows],
        counts=counts.by_status,
        oldest_open_at=counts.oldest_open_at,
        next_before=rows[-1].position if len(rows) == limit else None,
    )


@get("/events/{event_id:str}", responses=problems(400, 401, 403, 404, 409), summary="Show a Stripe event")
async def show_event(event_id: FromPath[str], runtime: FromRuntime) -> EventDetail:
    """An event, its payload, and what became of it."""
    row = await runtime.ledger.find_event(event_id)
    if row is None:
        raise EventNotFound("There is no such event.")
    return EventDetail(event=_event(row), payload=json.loads(row.payload))


@post(
    "/events/{event_id:str}/replay",
    status_code=200,
    guards=[needs_billing],
    responses=problems(400, 401, 403, 404, 409, 501),
    summary="Work on an event again",
)
async def replay_event(event_id: FromPath[str], runtime: FromRuntime) -> Replayed:
    """Make an event due now, also a dead or a done one. Doing so twice changes nothing."""
    if not await runtime.ledger.replay_event(event_id, int(runtime.clock.now())):
        if await runtime.ledger.find_event(event_id) is None:
            raise EventNotFound("There is no such event.")
        raise EventBusy("A worker has this event just now.")
    runtime.events.wake()
    return Replayed(event_id=event_id)


def _event(row: InboxRow) -> EventView:
    return EventView(
        position=row.position,
        event_id=row.event_id,
        type=row.type,
        status=row.status,
        stripe_customer_id=row.stripe_customer_id,
        livemode=row.livemode,
        api_version=row.api_version,
        received_at=row.received_at,
        attempts=row.attempts,
        due_at=row.due_at,
        finished_at=row.finished_at,
        outcome=row.outcome,
        error=row.error,
    )


HANDLERS = (list_events, show_event, replay_event)
