"""Invoices: drafted, finalized, collected, given up."""

from __future__ import annotations

from dataclasses import replace

from gateway.sandbox.cards import ActionRequired, CardRefused
from gateway.sandbox.engine.charges import add_charge, open_dispute
from gateway.sandbox.engine.discounts import with_discounts
from gateway.sandbox.engine.saving import (
    add_invoice,
    change_customer,
    change_invoice,
    change_subscription,
    put_payment_method,
)
from gateway.sandbox.engine.standing import after_failure, after_payment, after_promise, after_void, after_write_off
from gateway.sandbox.engine.usage import measured_again
from gateway.sandbox.invoice_records import Invoice, InvoiceLine
from gateway.sandbox.records import PaymentMethod, Subscription
from gateway.sandbox.rules import DAY_S
from gateway.sandbox.shapes.customers import invoice_prefix
from gateway.sandbox.world import World


def draft(
    world: World,
    subscription: Subscription,
    lines: tuple[InvoiceLine, ...],
    *,
    reason: str,
    finalizes_at: int | None = None,
    auto_advance: bool = True,
) -> Invoice:
    """A new draft with every pending proration of the subscription and then `lines`."""
    pending = take_pending(world, subscription.id)
    customer = world.customer(subscription.customer_id)
    invoice = Invoice(
        id=world.new_id("in"),
        customer_id=customer.id,
        subscription_id=subscription.id,
        created=world.now,
        currency=subscription.currency,
        billing_reason=reason,
        lines=pending + lines,
        period_starts_at=min((line.period_starts_at for line in lines), default=world.now),
        period_ends_at=world.now,
        subscription_metadata=subscription.metadata,
        words=subscription.invoice_words,
        finalizes_at=finalizes_at,
        auto_advance=auto_advance,
        days_until_due=subscription.days_until_due,
        starting_balance=customer.balance,
    )
    invoice = with_discounts(world, subscription, invoice, world.now)
    invoice = replace(invoice, amount_due=max(invoice.total + customer.balance, 0))
    add_invoice(world, invoice)
    return invoice


def take_pending(world: World, subscription_id: str) -> tuple[InvoiceLine, ...]:
    """The prorations that wait for the subscription's next invoice; they are gone afterwards."""
    waiting = [one for one in world.tables.pending_lines.values() if one.line.subscription_id == subscription_id]
    for one in waiting:
        del world.tables.pending_lines[one.id]
    return tuple(one.line for one in waiting)


def finalize(world: World, invoice_id: str) -> Invoice:
    """Fix what was used and the amounts, and use up the customer's credit; what comes to nothing is paid at once."""
    invoice = measured_again(world, world.invoice(invoice_id))
    customer = world.customer(invoice.customer_id)
    balance = min(invoice.total + customer.balance, 0)
    invoice = replace(
        invoice,
        status="open",
        number=f"{invoice_prefix(customer)}-{customer.invoice_count + 1:04d}",
        starting_balance=customer.balance,
        ending_balance=balance,
        amount_due=max(invoice.total + customer.balance, 0),
        finalized_at=world.now,
        finalizes_at=None,
        finalization_error=None,
        due_at=None if invoice.days_until_due is None else world.now + invoice.days_until_due * DAY_S,
    )
    change_invoice(world, invoice, "invoice.finalized")
    change_customer(
        world,
        replace(customer, balance=balance, invoice_count=customer.invoice_count + 1, currency=invoice.currency),
    )
    return _settle(world, invoice, amount=0, attempts=0) if invoice.amount_due == 0 else invoice


def fail_finalization(world: World, invoice_id: str) -> None:
    """A draft stays one, by the account's rule, until somebody finalizes it. Its subscription does not notice."""
    failed = replace(world.invoice(invoice_id), finalization_error=world.rules.finalization_error, finalizes_at=None)
    change_invoice(world, failed, "invoice.finalization_failed")


