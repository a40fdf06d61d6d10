"""Events that Stripe could not deliver, read page by page."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import stripe
import structlog

from gateway.billing.events import SUBSCRIBED_TYPES
from gateway.billing.failures import stripe_call
from gateway.billing.webhook import EventEnvelope, InvalidPayload, read_envelope

if TYPE_CHECKING:
    from stripe.params import EventListParams

_EVENTS_A_PAGE = 100
_TYPES_A_CALL = 20
"""Source: `types` of https://docs.stripe.com/api/events/list"""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweptTo:
    """Where a look through the undelivered events is to go on."""

    types: int = 0
    """Which of the groups of types, for Stripe lists a bounded number of types at once."""
    after: str | None = None
    """Behind which event; None: at the newest of the group."""


FIRST_SWEPT: Final = SweptTo()
"""Where it begins."""


async def fetch_undelivered(
    client: stripe.StripeClient, since: int, at: SweptTo, deadline_s: float
) -> tuple[list[EventEnvelope], SweptTo | None]:
    """One page of the events made since then that did not reach every webhook endpoint, of the types we act on.

    Args:
        client: Of Stripe.
        since: Unix seconds.
        at: Which page.
        deadline_s: Seconds for the page.

    Returns:
        The events, and where the next page is; None: this was the last.

    Raises:
        BillingUnavailable, BillingRefused: What was not listed yet is not known.
    """
    start = at.types * _TYPES_A_CALL
    types = list(SUBSCRIBED_TYPES[start : start + _TYPES_A_CALL])
    events, cursor = await _page(client, types, since, at.after, deadline_s)
    if cursor is not None:
        return events, SweptTo(types=at.types, after=cursor)
    is_last = start + _TYPES_A_CALL >= len(SUBSCRIBED_TYPES)
    return events, None if is_last else SweptTo(types=at.types + 1)


async def _page(
    client: stripe.StripeClient, types: list[str], since: int, after: str | None, deadline_s: float
) -> tuple[list[EventEnvelope], str | None]:
    params: EventListParams = {
        "delivery_success": False,
        "created": {"gte": since},
        "types": types,
        "limit": _EVENTS_A_PAGE,
    }
    if after is not None:
        params["starting_after"] = after
    async with stripe_call("list events", deadline_s):
        page = await client.v1.events.list_async(params)
        found = []
        for event in page.data:
            fields = event.to_dict(for_json=True)
            try:
                found.append(read_envelope(fields, json.dumps(fields)))
            except InvalidPayload as error:
                log.warning("undelivered event is not readable", event_id=event.id, reason=str(error))
        return found, page.data[-1].id if page.has_more and page.data else None
