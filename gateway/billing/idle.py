"""Subscriptions that do not run and may begin to: a trial that ended without a card, a first payment not made yet.

Nobody pays for one, so another may be sold beside it; and then both would be paid if this one began to run. So it is
ended before.
"""

from __future__ import annotations

import stripe

from gateway.billing.failures import is_missing, stripe_call
from gateway.core.plan_map import ENDED_STATUSES, IDLE_STATUSES


class IdleSubscriptions:
    """Ends them. Every call fails as `failures.stripe_call` says."""

    def __init__(self, client: stripe.StripeClient, *, deadline_s: float) -> None:
        self._client = client
        self._deadline_s = deadline_s

    async def end(self, subscription_id: str) -> bool:
        """End a subscription that is idle, at once and without a bill. One that is over stays as it is.

        Its open invoice is made void first, which Stripe refuses once that is paid: so one that begins to run in this
        moment by its payment is left alone.

        Returns:
            Whether it is over. False: it runs by now.
        """
        async with stripe_call("end an idle subscription", self._deadline_s):
            try:
                return await self._end(subscription_id)
            except stripe.InvalidRequestError as error:
                if is_missing(error):
                    return True
                one = await self._client.v1.subscriptions.retrieve_async(subscription_id)
                if one.status in IDLE_STATUSES:
                    raise
                return one.status in ENDED_STATUSES

    async def _end(self, subscription_id: str) -> bool:
        v1 = self._client.v1
        one = await v1.subscriptions.retrieve_async(subscription_id, {"expand": ["latest_invoice"]})
        if one.status not in IDLE_STATUSES:
            return one.status in ENDED_STATUSES
        if isinstance(one.latest_invoice, stripe.Invoice) and one.latest_invoice.status == "open":
            await v1.invoices.void_invoice_async(one.latest_invoice.id)
        await v1.subscriptions.cancel_async(subscription_id)
        return True