def attempt(world: World, invoice_id: str, *, on_session: bool = False) -> CardRefused | None:
    """What Stripe does by itself about an open invoice: as `collect`, and nothing if it was sent by mail.

    A card whose bank waits for the customer is not charged again by itself: the attempt is counted and the next one
    planned, in case there is another card by then.
    Source: https://docs.stripe.com/billing/revenue-recovery/smart-retries (hard decline codes).
    """
    invoice = world.invoice(invoice_id)
    if invoice.days_until_due is not None:
        return None
    method = _method_for(world, invoice, None)
    if not on_session and method is not None and invoice.action_by == method.id:
        change_invoice(world, _tried(world, invoice))
        return ActionRequired()
    return collect(world, invoice_id, on_session=on_session)


def fall_overdue(world: World, invoice_id: str) -> None:
    """An invoice that was sent by mail is not paid by its date: its subscription is past due."""
    overdue = replace(world.invoice(invoice_id), is_overdue=True)
    change_invoice(world, overdue)
    after_failure(world, overdue)


def collect(
    world: World, invoice_id: str, *, method_id: str | None = None, on_session: bool = False
) -> CardRefused | None:
    """Try to take what an unpaid invoice still asks for; what it does to the subscription follows.

    Args:
        world: Holds it.
        invoice_id: Its own.
        method_id: What to charge; None: what is charged by default.
        on_session: The customer is there, and has confirmed what the card's bank asks about.

    Returns:
        None when the invoice is paid, or a payment is on its way (or nothing was due); else why the card was refused.
    """
    invoice = world.invoice(invoice_id)
    if invoice.status not in {"open", "uncollectible"} or invoice.arrives_at is not None:
        return None
    method = _method_for(world, invoice, method_id)
    if method is not None and method.delayed:
        promised = replace(
            invoice, arrives_at=world.now + world.rules.delayed_s, arrives_by=method.id, next_attempt_at=None
        )
        change_invoice(world, promised)
        after_promise(world, promised)
        return None
    if method is not None and method.asks_for_customer and not on_session:
        _ask_customer(world, invoice, method)
        return ActionRequired()
    refusal = _refusal(method, on_session=on_session)
    if refusal is None and method is not None:
        take_payment(world, invoice, method.id)
        return None
    fail_payment(world, invoice)
    return refusal


def take_payment(world: World, invoice: Invoice, method_id: str) -> None:
    """What an invoice asks for is there; perhaps it is wanted back at once."""
    charge = add_charge(world, invoice, method_id)
    _settle(world, invoice, amount=invoice.amount_due, attempts=invoice.attempt_count + 1)
    if world.tables.payment_methods[method_id].disputes:
        open_dispute(world, charge.id, reason="fraudulent")


def fail_payment(world: World, invoice: Invoice) -> None:
    """An attempt that failed; perhaps there is another later."""
    failed = replace(_tried(world, invoice), action_by=None)
    change_invoice(world, failed, "invoice.payment_failed")
    after_failure(world, failed)


def _tried(world: World, invoice: Invoice) -> Invoice:
    attempts = invoice.attempt_count + 1
    return replace(invoice, attempt_count=attempts, next_attempt_at=_next_attempt(world, invoice, attempts))


def _ask_customer(world: World, invoice: Invoice, method: PaymentMethod) -> None:
    """An attempt that waits for the customer, and counts as failed until then."""
    waiting = replace(_tried(world, invoice), action_by=method.id)
    change_invoice(world, waiting, "invoice.payment_action_required", "invoice.payment_failed")
    after_failure(world, waiting)


def confirm(world: World, invoice_id: str) -> None:
    """The customer has confirmed the payment that waits: it is made. Nothing happens if none waits any more."""
    invoice = world.invoice(invoice_id)
    if invoice.action_by is None or invoice.status not in {"open", "uncollectible"}:
        return
    method = world.tables.payment_methods[invoice.action_by]
    put_payment_method(world, replace(method, is_set_up=True))
    take_payment(world, invoice, method.id)


def refuse_confirmation(world: World, invoice_id: str) -> None:
    """The customer could not confirm the payment that waits: it has failed, and what was planned next stays so."""
    invoice = world.invoice(invoice_id)
    if invoice.action_by is not None and invoice.status in {"open", "uncollectible"}:
        change_invoice(world, replace(invoice, action_by=None), "invoice.payment_failed")


