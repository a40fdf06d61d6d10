"""What Stripe says later of units that it took and does not count.

It tells in thin events, whose data has to be asked for, of every kind of error with some samples. A destination
of snapshot events sends the same inside the event.

Source: https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api (handle meter event errors),
`V1BillingMeterErrorReportTriggeredEvent` of the SDK.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.billing.failures import redacted, stripe_call

if TYPE_CHECKING:
    import stripe

ERROR_REPORTS = frozenset(
    {
        "v1.billing.meter.error_report_triggered",
        "billing.meter.error_report_triggered",
        "billing.meter_error_report.triggered",
    }
)
"""The type, thin and as a snapshot; the last is how the API's first previews called it."""
_THIN = "v2.core.event"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterError:
    """One report that does not count."""

    identifier: str
    """Of the report, or the idempotency key under which it was sent."""
    reason: str
    """Stripe's code and words."""


class MeterErrors:
    """Reads error reports. Every call fails as `failures.stripe_call` says."""

    def __init__(self, client: stripe.StripeClient, *, deadline_s: float) -> None:
        self._client = client
        self._deadline_s = deadline_s

    async def of(self, event_id: str, payload: str) -> tuple[MeterError, ...]:
        """The samples of an event of `ERROR_REPORTS`; there may be more errors than samples.

        Args:
            event_id: By which a thin one is asked for.
            payload: Of a snapshot, in which they are. Its form says which it is: its type may be that of a thin one.
        """
        event = json.loads(payload)
        if event.get("object") != _THIN:
            return read_errors(event.get("data", {}).get("object", {}))
        async with stripe_call("read an event", self._deadline_s):
            known = await self._client.v2.core.events.retrieve_async(event_id)
            return read_errors(known.to_dict().get("data", {}))


def read_errors(data: dict[str, Any]) -> tuple[MeterError, ...]:
    """The samples of an error report; what is not there is left out."""
    found = []
    for kind in data.get("reason", {}).get("error_types", ()):
        for sample in kind.get("sample_errors", ()):
            identifier = sample.get("request", {}).get("identifier")
            if isinstance(identifier, str):
                reason = f"{kind.get('code')}: {sample.get('error_message')}"
                found.append(MeterError(identifier=identifier, reason=redacted(reason)))
    return tuple(found)
