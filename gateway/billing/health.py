"""What a Stripe key may do and how the account is set up: what `tiergate doctor` reports."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

import stripe

from gateway.billing.events import SUBSCRIBED_TYPES
from gateway.billing.failures import stripe_call
from gateway.core.errors import BillingRefused

_EVERYTHING = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointFacts:
    """One webhook endpoint of the account."""

    url: str
    is_enabled: bool
    api_version: str | None
    """None: the account's default version."""
    missing_types: tuple[str, ...]
    """Event types we act on that this endpoint does not get."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeReport:
    """The answers, and what was refused."""

    is_live: bool
    account_id: str | None = None
    account_name: str | None = None
    clock_skew_s: float | None = None
    """Stripe's clock minus this machine's, in whole seconds or so; None if Stripe sent no date."""
    endpoints: tuple[EndpointFacts, ...] = ()
    portal_is_set_up: bool | None = None
    """Whether Stripe's customer portal has a default configuration; None if that may not be read."""
    refused: dict[str, str] = field(default_factory=dict)
    """What this key may not read, and what was answered. Never mutated after construction."""


async def examine(client: stripe.StripeClient, *, is_live: bool, deadline_s: float) -> StripeReport:
    """Read one of everything the gateway needs. Nothing is written, so that it may be written is not known after.

    Raises:
        BillingUnavailable: Stripe does not answer.
    """
    v1 = client.v1
    refused: dict[str, str] = {}

    async def ask(what: str, call: Callable[[], Awaitable[Any]]) -> Any:
        try:
            async with stripe_call(f"examine {what}", deadline_s):
                return await call()
        except BillingRefused as error:
            refused[what] = str(error)
            return None

    account: stripe.Account | None = await ask("account", v1.accounts.retrieve_current_async)
    await ask("customers", lambda: v1.customers.list_async({"limit": 1}))
    await ask("subscriptions", lambda: v1.subscriptions.list_async({"limit": 1}))
    await ask("prices", lambda: v1.prices.list_async({"limit": 1}))
    await ask("checkout sessions", lambda: v1.checkout.sessions.list_async({"limit": 1}))
    await ask("disputes", lambda: v1.disputes.list_async({"limit": 1}))
    await ask("charges", lambda: v1.charges.list_async({"limit": 1}))
    await ask("products", lambda: v1.products.list_async({"limit": 1}))
    await ask("events", lambda: v1.events.list_async({"limit": 1}))
    portals: Any = await ask(
        "billing portal configurations",
        lambda: v1.billing_portal.configurations.list_async({"active": True, "is_default": True, "limit": 1}),
    )
    asked_at = time()
    endpoints: Any = await ask("webhook endpoints", lambda: v1.webhook_endpoints.list_async({"limit": 100}))
    return StripeReport(
        is_live=is_live,
        account_id=None if account is None else account.id,
        account_name=_name_of(account),
        clock_skew_s=_skew_s(endpoints if endpoints is not None else account, asked_at),
        endpoints=() if endpoints is None else tuple(_read_endpoint(one) for one in endpoints.data),
        portal_is_set_up=None if portals is None else bool(portals.data),
        refused=refused,
    )


def _read_endpoint(endpoint: stripe.WebhookEndpoint) -> EndpointFacts:
    enabled = set(endpoint.enabled_events)
    return EndpointFacts(
        url=endpoint.url,
        is_enabled=endpoint.status == "enabled",
        api_version=endpoint.api_version,
        missing_types=() if _EVERYTHING in enabled else tuple(t for t in SUBSCRIBED_TYPES if t not in enabled),
    )


def _name_of(account: stripe.Account | None) -> str | None:
    profile = account.business_profile if account is not None and "business_profile" in account else None
    return profile.name if profile is not None and "name" in profile else None


def _skew_s(answer: Any, asked_at: float) -> float | None:
    response = None if answer is None else answer.last_response
    date = None if response is None or response.headers is None else response.headers.get("date")
    return None if date is None else parsedate_to_datetime(date).timestamp() - asked_at
