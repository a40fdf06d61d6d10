"""The records of bills, as `sandbox.records`: their lines, and what these come to with discounts and tax."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from gateway.sandbox.coupons import Discount, spread
from gateway.sandbox.records import InvoiceWords, Labels
from gateway.sandbox.taxes import tax_of


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLine:
    """One amount on an invoice, or (before there is one) a pending proration.

    `is_usage`: it is measured again when its draft is finalized. `unit_amount` is None where it is the price's own.
    `credits`: the invoice and the line of it that charged what this one gives back; None if it gives nothing back, or
    what is on no invoice yet.
    """

    id: str
    amount: int
    currency: str
    description: str
    price_id: str
    product_id: str
    quantity: int
    period_starts_at: int
    period_ends_at: int
    subscription_id: str
    item_id: str
    proration: bool = False
    invoice_item_id: str | None = None
    unit_amount: Decimal | None = None
    is_usage: bool = False
    is_free: bool = False
    credits: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingLine:
    """A proration that waits for the subscription's next invoice."""

    id: str
    customer_id: str
    created: int
    line: InvoiceLine


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """A bill. `amount_due` is what is left to collect after the customer's balance.

    `arrives_at`, `arrives_by`: a payment is on its way, until when, by which payment method.
    """

    id: str
    customer_id: str
    subscription_id: str
    created: int
    currency: str
    billing_reason: str
    lines: tuple[InvoiceLine, ...]
    period_starts_at: int
    period_ends_at: int
    metadata: Labels = field(default_factory=dict)
    subscription_metadata: Labels = field(default_factory=dict)
    number: str | None = None
    status: str = "draft"
    starting_balance: int = 0
    ending_balance: int | None = None
    amount_due: int = 0
    amount_paid: int = 0
    attempt_count: int = 0
    auto_advance: bool = True
    finalizes_at: int | None = None
    next_attempt_at: int | None = None
    arrives_at: int | None = None
    arrives_by: str | None = None
    action_by: str | None = None
    """The payment method whose bank waits for the customer to confirm the payment."""
    finalization_error: str | None = None
    """Stripe's code for why it could not be finalized when that was tried last."""
    days_until_due: int | None = None
    """None: it is collected by itself."""
    due_at: int | None = None
    is_overdue: bool = False
    finalized_at: int | None = None
    paid_at: int | None = None
    voided_at: int | None = None
    uncollectible_at: int | None = None
    preview: bool = False
    discounts: tuple[Discount, ...] = ()
    taxed: bool = False
    words: InvoiceWords = field(default_factory=InvoiceWords)

    @property
    def subtotal(self) -> int:
        """The sum of the lines; negative when more was credited than charged."""
        return sum(line.amount for line in self.lines)

    def discountable(self, discount: Discount) -> int:
        """What a discount is taken off: what it covers but the prorations, which have it in their amounts."""
        return sum(line.amount for line in self.lines if not line.proration and discount.covers(line.product_id))

    @property
    def discount_parts(self) -> tuple[tuple[int, ...], ...]:
        """Of each discount, one after the other, what it takes off each line of what the ones before have left."""
        left = [0 if line.proration else max(line.amount, 0) for line in self.lines]
        found: list[tuple[int, ...]] = []
        for discount in self.discounts:
            covered = [
                rest if discount.covers(line.product_id) else 0 for line, rest in zip(self.lines, left, strict=True)
            ]
            parts = spread(discount.of(sum(covered)), covered)
            left = [rest - part for rest, part in zip(left, parts, strict=True)]
            found.append(parts)
        return tuple(found)

    @property
    def discount_amounts(self) -> tuple[int, ...]:
        """Of each discount, what it takes off the invoice."""
        return tuple(sum(parts) for parts in self.discount_parts)

    @property
    def net(self) -> int:
        """Before tax."""
        return self.subtotal - sum(self.discount_amounts)

    @property
    def tax(self) -> int:
        """What is added to it."""
        return tax_of(self.net) if self.taxed else 0

    @property
    def total(self) -> int:
        """What the customer owes for it, the balance aside; negative for a credit."""
        return self.net + self.tax
