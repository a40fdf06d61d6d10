"""What the admin routes take and give."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from gateway.web.billing_bodies import SubscriptionView


class CustomerOrder(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A new customer. `user_id` is the seller's own id for it."""

    user_id: str


class Reason(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Why, for the audit log."""

    because: Annotated[str, msgspec.Meta(max_length=500)] = "not said"


class CustomerView(msgspec.Struct, kw_only=True):
    """A customer. Instants are Unix seconds."""

    customer_id: str
    user_id: str
    stripe_customer_id: str | None
    created_at: int
    blocked: bool
    version: int
    published_version: int
    """Lower than `version`: the last change is not in the cache yet."""


class CustomerPage(msgspec.Struct, kw_only=True):
    """In order of the ids. `next_after` is null on the last page."""

    customers: list[CustomerView]
    next_after: str | None


class CustomerDetail(msgspec.Struct, kw_only=True):
    """A customer with what it may do now."""

    customer: CustomerView
    subscription: SubscriptionView


class Blocked(msgspec.Struct, kw_only=True):
    """`in_force` false: the cache is away, so nobody is let in until it knows."""

    customer_id: str
    blocked: bool
    in_force: bool
    checkouts_closed: int | None
    """How many open checkout pages were closed. Null: Stripe did not say, so one may still be paid."""


class EventView(msgspec.Struct, kw_only=True):
    """A Stripe event and what became of it. Instants are Unix seconds."""

    position: int
    event_id: str
    type: str
    status: str
    stripe_customer_id: str | None
    livemode: bool
    api_version: str | None
    received_at: int
    attempts: int
    due_at: int
    finished_at: int | None
    outcome: str | None
    error: str | None


class EventPage(msgspec.Struct, kw_only=True):
    """Newest first. `next_before` is null on the last page."""

    events: list[EventView]
    counts: dict[str, int]
    oldest_open_at: int | None
    next_before: int | None


class EventDetail(msgspec.Struct, kw_only=True):
    """An event with its payload as Stripe sent it: a hint, by which nothing is granted."""

    event: EventView
    payload: Any


class Replayed(msgspec.Struct, kw_only=True):
    """The event is due again."""

    event_id: str
    status: str = "pending"


class Synced(msgspec.Struct, kw_only=True):
    """What one read of Stripe did. `result`: applied, superseded, missing or unbound."""

    customer_id: str
    result: str
    changed: bool
    findings: list[dict[str, str]]
    subscription: SubscriptionView


class AuditPage(msgspec.Struct, kw_only=True):
    """Newest first. `next_before` is null on the last page."""

    entries: list[dict[str, Any]]
    next_before: int | None
