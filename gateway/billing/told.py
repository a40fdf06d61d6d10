"""What an event destination was to be told: thin events as they happened, page by page.

Stripe lists thin events by time and type, and does not say which of them were delivered: `delivery_success` is a
question to the older API, about webhook endpoints. So what a destination missed is found by what the ledger lacks.

Source: https://docs.stripe.com/api/v2/core/events/list
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import structlog

from gateway.billing.failures import stripe_call
from gateway.billing.webhook import EventEnvelope, InvalidPayload, read_notification

if TYPE_CHECKING:
    import stripe

_EVENTS_A_PAGE: Final = 100
_TYPES_A_CALL: Final = 20

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldTo:
    """Where a look through the thin events is to go on."""

    types: int = 0
    """Which of the groups of types, for Stripe lists a bounded number of types at once."""
    next_url: str | None = None
    """Address of the page; None: the newest of the group."""


FIRST_TOLD: Final = ToldTo()
"""Where it begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Which thin events are looked through."""

    types: tuple[str, ...]
    since: int
    until: int
    """Unix seconds, both inclusive."""


async def fetch_told(
    client: stripe.StripeClient, wanted: Told, at: ToldTo, deadline_s: float
) -> tuple[list[EventEnvelope], ToldTo | None]:
    """One page of the thin events of some types and a time.

    Returns:
        The events, and where the next page is; None: this was the last.

    Raises:
        BillingUnavailable, BillingRefused: What was not listed yet is not known.
    """
    start = at.types * _TYPES_A_CALL
    async with stripe_call("list thin events", deadline_s):
        if at.next_url is None:
            page: Any = await client.v2.core.events.list_async(
                {
                    "types": list(wanted.types[start : start + _TYPES_A_CALL]),
                    "created": {"gte": _instant(wanted.since), "lte": _instant(wanted.until)},
                    "limit": _EVENTS_A_PAGE,
                }
            )
        else:
            page = client.deserialize(await client.raw_request_async("get", at.next_url), api_mode="V2")
        found, next_url = _envelopes(page.data), page.next_page_url
    if next_url is not None:
        return found, ToldTo(types=at.types, next_url=next_url)
    is_last = start + _TYPES_A_CALL >= len(wanted.types)
    return found, None if is_last else ToldTo(types=at.types + 1)


def _envelopes(events: list[Any]) -> list[EventEnvelope]:
    found = []
    for event in events:
        fields = event.to_dict(for_json=True)
        try:
            found.append(read_notification(fields, json.dumps(fields)))
        except InvalidPayload as error:
            log.warning("thin event is not readable", event_id=event.id, reason=str(error))
    return found


def _instant(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
