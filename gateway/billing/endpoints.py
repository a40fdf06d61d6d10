"""Webhook endpoints of the account: read all, make ours, mend ours. Others are never written to.

An endpoint is ours if it leads to our address. Its signing secret is in one answer only, the one that made it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final, cast
from uuid import uuid4

import stripe

from gateway.billing.events import SUBSCRIBED_TYPES
from gateway.billing.failures import is_missing, stripe_call

if TYPE_CHECKING:
    from stripe.params import WebhookEndpointCreateParams, WebhookEndpointListParams, WebhookEndpointUpdateParams

EVERYTHING: Final = "*"
"""In place of types: all there are."""
_PAGE = 100
_DESCRIPTION = "Tiergate"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointFacts:
    """One webhook endpoint of the account."""

    endpoint_id: str
    url: str
    is_enabled: bool
    api_version: str | None
    """None: the account's default version."""
    missing_types: tuple[str, ...]
    """Event types we act on that this endpoint does not get."""
    extra_types: tuple[str, ...] = ()
    """Event types it gets and we do not act on; `*` is all there are."""

    def leads_to(self, url: str) -> bool:
        """Whether it sends there, an address that does not end in a slash."""
        return leads(self.url, url)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEndpoint:
    """An endpoint that was just made."""

    endpoint_id: str
    secret: str = field(repr=False)
    """Signs its deliveries. Stripe does not show it again through the API."""


class EndpointKeeper:
    """The endpoints of one account."""

    def __init__(self, client: stripe.StripeClient, *, api_version: str, deadline_s: float) -> None:
        self._client = client
        self._api_version = api_version
        self._deadline_s = deadline_s

    async def fetch_all(self) -> tuple[EndpointFacts, ...]:
        """Every endpoint of the account.

        Raises:
            BillingUnavailable, BillingRefused: Stripe did not say.
        """
        found: list[EndpointFacts] = []
        after: str | None = None
        while True:
            async with stripe_call("list webhook endpoints", self._deadline_s):
                params: WebhookEndpointListParams = {"limit": _PAGE}
                if after is not None:
                    params["starting_after"] = after
                page = await self._client.v1.webhook_endpoints.list_async(params)
                found += [read_endpoint(one) for one in page.data]
                if not page.has_more or not page.data:
                    return tuple(found)
                after = page.data[-1].id

    async def create(self, url: str) -> NewEndpoint:
        """An endpoint that gets what we act on, in our version. Two that ask at once make one.

        Raises:
            BillingUnavailable, BillingRefused: It was not made, or nobody knows; asking again within a day
                is answered with the same one.
        """
        params = cast(
            "WebhookEndpointCreateParams",
            {
                "url": url,
                "enabled_events": list(SUBSCRIBED_TYPES),
                "api_version": self._api_version,
                "description": _DESCRIPTION,
            },
        )
        key = f"tiergate-endpoint-{sha256(repr((url, self._api_version, SUBSCRIBED_TYPES)).encode()).hexdigest()[:32]}"
        made = await self._create(params, key)
        if not await self._is_there(made.endpoint_id):
            made = await self._create(params, f"{key}-{uuid4().hex}")  # that one was made today, and deleted since
        return made

    async def repair(self, endpoint_id: str) -> None:
        """Have it get exactly what we act on, and enable it.

        Raises:
            BillingUnavailable, BillingRefused: It may be as it was.
        """
        params = cast("WebhookEndpointUpdateParams", {"enabled_events": list(SUBSCRIBED_TYPES), "disabled": False})
        async with stripe_call("repair a webhook endpoint", self._deadline_s):
            await self._client.v1.webhook_endpoints.update_async(endpoint_id, params)

    async def remove(self, endpoint_id: str) -> None:
        """Delete one that was just made, whose secret could not be kept."""
        async with stripe_call("delete a webhook endpoint", self._deadline_s):
            await self._client.v1.webhook_endpoints.delete_async(endpoint_id)

    async def _create(self, params: WebhookEndpointCreateParams, key: str) -> NewEndpoint:
        async with stripe_call("make a webhook endpoint", self._deadline_s):
            made = await self._client.v1.webhook_endpoints.create_async(params, {"idempotency_key": key})
            return NewEndpoint(endpoint_id=made.id, secret=made.secret or "")

    async def _is_there(self, endpoint_id: str) -> bool:
        async with stripe_call("read a webhook endpoint", self._deadline_s):
            try:
                await self._client.v1.webhook_endpoints.retrieve_async(endpoint_id)
            except stripe.InvalidRequestError as error:
                if not is_missing(error):
                    raise
                return False
            return True


def leads(told: str, url: str) -> bool:
    """Whether an address that Stripe was told is `url`, which does not end in a slash."""
    return told.rstrip("/") == url


def read_endpoint(endpoint: stripe.WebhookEndpoint) -> EndpointFacts:
    """An endpoint as plain values."""
    enabled = set(endpoint.enabled_events)
    has_all = EVERYTHING in enabled
    return EndpointFacts(
        endpoint_id=endpoint.id,
        url=endpoint.url,
        is_enabled=endpoint.status == "enabled",
        api_version=endpoint.api_version,
        missing_types=() if has_all else tuple(t for t in SUBSCRIBED_TYPES if t not in enabled),
        extra_types=tuple(sorted(enabled.difference(SUBSCRIBED_TYPES))),
    )
