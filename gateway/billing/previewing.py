"""What a change of a running subscription would cost, in the amounts that Stripe computes.

A preview is an invoice that is not made. It always adds up: its lines, and what Stripe puts
beside them (tax, discounts, the customer's balance), are what the next invoice asks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import stripe

from gateway.core.money import money_text

LineKind: TypeAlias = Literal["change", "period", "earlier", "tax", "discount", "balance"]
"""Why an amount is there: `change`: the rest of this period is settled; `period`: a whole period; `earlier`: another
change's, which waits for the same invoice; `balance`: credit that is used, or kept for later invoices."""

_TAX, _DISCOUNT = "Tax", "Discounts"
_USED, _KEPT = "Balance of the account", "Kept as credit for later invoices"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewLine:
    """One amount, in the currency's smallest unit; negative: a credit."""

    kind: LineKind
    description: str
    """Stripe's own words."""
    amount: int
    text: str
    """The amount with its currency, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangePreview:
    """What a plan change would cost if it were made at `at`. Amounts are in the currency's smallest unit."""

    at: int
    currency: str
    prorated: int
    """What the change itself costs for the rest of the current period, tax aside. Negative: a credit.
    Prorations of earlier changes, which wait for the same invoice, do not count."""
    next_invoice: int
    """What the next invoice will ask for, the coming period included."""
    next_invoice_at: int | None
    lines: tuple[PreviewLine, ...]
    """They add up to `next_invoice`."""

    @property
    def prorated_text(self) -> str:
        """`prorated` with its currency, for people."""
        return money_text(self.prorated, self.currency)

    @property
    def next_invoice_text(self) -> str:
        """`next_invoice` with its currency, for people."""
        return money_text(self.next_invoice, self.currency)


def read_preview(invoice: stripe.Invoice, lines: list[stripe.InvoiceLineItem], at: int) -> ChangePreview:
    """What a previewed invoice says about a change at `at`."""
    currency = invoice.currency
    said = [line for line in lines if line.amount or line.quantity]
    read = [_line(_kind_of(line, at), line.description or "", line.amount, currency) for line in said]
    tax = sum(part.amount for part in invoice.total_taxes or () if part.tax_behavior == "exclusive")
    discount = -sum(part.amount for part in invoice.total_discount_amounts or ())
    rest = invoice.amount_due - sum(line.amount for line in read) - tax - discount
    beside = (
        _line("tax", _TAX, tax, currency),
        _line("discount", _DISCOUNT, discount, currency),
        _line("balance", _KEPT if rest > 0 else _USED, rest, currency),
    )
    return ChangePreview(
        at=at,
        currency=currency,
        prorated=sum(line.amount for line in read if line.kind == "change"),
        next_invoice=invoice.amount_due,
        next_invoice_at=invoice.next_payment_attempt or invoice.period_end,
        lines=(*read, *(line for line in beside if line.amount)),
    )


def _kind_of(line: stripe.InvoiceLineItem, at: int) -> LineKind:
    if not _is_proration(line):
        return "period"
    return "change" if line.period.start == at else "earlier"


def _is_proration(line: stripe.InvoiceLineItem) -> bool:
    parent = line.parent
    if parent is None:
        return False
    details = parent.subscription_item_details or parent.invoice_item_details
    return details is not None and details.proration


def _line(kind: LineKind, description: str, amount: int, currency: str) -> PreviewLine:
    return PreviewLine(kind=kind, description=description, amount=amount, text=money_text(amount, currency))
