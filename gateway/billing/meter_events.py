"""Units that are reported to Stripe's Billing Meters.

Stripe refuses an identifier that it knows: then it has the report, and that is as good as an answer. It says so in
words and has no code for it in this version of its API; its newer one has.
"""

from __future__ import annotations

import stripe

from gateway.billing.failures import stripe_call

_DUPLICATE_CODE = "duplicate_meter_event"
_DUPLICATE_WORDS = "already exists with identifier"


class MeterEvents:
    """Reports units. Every call fails as `failures.stripe_call` says."""

    def __init__(self, client: stripe.StripeClient, *, deadline_s: float) -> None:
        self._client = client
        self._deadline_s = deadline_s

    async def send(
        self, *, event_name: str, stripe_customer_id: str, identifier: str, units: int, at: int, tried_at: int
    ) -> bool:
        """Report units that a customer used. Sent again, it counts once, for a day at least.

        Args:
            event_name: Of the meter, which reads Stripe's default keys of the payload.
            stripe_customer_id: Who used them.
            identifier: Of this report.
            units: >= 1.
            at: Unix seconds when they were used, not more than 35 days ago.
            tried_at: Unix seconds of this try. Stripe gives the same answer to all tries under one key, a refusal
                too, for a day; nothing that counts tries may begin again within it.

        Returns:
            False if Stripe had it already.

        Raises:
            BillingRefused: Stripe did not take it.
            BillingUnavailable: Nobody knows whether it did.
        """
        async with stripe_call("report usage", self._deadline_s):
            try:
                await self._client.v1.billing.meter_events.create_async(
                    {
                        "event_name": event_name,
                        "identifier": identifier,
                        "timestamp": at,
                        "payload": {"stripe_customer_id": stripe_customer_id, "value": str(units)},
                    },
                    {"idempotency_key": f"{identifier}.{tried_at}"},
                )
            except stripe.InvalidRequestError as error:
                if not _is_duplicate(error, identifier):
                    raise
                return False
        return True


def _is_duplicate(error: stripe.InvalidRequestError, identifier: str) -> bool:
    message = error.user_message or ""
    return error.code == _DUPLICATE_CODE or (_DUPLICATE_WORDS in message and identifier in message)
