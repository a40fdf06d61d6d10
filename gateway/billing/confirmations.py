"""Whether a payment waits for the customer to confirm it with the bank (3-D Secure), and on which page that is done.

The subscription does not say so: it is past due, incomplete, or has an update that waits, as after any failed payment.
Its latest invoice's PaymentIntent says `requires_action`. That is a request more, made only where that invoice is open
and was tried to be collected.
Source: https://docs.stripe.com/billing/subscriptions/overview#requires-action
"""

from __future__ import annotations

import stripe

_WAITS = "requires_action"


async def find_confirmation(client: stripe.StripeClient, subscription: stripe.Subscription) -> str | None:
    """The page of the invoice whose payment waits for its customer; None: none does, or this key may not know.

    Args:
        client: Asked for the payments of the invoice; fails as the SDK does.
        subscription: With its latest invoice expanded.
    """
    latest = subscription.latest_invoice
    if not isinstance(latest, stripe.Invoice) or latest.status != "open" or not latest.attempted:
        return None
    if latest.collection_method != "charge_automatically" or latest.hosted_invoice_url is None:
        return None
    try:
        page = await client.v1.invoice_payments.list_async(
            {"invoice": latest.id, "status": "open", "expand": ["data.payment.payment_intent"]}
        )
    except stripe.PermissionError:  # a restricted key of before; the doctor says which permission it lacks
        return None
    intents = [one.payment.payment_intent async for one in page.auto_paging_iter() if "payment_intent" in one.payment]
    waits = any(isinstance(one, stripe.PaymentIntent) and one.status == _WAITS for one in intents)
    return latest.hosted_invoice_url if waits else None
