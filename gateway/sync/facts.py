"""Everything that a customer's access is projected from, read of Stripe in as few requests as it takes.

One request for a customer whose prices policy sells and who disputes nothing, one for its entitlements if policy
counts any, and one for the payments of each subscription if policy has a line for money that was taken back;
more for schedules, tariffs, and a first invoice that is not the latest. They are counted as
they are sent. Whoever records the result has taken a fence before: what the ledger notes for a read is looked up
after that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.billing import Billing
from gateway.core.billing_facts import CustomerFacts
from gateway.core.flags import asked_of_payments
from gateway.core.plan_map import unmapped_products, with_product_tiers
from gateway.core.policy import Policy
from gateway.ledger import Ledger


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was read of one customer."""

    of_customer: CustomerFacts
    closed_disputes: tuple[str, ...]
    """Noted in the ledger, and over. To be forgotten when the rest is recorded."""
    requests: int
    """How many requests it took, as they were sent: schedules, first payments, tariffs, further pages and repeats."""


async def read_facts(
    billing: Billing,
    ledger: Ledger,
    policy: Policy,
    customer_id: str,
    stripe_customer_id: str,
    *,
    also_disputed: tuple[str, ...] = (),
) -> Facts:
    """The facts of one customer. `also_disputed`: disputes to look at that the ledger does not have.

    Raises:
        BillingUnavailable, BillingRefused: Stripe did not say.
        LedgerUnavailable: It is not known which disputes to look at.
    """
    with billing.pace.counted() as sent:
        facts, closed_disputes = await _read(billing, ledger, policy, customer_id, stripe_customer_id, also_disputed)
    return Facts(of_customer=facts, closed_disputes=closed_disputes, requests=sent.requests)


async def _read(
    billing: Billing,
    ledger: Ledger,
    policy: Policy,
    customer_id: str,
    stripe_customer_id: str,
    also_disputed: tuple[str, ...],
) -> tuple[CustomerFacts, tuple[str, ...]]:
    noted = tuple(dict.fromkeys((*await ledger.list_disputes(customer_id), *also_disputed)))
    facts = await billing.facts.fetch_subscriptions(stripe_customer_id, asked_of_payments(policy))
    products = unmapped_products(facts, policy)
    if products:
        facts = with_product_tiers(facts, await billing.facts.fetch_product_tiers(products))
    if policy.entitlements and facts.subscriptions:
        facts = replace(facts, entitlements=await billing.facts.fetch_entitlements(stripe_customer_id))
    if not noted or not facts.exists:
        return facts, ()
    found = [await billing.facts.fetch_dispute(dispute_id) for dispute_id in noted]
    still_open = {one.dispute_id: one.created for one in found if one is not None and one.is_open}
    facts = replace(facts, disputed_since=min(still_open.values(), default=None))
    return facts, tuple(dispute_id for dispute_id in noted if dispute_id not in still_open)
