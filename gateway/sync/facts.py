"""Everything that a customer's access is projected from, read of Stripe in as few requests as it takes.

One request for a customer whose prices policy sells. Whoever records the result has taken a fence before.
"""

from __future__ import annotations

from gateway.billing import Billing
from gateway.core.billing_facts import CustomerFacts
from gateway.core.plan_map import unmapped_products, with_product_tiers
from gateway.core.policy import Policy


async def read_facts(billing: Billing, policy: Policy, stripe_customer_id: str) -> CustomerFacts:
    """The facts of one customer.

    Raises:
        BillingUnavailable, BillingRefused: Stripe did not say.
    """
    facts = await billing.facts.fetch_subscriptions(stripe_customer_id)
    products = unmapped_products(facts, policy)
    if products:
        facts = with_product_tiers(facts, await billing.facts.fetch_product_tiers(products))
    return facts
