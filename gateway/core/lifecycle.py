"""The rows of a policy's `lifecycle`: each status of a subscription, and what else may be true of a customer.

`core.projection` and `core.flags` say which hold; `core.access` says what each of them does.
"""

from __future__ import annotations

KNOWN_STATUSES = (
    "trialing",
    "active",
    "past_due",
    "unpaid",
    "paused",
    "incomplete",
    "incomplete_expired",
    "canceled",
)
"""Every status of a Stripe subscription that we can read. Source: stripe-python, `Subscription.status`."""

NO_SUBSCRIPTION = "none"
"""Lifecycle row of a customer who has no subscription."""

UNREADABLE = "unreadable"
"""Lifecycle row of a subscription whose status or price we cannot read."""

CUSTOMER_DELETED = "customer_deleted"
"""Status and lifecycle row of a customer whom Stripe does not have any more."""

ENDED = frozenset({"canceled", "incomplete_expired", CUSTOMER_DELETED})
"""Statuses that a subscription never leaves. `status_since` is when it ended."""

DISPUTE_LOST = "dispute_lost"
DISPUTED = "disputed"
FIRST_PAYMENT_PENDING = "first_payment_pending"
PAUSE_COLLECTION = "pause_collection"
PAUSE_COLLECTION_VOID = "pause_collection_void"
PENDING_UPDATE = "pending_update"
REFUNDED = "refunded"
FLAG_ROWS = (
    DISPUTE_LOST,
    DISPUTED,
    FIRST_PAYMENT_PENDING,
    PAUSE_COLLECTION,
    PAUSE_COLLECTION_VOID,
    PENDING_UPDATE,
    REFUNDED,
)
"""Lifecycle rows that hold beside a status."""
TAKEN_BACK = (DISPUTE_LOST, REFUNDED)
"""Those of them for which the payments of a subscription have to be read."""
UNPAID_FOR = frozenset({FIRST_PAYMENT_PENDING, *TAKEN_BACK})
"""Those that go on after the end: what is kept then is for who paid."""

BLOCKED = "blocked"
"""Lifecycle row of a customer whom an operator has blocked, whatever else holds."""

LIFECYCLE_ROWS = (*KNOWN_STATUSES, NO_SUBSCRIPTION, CUSTOMER_DELETED, UNREADABLE, *FLAG_ROWS, BLOCKED)