def _method_for(world: World, invoice: Invoice, method_id: str | None) -> PaymentMethod | None:
    subscription = world.subscription(invoice.subscription_id)
    customer = world.tables.customers[invoice.customer_id]
    chosen = method_id or subscription.default_payment_method_id or customer.default_payment_method_id
    return world.tables.payment_methods.get(chosen) if chosen else None


def _refusal(method: PaymentMethod | None, *, on_session: bool) -> CardRefused | None:
    if method is None:
        message = "This customer has no attached payment source or default payment method."
        return CardRefused(message, code="resource_missing")
    pays = method.pays_on_session if on_session else method.pays_off_session
    if pays:
        return None
    return CardRefused("Your card was declined.", code="card_declined", decline_code="generic_decline")


def _next_attempt(world: World, invoice: Invoice, attempts: int) -> int | None:
    waits = world.rules.retry_after_days
    if invoice.billing_reason == "subscription_create" or attempts > len(waits) or not invoice.auto_advance:
        return None
    return world.now + waits[attempts - 1] * DAY_S


def _settle(world: World, invoice: Invoice, *, amount: int, attempts: int) -> Invoice:
    paid = replace(
        invoice,
        status="paid",
        amount_paid=amount,
        attempt_count=attempts,
        next_attempt_at=None,
        arrives_at=None,
        action_by=None,
        paid_at=world.now,
    )
    change_invoice(world, paid, "invoice.paid", "invoice.payment_succeeded")
    after_payment(world, paid)
    return paid


def pay_out_of_band(world: World, invoice_id: str) -> None:
    """The seller got the money elsewhere."""
    invoice = world.invoice(invoice_id)
    _settle(world, invoice, amount=invoice.amount_due, attempts=invoice.attempt_count)


def void(world: World, invoice_id: str) -> Invoice:
    """Cancel an open invoice: it never asks for money again."""
    invoice = world.invoice(invoice_id)
    voided = replace(invoice, status="void", voided_at=world.now, next_attempt_at=None, auto_advance=False)
    change_invoice(world, voided, "invoice.voided")
    after_void(world, voided)
    return voided


def mark_uncollectible(world: World, invoice_id: str) -> Invoice:
    """Write an open invoice off; it can still be paid."""
    invoice = world.invoice(invoice_id)
    written_off = replace(
        invoice, status="uncollectible", uncollectible_at=world.now, next_attempt_at=None, auto_advance=False
    )
    change_invoice(world, written_off, "invoice.marked_uncollectible")
    after_write_off(world, written_off)
    return written_off


def stop_collecting(world: World, subscription_id: str) -> None:
    """Leave the subscription's unpaid invoices as they are."""
    for invoice in list(world.tables.invoices.values()):
        if invoice.subscription_id == subscription_id and invoice.status in {"draft", "open"}:
            change_invoice(world, replace(invoice, auto_advance=False, next_attempt_at=None, finalizes_at=None))


def bill_now(world: World, subscription: Subscription, lines: tuple[InvoiceLine, ...], *, reason: str) -> Invoice:
    """Draft and finalize at once, and make it the subscription's latest invoice. Nothing is collected yet.

    While collection is paused it stays a draft, or is set aside, like every invoice of that time.
    """
    is_kept = subscription.pause_behavior == "keep_as_draft"
    invoice = draft(world, subscription, lines, reason=reason, auto_advance=not is_kept)
    current = world.subscription(subscription.id)
    change_subscription(world, replace(current, latest_invoice_id=invoice.id))
    if is_kept:
        return invoice
    finalize(world, invoice.id)
    set_aside(world, invoice.id)
    return world.invoice(invoice.id)


def set_aside(world: World, invoice_id: str) -> bool:
    """What becomes of an open invoice while collection is paused. Source: https://docs.stripe.com/billing/subscriptions/pause-payment.

    Returns:
        Whether there is nothing to collect.
    """
    invoice = world.invoice(invoice_id)
    behavior = world.subscription(invoice.subscription_id).pause_behavior
    if invoice.status == "open" and behavior == "void":
        void(world, invoice_id)
    elif invoice.status == "open" and behavior == "mark_uncollectible":
        mark_uncollectible(world, invoice_id)
    return world.invoice(invoice_id).status != "open"
