"""Everything that a customer's access is projected from, read of Stripe in as few requests as it takes.

One request for a customer whose prices policy sells and who disputes nothing, and one for its
entitlements if policy counts any. Whoever records the
result has taken a fence before: what the ledger notes for a read is looked up after that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.billing import Billing
from gateway.core.billing_facts import CustomerFacts
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
    """How many requests it took, pages beyond the first not counted."""


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
    noted = tuple(dict.fromkeys((*await ledger.list_disputes(customer_id), *also_disputed)))
    requests = 1
    facts = await billing.facts.fetch_subscriptions(stripe_customer_id)
    products = unmapped_products(facts, policy)
    if products:
        facts = with_product_tiers(facts, await billing.facts.fetch_product_tiers(products))
        requests += 1
    if policy.entitlements and facts.subscriptions:
        facts = replace(facts, entitlements=await billing.facts.fetch_entitlements(stripe_customer_id))
        requests += 1
    if not noted or not facts.exists:
        return Facts(of_customer=facts, closed_disputes=(), requests=requests)
    found = [await billing.facts.fetch_dispute(dispute_id) for dispute_id in noted]
    still_open = {one.dispute_id: one.created for one in found if one is not None and one.is_open}
    return Facts(
        of_customer=replace(facts, disputed_since=min(still_open.values(), default=None)),
        closed_disputes=tuple(dispute_id for dispute_id in noted if dispute_id not in still_open),
        requests=requests + len(noted),
    )
