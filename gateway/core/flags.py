"""What is true of a subscription beside its status, and since when: a pure function of facts and the last record.

| flag | while |
|---|---|
| `dispute_lost` | the payment of the newest period that was paid was lost to a charge-back. Also after its end |
| `disputed` | a payment of the customer is disputed; since Stripe opened the oldest dispute |
| `first_payment_pending` | its first invoice is not paid: open, or given up since. After its end where that matters |
| `pause_collection`, `pause_collection_void` | invoices are not collected; `void` means that the service is off too |
| `pending_update` | a change waits for its payment; the old plan is in force |
| `refunded` | the payment of the newest period that was paid was given back, all of it. Also after its end |

Each is counted from the first time it was seen, once: reading the same state again moves nothing. What is seen only
after the end is counted from the end. What a later payment lost is counted anew. Payments are read only for lines of
policy that do something.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.billing_facts import PaymentsAsked
from gateway.core.lifecycle import (
    CUSTOMER_DELETED,
    DISPUTED,
    FIRST_PAYMENT_PENDING,
    PAUSE_COLLECTION,
    PAUSE_COLLECTION_VOID,
    PENDING_UPDATE,
    TAKEN_BACK,
)
from gateway.core.plan_map import ENDED_STATUSES

if TYPE_CHECKING:
    from gateway.core.account import Subscription
    from gateway.core.billing_facts import CustomerFacts, SubscriptionFacts
    from gateway.core.policy import Policy

_KEPT_FOR_A_TIME = ("canceled", CUSTOMER_DELETED)
"""Rows of what is over that may keep its tier."""


def asked_of_payments(policy: Policy) -> PaymentsAsked:
    """Lines that do more than keep what there is; after the end too, if something is kept then that they may end."""
    rows = frozenset(row for row in TAKEN_BACK if policy.lifecycle[row].keep_s is not None)
    return PaymentsAsked(rows=rows, of_ended=any(policy.lifecycle[row].keep_s != 0 for row in _KEPT_FOR_A_TIME))


def flags_of(
    customer: CustomerFacts, facts: SubscriptionFacts, own: Subscription | None, now: int
) -> tuple[tuple[str, int], ...]:
    """The flags of one subscription, in the order of their names.

    Args:
        customer: Whose it is.
        facts: The subscription.
        own: What was recorded of the same subscription before.
        now: Unix seconds.
    """
    seen = {} if own is None else dict(own.flags)
    begins = now if facts.ended_at is None else min(now, facts.ended_at)
    flags = {flag: seen.get(flag, begins) for flag in _own_flags(facts)}
    for flag, paid_at in facts.taken_back:
        flags[flag] = seen[flag] if seen.get(flag, 0) >= paid_at else begins
    if customer.disputed_since is not None:
        flags[DISPUTED] = customer.disputed_since
    return tuple(sorted(flags.items()))


def _own_flags(facts: SubscriptionFacts) -> list[str]:
    flags = []
    if facts.first_payment_missing and not facts.ran_unpaid:
        flags.append(FIRST_PAYMENT_PENDING)
    if facts.status in ENDED_STATUSES:
        return flags
    if facts.paused_collection is not None:
        flags.append(PAUSE_COLLECTION_VOID if facts.paused_collection == "void" else PAUSE_COLLECTION)
    if facts.has_pending_update:
        flags.append(PENDING_UPDATE)
    return flags
