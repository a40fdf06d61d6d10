"""Event destinations of the account, the newer API's place to send events to: read all, make ours, mend ours.

One is ours if it leads to our address. Its signing secret is in one answer only, the one that made it, and its
address is told to those who ask for it. Destinations that are no webhooks (queues of clouds) are none to us.

Source: https://docs.stripe.com/api/v2/core/event-destinations
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import stripe

from gateway.billing.endpoints import EVERYTHING, NewEndpoint, leads
from gateway.billing.failures import is_missing, stripe_call
from gateway.billing.notification import created_at
from gateway.core.errors import BillingRefused

if TYPE_CHECKING:
    from stripe.params.v2.core import EventDestinationCreateParams, EventDestinationUpdateParams

_NAME: Final = "Tiergate"
_PAGE: Final = 100
_ENDPOINT: Final = "we_"
"""Stripe may list webhook endpoints among the destinations: they are looked at by themselves (`endpoints`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationFacts:
    """One event destination of the account that is a webhook."""

    destination_id: str
    url: str
    is_enabled: bool
    is_thin: bool
    api_version: str | None
    """Of snapshot events; None: thin ones have none."""
    types: tuple[str, ...]
    """`*` is all there are."""
    created: int = 0
    """Unix seconds."""
    is_live: bool = False
    """Whether it is of the mode in which real money moves."""

    def leads_to(self, url: str, *, is_live: bool) -> bool:
        """Whether it sends there, an address that does not end in a slash, what happens in that mode."""
        return self.is_live == is_live and leads(self.url, url)

    def names(self, everything: tuple[str, ...]) -> tuple[str, ...]:
        """The types that it gets, as its payload calls them; `everything`, if it gets all there are."""
        return everything if EVERYTHING in self.types else self.types

    def missing(self, wanted: tuple[str, ...]) -> tuple[str, ...]:
        """Those of these types that it does not get, as its payload calls them."""
        return tuple(name for name in wanted if name not in self.names(wanted))


class DestinationKeeper:
    """The event destinations of one account."""

    def __init__(self, client: stripe.StripeClient, *, deadline_s: float) -> None:
        self._client = client
        self._deadline_s = deadline_s

    async def fetch_all(self) -> tuple[DestinationFacts, ...]:
        """Every destination of the account that is a webhook.

        Raises:
            BillingUnavailable, BillingRefused: Stripe did not say.
        """
        async with stripe_call("list event destinations", self._deadline_s):
            page = await self._client.v2.core.event_destinations.list_async(
                {"include": ["webhook_endpoint.url"], "limit": _PAGE}
            )
            found = [one async for one in page.auto_paging_iter()]
            return tuple(_read(one) for one in found if _is_webhook(one))

    async def create(self, url: str, types: tuple[str, ...]) -> NewEndpoint:
        """A destination that gets these as thin events. Two that ask at once make one.

        Raises:
            BillingUnavailable, BillingRefused: It was not made, or nobody knows its secret; asking again is answered
                with the same one.
        """
        params: EventDestinationCreateParams = {
            "name": _NAME,
            "type": "webhook_endpoint",
            "event_payload": "thin",
            "enabled_events": list(types),
            "events_from": ["@self"],
            "webhook_endpoint": {"url": url},
            "include": ["webhook_endpoint.signing_secret"],
        }
        key = f"tiergate-destination-{sha256(repr((url, types)).encode()).hexdigest()[:32]}"
        made = await self._create(params, key)
        if not await self._is_there(made.endpoint_id):
            made = await self._create(params, f"{key}-{uuid4().hex}")  # that one was made lately, and deleted since
        if not made.secret:
            raise BillingRefused(f"The payment provider made {made.endpoint_id} and did not tell its signing secret.")
        return made

    async def repair(self, destination_id: str, types: tuple[str, ...], *, is_enabled: bool) -> None:
        """Have it get exactly these, and enable it if it is not.

        Raises:
            BillingUnavailable, BillingRefused: It may be as it was, or have the events and not be enabled.
        """
        params: EventDestinationUpdateParams = {"enabled_events": list(types)}
        async with stripe_call("repair an event destination", self._deadline_s):
            await self._client.v2.core.event_destinations.update_async(destination_id, params)
            if not is_enabled:
                await self._client.v2.core.event_destinations.enable_async(destination_id)

    async def remove(self, destination_id: str) -> None:
        """Delete one that was just made, whose secret could not be kept."""
        async with stripe_call("delete an event destination", self._deadline_s):
            await self._client.v2.core.event_destinations.delete_async(destination_id)

    async def _create(self, params: EventDestinationCreateParams, key: str) -> NewEndpoint:
        async with stripe_call("make an event destination", self._deadline_s):
            made = await self._client.v2.core.event_destinations.create_async(params, {"idempotency_key": key})
            place = made.webhook_endpoint
            return NewEndpoint(endpoint_id=made.id, secret=(place.signing_secret or "") if place is not None else "")

    async def _is_there(self, destination_id: str) -> bool:
        async with stripe_call("read an event destination", self._deadline_s):
            try:
                await self._client.v2.core.event_destinations.retrieve_async(destination_id)
            except stripe.InvalidRequestError as error:
                if not is_missing(error):
                    raise
                return False
            return True


def _is_webhook(one: stripe.v2.core.EventDestination) -> bool:
    return one.webhook_endpoint is not None and not one.id.startswith(_ENDPOINT)


def _read(one: Any) -> DestinationFacts:
    return DestinationFacts(
        destination_id=one.id,
        url=one.webhook_endpoint.url or "",
        is_enabled=one.status == "enabled",
        is_thin=one.event_payload == "thin",
        api_version=one.snapshot_api_version,
        types=tuple(one.enabled_events),
        created=created_at({"created": one.created}) or 0,
        is_live=one.livemode,
    )
