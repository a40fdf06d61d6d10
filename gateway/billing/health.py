"""What a Stripe key may do and how the account is set up: what `tiergate doctor` reports."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from time import time
from typing import Any

import stripe

from gateway.billing.destinations import DestinationFacts, DestinationKeeper
from gateway.billing.endpoints import EndpointFacts, read_endpoint
from gateway.billing.failures import stripe_call
from gateway.billing.webhook import METADATA_CUSTOMER
from gateway.core.errors import BillingRefused

_INTENTS = "data.payment.payment_intent"
SEARCH = "customer search"
"""What Stripe has no account in India do, whatever the key may: https://docs.stripe.com/api/customers/search"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StripeReport:
    """The answers, and what was refused."""

    is_live: bool
    account_id: str | None = None
    account_name: str | None = None
    clock_skew_s: float | None = None
    """Stripe's clock minus this machine's, in whole seconds or so; None if Stripe sent no date."""
    endpoints: tuple[EndpointFacts, ...] = ()
    destinations: tuple[DestinationFacts, ...] | None = None
    """Event destinations that are webhooks; None: they may not be read."""
    portal_is_set_up: bool | None = None
    """Whether Stripe's customer portal has a default configuration; None if that may not be read."""
    portal_cancels_at_once: bool = False
    """Whether the portal that customers are sent to ends a subscription at once, and not with its period."""
    refused: dict[str, str] = field(default_factory=dict)
    """What this key may not read, and what was answered. Never mutated after construction."""


async def examine(
    client: stripe.StripeClient,
    *,
    is_live: bool,
    deadline_s: float,
    also: frozenset[str] = frozenset(),
    portal_configuration: str | None = None,
) -> StripeReport:
    """Read one of everything the gateway needs. Nothing is written, so that it may be written is not known after.

    Args:
        client: Of Stripe.
        is_live: Whether real money moves.
        deadline_s: Seconds for each call.
        also: What this policy needs beside: `entitlements`, `billing meters`.
        portal_configuration: The one that customers are sent to; None: the account's default.

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
    await ask("invoices", lambda: v1.invoices.list_async({"limit": 1}))
    await ask("payment intents", lambda: v1.invoice_payments.list_async({"limit": 1, "expand": [_INTENTS]}))
    await ask(SEARCH, lambda: v1.customers.search_async({"query": f'metadata["{METADATA_CUSTOMER}"]:"-"', "limit": 1}))
    await ask("subscriptions", lambda: v1.subscriptions.list_async({"limit": 1}))
    await ask("prices", lambda: v1.prices.list_async({"limit": 1}))
    await ask("checkout sessions", lambda: v1.checkout.sessions.list_async({"limit": 1}))
    await ask("disputes", lambda: v1.disputes.list_async({"limit": 1}))
    await ask("charges", lambda: v1.charges.list_async({"limit": 1}))
    await ask("products", lambda: v1.products.list_async({"limit": 1}))
    await ask("events", lambda: v1.events.list_async({"limit": 1}))
    if "entitlements" in also:
        await ask("entitlements", lambda: v1.entitlements.features.list_async({"limit": 1}))
    if "billing meters" in also:
        await ask("billing meters", lambda: v1.billing.meters.list_async({"limit": 1}))
    portals: Any = await ask(
        "billing portal configurations",
        lambda: v1.billing_portal.configurations.list_async(
            {"active": True, "is_default": True, "limit": 1}
            if portal_configuration is None
            else {"active": True, "limit": 100}
        ),
    )
    asked_at = time()
    endpoints: Any = await ask("webhook endpoints", lambda: v1.webhook_endpoints.list_async({"limit": 100}))
    return StripeReport(
        is_live=is_live,
        account_id=None if account is None else account.id,
        account_name=_name_of(account),
        clock_skew_s=_skew_s(endpoints if endpoints is not None else account, asked_at),
        endpoints=() if endpoints is None else tuple(read_endpoint(one) for one in endpoints.data),
        destinations=await _read_destinations(client, deadline_s),
        portal_is_set_up=None if portals is None else bool(portals.data),
        portal_cancels_at_once=portals is not None and _cancels_at_once(portals.data, portal_configuration),
        refused=refused,
    )


async def _read_destinations(client: stripe.StripeClient, deadline_s: float) -> tuple[DestinationFacts, ...] | None:
    """None: the key may not read them, or this account has none of that API."""
    try:
        return await DestinationKeeper(client, deadline_s=deadline_s).fetch_all()
    except BillingRefused:
        return None


def _cancels_at_once(portals: list[Any], configuration: str | None) -> bool:
    mine = (one for one in portals if configuration in {None, one.id})
    return any(
        one.features.subscription_cancel.enabled and one.features.subscription_cancel.mode == "immediately"
        for one in mine
    )


def _name_of(account: stripe.Account | None) -> str | None:
    profile = account.business_profile if account is not None and "business_profile" in account else None
    return profile.name if profile is not None and "name" in profile else None


def _skew_s(answer: Any, asked_at: float) -> float | None:
    response = None if answer is None else answer.last_response
    date = None if response is None or response.headers is None else response.headers.get("date")
    return None if date is None else parsedate_to_datetime(date).timestamp() - asked_at
