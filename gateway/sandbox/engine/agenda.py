"""What falls due, and when: each record has at most one next instant.

The heap is never searched: a record that changes is noted again, and an entry that no longer tells the
record's next instant is dropped when it is reached.
"""

from __future__ import annotations

import heapq

from gateway.sandbox.invoice_records import Invoice
from gateway.sandbox.records import CheckoutSession, Subscription
from gateway.sandbox.rules import DAY_S
from gateway.sandbox.schedule_records import Schedule
from gateway.sandbox.world import World

ENDED = frozenset({"canceled", "incomplete_expired"})
_TRIAL_WARNING_S = 3 * DAY_S


def subscription_due(world: World, subscription: Subscription) -> int | None:
    """The next instant at which something happens to the subscription."""
    if subscription.status in ENDED or subscription.status == "paused":
        return None
    if subscription.status == "incomplete":
        return subscription.created + world.rules.incomplete_s
    instants = [subscription.period_ends_at]
    if subscription.cancel_at is not None:
        instants.append(subscription.cancel_at)
    if subscription.pending_update is not None:
        instants.append(subscription.pending_update.expires_at)
    if subscription.pause_resumes_at is not None:
        instants.append(subscription.pause_resumes_at)
    final = final_action_at(world, subscription)
    if final is not None:
        instants.append(final)
    announce = trial_announcement_at(subscription)
    if announce is not None:
        instants.append(announce)
    return min(instants)


def final_action_at(world: World, subscription: Subscription) -> int | None:
    """When a subscription nobody pays is given up."""
    if subscription.status != "past_due" or subscription.past_due_since is None:
        return None
    if world.rules.final_action == "leave":
        return None
    return subscription.past_due_since + world.rules.final_after_days * DAY_S


def trial_announcement_at(subscription: Subscription) -> int | None:
    """When trial_will_end is sent: three days ahead, or at once for a shorter trial."""
    if subscription.status != "trialing" or subscription.trial_end_announced:
        return None
    if subscription.trial_ends_at is None:
        return None
    return max(subscription.trial_ends_at - _TRIAL_WARNING_S, subscription.created)


def invoice_due(invoice: Invoice) -> int | None:
    """When a draft is finalized, an open invoice tried again or overdue, or a payment arrives."""
    if invoice.status == "draft":
        return invoice.finalizes_at
    if invoice.arrives_at is not None:
        return invoice.arrives_at if invoice.status == "open" else None
    if invoice.status != "open":
        return None
    return invoice.next_attempt_at if invoice.due_at is None or invoice.is_overdue else invoice.due_at


def checkout_due(session: CheckoutSession) -> int | None:
    """When an open session expires."""
    return session.expires_at if session.status == "open" else None


def schedule_due(schedule: Schedule) -> int | None:
    """When the phase ends that a schedule is in."""
    if not schedule.is_running:
        return None
    return next((phase.ends_at for phase in schedule.phases if phase.starts_at == schedule.entered_at), None)


def _note(world: World, at: int | None, kind: str, record_id: str) -> None:
    if at is not None:
        heapq.heappush(world.agenda, (at, kind, record_id))


def note_subscription(world: World, subscription: Subscription) -> None:
    """Remember the subscription's next instant."""
    _note(world, subscription_due(world, subscription), "subscription", subscription.id)


def note_schedule(world: World, schedule: Schedule) -> None:
    """Remember when the schedule's current phase ends."""
    _note(world, schedule_due(schedule), "schedule", schedule.id)


def note_invoice(world: World, invoice: Invoice) -> None:
    """Remember the invoice's next instant."""
    _note(world, invoice_due(invoice), "invoice", invoice.id)


def note_checkout(world: World, session: CheckoutSession) -> None:
    """Remember when the session expires."""
    _note(world, checkout_due(session), "checkout", session.id)


def note_all(world: World) -> None:
    """Look at every record again, after the rules have changed."""
    for subscription in world.tables.subscriptions.values():
        note_subscription(world, subscription)
