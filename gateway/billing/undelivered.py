"""Events that Stripe could not deliver, read page by page."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

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


async def list_undelivered(client: stripe.StripeClient, since: int, deadline_s: float) -> AsyncIterator[EventEnvelope]:
    """Events made since then that did not reach every webhook endpoint, of the types we act on.

    Args:
        client: Of Stripe.
        since: Unix seconds.
        deadline_s: Seconds for each call of Stripe.

    Raises:
        BillingUnavailable, BillingRefused: What was not listed yet is not known.
    """
    for start in range(0, len(SUBSCRIBED_TYPES), _TYPES_A_CALL):
        types = list(SUBSCRIBED_TYPES[start : start + _TYPES_A_CALL])
        cursor: str | None = None
        while True:
            events, cursor = await _page(client, types, since, cursor, deadline_s)
            for envelope in events:
                yield envelope
            if cursor is None:
                break


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
