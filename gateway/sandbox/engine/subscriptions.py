"""How a subscription begins and ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gateway.sandbox.cards import ActionRequired, CardRefused
from gateway.sandbox.engine.discounts import redeem
from gateway.sandbox.engine.invoices import attempt, bill_now, collect, draft, finalize, stop_collecting
from gateway.sandbox.engine.lines import full_line, unused_line
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.engine.saving import add_pending_line, add_subscription, change_subscription, end_subscription
from gateway.sandbox.engine.scheduled import end_with_subscription
from gateway.sandbox.engine.usage import licensed, metered, usage_lines
from gateway.sandbox.invoice_records import Invoice, InvoiceLine, PendingLine
from gateway.sandbox.periods import period_end
from gateway.sandbox.records import Item, Labels, Price, Subscription
from gateway.sandbox.rules import DAY_S
from gateway.sandbox.world import World


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What a new subscription is to be. `prices` are (price id, quantity) pairs; a metered one's quantity is 0."""

    customer_id: str
    prices: Sequence[tuple[str, int]]
    payment_method_id: str | None = None
    payment_behavior: str = "allow_incomplete"
    on_session: bool = False
    trial_days: int = 0
    trial_without_method: str = "create_invoice"
    coupon_id: str | None = None
    promotion_code_id: str | None = None
    automatic_tax: bool = False
    description: str | None = None
    metadata: Labels = field(default_factory=dict)
    days_until_due: int | None = None


def start(world: World, wanted: Start) -> Subscription:
    """Create a subscription with its first invoice, and collect that; all metered, it has none and is active.

    Raises:
        CardRefused: with `error_if_incomplete` only; else the subscription stays incomplete.
        Refused: a price that cannot be subscribed to.
    """
    prices = [recurring_price(world, price_id, "items") for price_id, _ in wanted.prices]
    for price in prices:
        expect_currency(price.currency, prices[0].currency, "items")
    subscription = _opened(world, wanted, prices)
    if wanted.coupon_id is not None:
        subscription = redeem(world, subscription, wanted.coupon_id, wanted.promotion_code_id)
    add_subscription(world, subscription)
    lines = tuple(
        full_line(world, subscription, item, amount=0 if wanted.trial_days else None)
        for item in licensed(world, subscription.items)
    )
    if not lines:
        return _began_unbilled(world, subscription)
    if wanted.days_until_due is not None:
        return _began_by_mail(world, subscription, lines)
    invoice = bill_now(world, subscription, lines, reason="subscription_create")
    refusal = None
    if wanted.payment_behavior != "default_incomplete":
        refusal = attempt(world, invoice.id, on_session=wanted.on_session)
    if refusal is not None and wanted.payment_behavior == "error_if_incomplete":
        raise of_subscription(refusal)
    return world.subscription(subscription.id)


def of_subscription(refusal: CardRefused) -> CardRefused:
    """Why an invoice was not paid, told of what was to be paid by it."""
    return ActionRequired("subscription") if isinstance(refusal, ActionRequired) else refusal


def _began_unbilled(world: World, subscription: Subscription) -> Subscription:
    if subscription.status == "incomplete":
        change_subscription(world, replace(subscription, status="active"))
    return world.subscription(subscription.id)


def _began_by_mail(world: World, subscription: Subscription, lines: tuple[InvoiceLine, ...]) -> Subscription:
    """It is active before anything is paid, and its invoice a draft for a while, as those of its renewals."""
    finalizes_at = world.now + world.rules.draft_s
    invoice = draft(world, subscription, lines, reason="subscription_create", finalizes_at=finalizes_at)
    change_subscription(world, replace(subscription, latest_invoice_id=invoice.id))
    return world.subscription(subscription.id)


def _opened(world: World, wanted: Start, prices: Sequence[Price]) -> Subscription:
    trial_ends_at = world.now + wanted.trial_days * DAY_S if wanted.trial_days else None
    anchor = trial_ends_at or world.now
    items = tuple(
        Item(
            id=world.new_id("si"),
            price_id=price.id,
            quantity=quantity if price.meter_id is None else 0,
            created=world.now,
            period_starts_at=world.now,
            period_ends_at=trial_ends_at or next_end(price, anchor, world.now),
        )
        for price, (_, quantity) in zip(prices, wanted.prices, strict=True)
    )
    begins_as = "incomplete" if wanted.days_until_due is None else "active"
    return Subscription(
        id=world.new_id("sub"),
        customer_id=wanted.customer_id,
        created=world.now,
        currency=prices[0].currency,
        anchor=anchor,
        items=items,
        status="trialing" if trial_ends_at else begins_as,
        days_until_due=wanted.days_until_due,
        default_payment_method_id=wanted.payment_method_id,
        trial_starts_at=world.now if trial_ends_at else None,
        trial_ends_at=trial_ends_at,
        trial_without_method=wanted.trial_without_method,
        automatic_tax=wanted.automatic_tax,
        description=wanted.description,
        metadata=wanted.metadata,
    )


