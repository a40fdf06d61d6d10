"""What a customer owes for a subscription that is over, and so pays before it is sold another. Pure.

An invoice that is open asks for money. Void, uncollectible and paid ones do not, and a draft is not sent yet: so the
seller forgives with Stripe's own words, and one debt at a time. What had to be paid before it was had is no debt: a
first payment that never came, and a change that waited for one. Invoices that are sent by mail run on trust, and all
of them are owed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from gateway.core.money import money_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Debts: TypeAlias = Literal["refuse", "allow"]
"""What an old debt does to a purchase."""

_PAID_AHEAD = frozenset({"subscription_create", "subscription_update"})
"""Why Stripe made an invoice that had to be paid for something to be had."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenInvoice:
    """An invoice that Stripe calls open."""

    invoice_id: str
    number: str | None
    """As the customer sees it."""
    subscription_id: str | None
    reason: str | None
    """Why Stripe made it, in its word."""
    is_mailed: bool
    """It is sent by mail and paid by hand."""
    amount: int
    """What is left to be paid, in the currency's smallest unit."""
    currency: str
    created_at: int
    payment_url: str | None
    """Stripe's page of it. Whoever has the address sees the bill."""


def find_debts(invoices: Iterable[OpenInvoice], ended: Mapping[str, int]) -> list[OpenInvoice]:
    """What is owed for subscriptions that are over, oldest first.

    Args:
        invoices: All that are open.
        ended: The subscriptions of ours that are over, and when they ended.
    """
    owed = [one for one in invoices if one.amount > 0 and one.subscription_id in ended and _was_had(one, ended)]
    return sorted(owed, key=lambda one: (one.created_at, one.invoice_id))


def _was_had(invoice: OpenInvoice, ended: Mapping[str, int]) -> bool:
    """Its last invoice, for what was used, is made as a change's is, when it ends."""
    if invoice.is_mailed or invoice.reason not in _PAID_AHEAD:
        return True
    return invoice.reason == "subscription_update" and invoice.created_at >= ended[invoice.subscription_id or ""]


def debt_words(debts: list[OpenInvoice]) -> str:
    """Which invoice is to be paid, what it costs and what to do. Of several the oldest, and how many there are."""
    first = debts[0]
    invoice = f"invoice {first.number or first.invoice_id} ({money_text(first.amount, first.currency)})"
    if len(debts) == 1:
        return f"The {invoice} of a subscription that has ended is not paid. Pay it, then buy again."
    count = len(debts)
    return f"{count} invoices of subscriptions that have ended are not paid. Pay {invoice} first, then the others."
