"""How a subscription is paid and taxed, in short: what a schedule has a copy of that may grow old.

A schedule copies it from its subscription as it takes that over, and sets it again as its next phase begins, whatever
was changed on the subscription since. Stripe "might" carry such a change into the schedule
(https://docs.stripe.com/billing/subscriptions/subscription-schedules, "Subscription updates when a schedule is
attached"): nothing here rests on it. What we plan carries a mark of what its subscription was like, and is planned
anew once that is another. How often is counted, so that no answer of Stripe's that changes by itself has it planned
for ever.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from gateway.billing.reading import id_of
from gateway.billing.webhook import METADATA_TERMS

if TYPE_CHECKING:
    import stripe

MOST_TIMES = 20
"""How often one planned change is planned anew because of what was changed on the subscription."""


def terms_of(subscription: stripe.Subscription) -> str:
    """A mark of how a subscription is paid and taxed, and of what its invoices say.

    Of discounts it has how many there are: a phase that sets one may give it another id.
    """
    tax = subscription.automatic_tax
    said = {
        "application_fee_percent": subscription.application_fee_percent,
        "automatic_tax": {"enabled": tax.enabled, "liability": _plain(tax.liability)},
        "billing_thresholds": _plain(subscription.billing_thresholds),
        "collection_method": subscription.collection_method,
        "days_until_due": subscription.days_until_due,
        "default_payment_method": id_of(subscription.default_payment_method),
        "default_source": id_of(subscription.default_source),
        "default_tax_rates": [id_of(rate) for rate in subscription.default_tax_rates or ()],
        "description": subscription.description,
        "discounts": len(subscription.discounts),
        "invoice_settings": _plain(subscription.invoice_settings),
        "on_behalf_of": id_of(subscription.on_behalf_of),
        "transfer_data": _plain(subscription.transfer_data),
    }
    return sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:16]


def label_of(subscription: stripe.Subscription, times: int = 0) -> dict[str, str]:
    """What a schedule's metadata carries: the mark, and how often it was planned anew."""
    return {METADATA_TERMS: f"{times}:{terms_of(subscription)}"}


def read_label(metadata: Mapping[str, str]) -> tuple[str, int]:
    """The mark and how often; a schedule of an earlier version has none."""
    times, _, terms = metadata.get(METADATA_TERMS, "").partition(":")
    return (terms, int(times)) if times.isdecimal() else ("", 0)


def is_outdated(metadata: Mapping[str, str], subscription: stripe.Subscription) -> bool:
    """Whether what a schedule of ours was planned from is not what its subscription is by now."""
    terms, times = read_label(metadata)
    return times < MOST_TIMES and terms != terms_of(subscription)


def _plain(value: stripe.StripeObject | None) -> dict[str, Any]:
    """Without what is not set, which a later version of Stripe may name and this one not."""
    return {} if value is None else {name: one for name, one in value.to_dict().items() if one not in (None, [], {})}