def expect_currency(currency: str, expected: str, param: str) -> None:
    """A price of the sandbox has its own currency and no options, and a subscription one for all of its prices.

    Raises:
        Refused: it is another one.
    """
    if currency != expected:
        text = f"The price specified supports currencies of `{currency}` which doesn't include the expected currency"
        raise Refused(f"{text} of `{expected}`.", param=param)


def recurring_price(world: World, price_id: str, param: str) -> Price:
    """A price that can be subscribed to.

    Raises:
        Refused: it is inactive or one-time.
        NoSuchRecord: it does not exist.
    """
    price = world.price(price_id)
    if price.interval is None:
        raise Refused(f"The price specified is set to `type=one_time`: {price_id}", param=param)
    if not price.active or not world.product(price.product_id).active:
        message = "The price specified is inactive. This field only accepts active prices."
        raise Refused(message, param=param)
    return price


def next_end(price: Price, anchor: int, starts_at: int) -> int:
    """The end of the period that starts at `starts_at`."""
    return period_end(anchor, price.interval or "month", price.interval_count, starts_at)


def schedule_end(world: World, subscription: Subscription, at: int, *, at_period_end: bool) -> Subscription:
    """The subscription with a date for its end; to be put by the caller."""
    return replace(
        subscription,
        cancel_at=at,
        cancel_at_period_end=at_period_end,
        canceled_at=world.now,
        cancel_reason="cancellation_requested",
    )


def unschedule_end(subscription: Subscription) -> Subscription:
    """The subscription that goes on; to be put by the caller."""
    return replace(subscription, cancel_at=None, cancel_at_period_end=False, canceled_at=None, cancel_reason=None)


def cancel(
    world: World,
    subscription_id: str,
    *,
    reason: str = "cancellation_requested",
    prorate: bool = False,
    invoice_now: bool = False,
) -> Subscription:
    """End a subscription now. Unpaid invoices stay open, but nobody tries to collect them any more.

    What was used and is on no invoice is billed with `invoice_now` only; else it is never billed.
    """
    subscription = world.subscription(subscription_id)
    if prorate:
        _credit_unused(world, subscription)
    lines: tuple[InvoiceLine, ...] = ()
    for item in metered(world, subscription.items):
        lines += usage_lines(world, subscription, item, world.now)
    if invoice_now and (lines or has_pending(world, subscription_id)):
        invoice = draft(world, subscription, lines, reason="subscription_update")
        finalize(world, invoice.id)
        attempt(world, invoice.id)
    ended = replace(
        world.subscription(subscription_id),
        status="incomplete_expired" if subscription.status == "incomplete" else "canceled",
        canceled_at=subscription.canceled_at or world.now,
        cancel_reason=subscription.cancel_reason or reason,
        ended_at=world.now,
        pending_update=None,
    )
    end_subscription(world, ended)
    if ended.schedule_id is not None:
        end_with_subscription(world, ended.schedule_id)
    stop_collecting(world, subscription_id)
    return ended


def _credit_unused(world: World, subscription: Subscription) -> None:
    for item in licensed(world, subscription.items):
        line = unused_line(world, subscription, item, world.now)
        pending = PendingLine(
            id=line.invoice_item_id or line.id,
            customer_id=subscription.customer_id,
            created=world.now,
            line=line,
        )
        add_pending_line(world, pending)


def has_pending(world: World, subscription_id: str) -> bool:
    """Whether something waits for the subscription's next invoice."""
    return any(one.line.subscription_id == subscription_id for one in world.tables.pending_lines.values())


def pay_open_invoices(world: World, customer_id: str, method_id: str) -> list[tuple[Invoice, CardRefused | None]]:
    """Collect all that the customer owes with one card, oldest first."""
    owed = [one for one in world.tables.invoices.values() if one.customer_id == customer_id and one.status == "open"]
    return [(one, collect(world, one.id, method_id=method_id)) for one in owed]


def set_default_method(world: World, subscription_id: str, method_id: str | None) -> None:
    """Choose the card that renewals are charged to."""
    current = world.subscription(subscription_id)
    change_subscription(world, replace(current, default_payment_method_id=method_id))


def pays_late(world: World, subscription: Subscription) -> bool:
    """Whether renewals are collected by bank debit."""
    customer = world.customer(subscription.customer_id)
    method_id = subscription.default_payment_method_id or customer.default_payment_method_id
    return method_id is not None and world.tables.payment_methods[method_id].delayed
