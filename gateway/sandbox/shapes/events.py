"""Events, the endpoints they are sent to, and the account."""

from __future__ import annotations

from gateway.sandbox.records import Event, Json, WebhookEndpoint
from gateway.sandbox.rules import API_VERSION
from gateway.sandbox.shapes.versions import in_version


def event_shape(event: Event, *, pending_webhooks: int, api_version: str | None = None) -> Json:
    """`event`; `pending_webhooks` is how many endpoints have not taken it yet.

    `api_version`: of the endpoint it goes to; by default the account's, which is also the API's.
    """
    version = API_VERSION if api_version is None else api_version
    shown = event.data_object if version == API_VERSION else in_version(event.data_object, version)
    data: Json = {"object": shown}
    if event.previous is not None:
        data["previous_attributes"] = event.previous
    return {
        "id": event.id,
        "object": "event",
        "api_version": version,
        "created": event.created,
        "data": data,
        "livemode": False,
        "pending_webhooks": pending_webhooks,
        "request": {"id": event.request_id, "idempotency_key": event.idempotency_key},
        "type": event.type,
    }


def endpoint_shape(endpoint: WebhookEndpoint, *, with_secret: bool = False) -> Json:
    """`webhook_endpoint`; its secret is told once, in the answer that creates it."""
    shape: Json = {
        "id": endpoint.id,
        "object": "webhook_endpoint",
        "api_version": endpoint.api_version,
        "application": None,
        "created": endpoint.created,
        "description": endpoint.description,
        "enabled_events": list(endpoint.enabled_events),
        "livemode": False,
        "metadata": dict(endpoint.metadata),
        "status": "enabled" if endpoint.enabled else "disabled",
        "url": endpoint.url,
    }
    if with_secret:
        shape["secret"] = endpoint.secret
    return shape


def account_shape(account_id: str) -> Json:
    """`account`: the seller's own."""
    return {
        "id": account_id,
        "object": "account",
        "business_profile": None,
        "business_type": "company",
        "capabilities": {"card_payments": "active", "transfers": "active"},
        "charges_enabled": True,
        "country": "US",
        "default_currency": "usd",
        "details_submitted": True,
        "email": "sandbox@example.com",
        "metadata": {},
        "payouts_enabled": True,
        "settings": None,
        "tos_acceptance": None,
        "type": "standard",
    }


def deleted_shape(kind: str, record_id: str) -> Json:
    """What a DELETE answers."""
    return {"id": record_id, "object": kind, "deleted": True}
