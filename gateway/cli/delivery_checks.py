"""Do Stripe's events arrive? What Stripe could not deliver of late says that they do not, whatever is set up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.billing import FIRST_SWEPT
from gateway.cli.findings import Finding, warn
from gateway.core.errors import BillingRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.billing import Billing

_BACK_S: Final = 3600
_ON_THEIR_WAY_S: Final = 60
"""Stripe lists what it is about to deliver too."""


async def check_deliveries(billing: Billing, now: float) -> list[Finding]:
    """Whether an event of the last hour that matters did not reach everybody who should have it.

    Args:
        billing: Stripe.
        now: Unix seconds there.

    Raises:
        BillingUnavailable: Stripe does not answer.
    """
    counts = []
    at = FIRST_SWEPT
    try:
        while True:
            events, following = await billing.fetch_undelivered(int(now) - _BACK_S, at)
            counts.append(sum(event.created < now - _ON_THEIR_WAY_S for event in events))
            if following is None or following.after is not None:  # more than a page of one kind: that is enough to say
                return [*_undelivered(sum(counts), is_all=following is None)]
            at = following
    except BillingRefused:  # the finding about the key says so
        return []


def _undelivered(count: int, *, is_all: bool) -> Iterator[Finding]:
    if count:
        yield warn(
            "webhook",
            f"{count}{'' if is_all else ' or more'} events of the last hour did not reach an endpoint of this account",
            "Look at the endpoint (dashboard: Webhooks) for what it was answered. 400: STRIPE_WEBHOOK_SECRET has not "
            "its signing secret, or a clock is wrong; the gateway's log says which. Until then changes come by the "
            "sweep, some minutes late.",
        )
