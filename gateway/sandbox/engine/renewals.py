"""What happens to a subscription by itself: renewals, ends, trials, pauses, giving up."""

from __future__ import annotations

from dataclasses import replace

from gateway.sandbox.engine.agenda import final_action_at, trial_announcement_at
from gateway.sandbox.engine.arrivals import arrive
from gateway.sandbox.engine.invoices import (
    attempt,
    draft,
    fail_finalization,
    fall_overdue,
    finalize,
    set_aside,
    stop_collecting,
    void,
)
from gateway.sandbox.engine.lines import full_line
from gateway.sandbox.engine.saving import change_subscription, emit
from gateway.sandbox.engine.subscriptions import cancel, has_pending, next_end
from gateway.sandbox.engine.trials import end_trial, ends_without_method
from gateway.sandbox.engine.usage import licensed, metered, usage_lines
from gateway.sandbox.invoice_records import InvoiceLine
from gateway.sandbox.records import Item, Subscription
from gateway.sandbox.shapes.subscriptions import subscription_shape
from gateway.sandbox.world import World


def subscription_falls_due(world: World, subscription: Subscription) -> None:
    """Do the one thing that is due first; the agenda brings the subscription back for the next."""
    now = world.now
    if subscription.status == "incomplete":
        _expire_first_payment(world, subscription)
    elif _at(trial_announcement_at(subscription), now):
        _announce_trial_end(world, subscription)
    elif subscription.pending_update is not None and subscription.pending_update.expires_at <= now:
        _expire_update(world, subscription)
    elif _at(subscription.pause_resumes_at, now):
        change_subscription(world, replace(subscription, pause_behavior=None, pause_resumes_at=None))
    elif _at(subscription.cancel_at, now):
        _end_as_scheduled(world, subscription)
    elif _at(final_action_at(world, subscription), now):
        _give_up(world, subscription)
    elif ends_without_method(world, subscription):
        end_trial(world, subscription)
    else:
        _renew(world, subscription)


def _at(instant: int | None, now: int) -> bool:
    return instant is not None and instant <= now


def _expire_first_payment(world: World, subscription: Subscription) -> None:
    latest = subscription.latest_invoice_id
    ended = replace(subscription, status="incomplete_expired", ended_at=world.now)
    change_subscription(world, ended)
    if latest is not None and world.invoice(latest).status == "open":
        void(world, latest)


def _announce_trial_end(world: World, subscription: Subscription) -> None:
    announced = replace(subscription, trial_end_announced=True)
    change_subscription(world, announced)
    emit(world, "customer.subscription.trial_will_end", subscription_shape(world, announced))


def _expire_update(world: World, subscription: Subscription) -> None:
    pending = subscription.pending_update
    if pending is not None and world.invoice(pending.invoice_id).status == "open":
        void(world, pending.invoice_id)
    else:
        change_subscription(world, replace(subscription, pending_update=None))


def _give_up(world: World, subscription: Subscription) -> None:
    if world.rules.final_action == "unpaid":
        change_subscription(world, replace(subscription, status="unpaid", past_due_since=None))
        stop_collecting(world, subscription.id)
    else:
        cancel(world, subscription.id, reason="payment_failed")


def _renew(world: World, subscription: Subscription) -> None:
    """Roll what has ended into its next period and draft the invoice; it is collected when it is final."""
    due = {item.id for item in subscription.items if item.period_ends_at <= world.now}
    items = tuple(_rolled(world, subscription, item) if item.id in due else item for item in subscription.items)
    trial_is_over = subscription.status == "trialing"
    rolled = replace(subscription, items=items, status="active" if trial_is_over else subscription.status)
    if rolled.cancel_at_period_end:
        rolled = replace(rolled, cancel_at=rolled.period_ends_at)
    collects = subscription.status != "unpaid" and subscription.pause_behavior != "keep_as_draft"
    lines = tuple(full_line(world, rolled, item) for item in licensed(world, items) if item.id in due)
    for ended in metered(world, subscription.items):
        if ended.id in due and (ended.usage_since or 0) < ended.period_ends_at:
            lines += usage_lines(world, subscription, ended, ended.period_ends_at, is_free=trial_is_over)
    invoice = draft(
        world,
        rolled,
        lines,
        reason="subscription_cycle",
        finalizes_at=world.now + world.rules.draft_s if collects else None,
        auto_advance=collects,
    )
    change_subscription(world, replace(rolled, latest_invoice_id=invoice.id))


def _rolled(world: World, subscription: Subscription, item: Item) -> Item:
    starts_at = item.period_ends_at
    ends_at = next_end(world.price(item.price_id), subscription.anchor, starts_at)
    return replace(item, period_starts_at=starts_at, period_ends_at=ends_at, usage_since=None)


def _end_as_scheduled(world: World, subscription: Subscription) -> None:
    """Cancel it; what was used, and what waited for an invoice, is billed by a last one."""
    is_trial = subscription.status == "trialing"
    lines: tuple[InvoiceLine, ...] = ()
    for item in metered(world, subscription.items):
        lines += usage_lines(world, subscription, item, world.now, is_free=is_trial)
    ended = cancel(world, subscription.id)
    if lines or has_pending(world, subscription.id):
        finalizes_at = world.now + world.rules.draft_s
        invoice = draft(world, ended, lines, reason="subscription_cycle", finalizes_at=finalizes_at)
        change_subscription(world, replace(ended, latest_invoice_id=invoice.id))


def invoice_falls_due(world: World, invoice_id: str) -> None:
    """Finalize a draft and collect it, try an open invoice again, see whether a payment arrives, or is overdue."""
    invoice = world.invoice(invoice_id)
    if invoice.arrives_at is not None:
        arrive(world, invoice)
        return
    if invoice.status == "open" and invoice.due_at is not None:
        fall_overdue(world, invoice_id)
        return
    if invoice.status == "draft" and world.rules.finalization_error:
        fail_finalization(world, invoice_id)
        return
    if invoice.status == "draft":
        finalize(world, invoice_id)
    if not set_aside(world, invoice_id):
        attempt(world, invoice_id)
