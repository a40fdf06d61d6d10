"""What a subscription is paid with, as far as it decides how a change can be paid.

Source: https://docs.stripe.com/billing/subscriptions/pending-updates, which no update waits by a bank debit for.
"""

from __future__ import annotations

from dataclasses import dataclass

import stripe

_DEBITS = frozenset(
    {"acss_debit", "au_becs_debit", "bacs_debit", "nz_bank_account", "sepa_debit", "us_bank_account", "ba"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentMeans:
    """What Stripe charges by itself."""

    kind: str | None
    """Stripe's word: `card`, `sepa_debit`; None: there is nothing to charge."""

    @property
    def takes_days(self) -> bool:
        """Whether it is a bank debit: it promises at once, and says yes or no days later."""
        return self.kind in _DEBITS


def read_means(subscription: stripe.Subscription) -> PaymentMeans:
    """The subscription's own means, else its customer's, in the order in which Stripe looks for them.

    Args:
        subscription: With its default payment method, its customer and that one's default expanded.
    """
    if (kind := _kind(subscription.default_payment_method) or _kind(subscription.default_source)) is not None:
        return PaymentMeans(kind=kind)
    customer = subscription.customer
    if not isinstance(customer, stripe.Customer) or customer.invoice_settings is None:
        return PaymentMeans(kind=None)
    return PaymentMeans(kind=_kind(customer.invoice_settings.default_payment_method) or _kind(customer.default_source))


def _kind(value: str | stripe.StripeObject | None) -> str | None:
    """Of a payment method its type. A source of old is told by its id: `ba_` is a bank account, others pay as cards."""
    if value is None:
        return None
    if isinstance(value, stripe.PaymentMethod):
        return value.type
    name = value if isinstance(value, str) else str(value["id"])
    return "ba" if name.startswith("ba_") else "card"
