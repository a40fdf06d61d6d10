"""Events, the endpoints they are sent to, and the account."""

from __future__ import annotations

from gateway.sandbox.event_records import Event, WebhookEndpoint
from gateway.sandbox.records import Json
from gateway.sandbox.rules import API_VERSION
from gateway.sandbox.shapes.meters import instant_text
from gateway.sandbox.shapes.versions import in_version

_COLLECTIONS = {
    "billing.meter": "v1/billing/meters",
    "checkout.session": "v1/checkout/sessions",
    "v2.core.event_destination": "v2/core/event_destinations",
}


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


def notification_shape(event: Event) -> Json:
    """`v2.core.event`: the same event told thinly. A summary of entitlements has no id and is not named."""
    subject = event.data_object
    shape: Json = {
        "id": event.thin_id,
        "object": "v2.core.event",
        "context": None,
        "created": instant_text(event.created),
        "livemode": False,
        "reason": None,
        "type": event.thin_type,
    }
    if event.request_id is not None:
        request = {"id": event.request_id, "idempotency_key": event.idempotency_key or ""}
        shape["reason"] = {"type": "request", "request": request}
    if "id" in subject:
        collection = _COLLECTIONS.get(subject["object"], f"v1/{subject['object']}s")
        url = f"/{collection}/{subject['id']}"
        shape["related_object"] = {"id": subject["id"], "type": subject["object"], "url": url}
    return shape


def told_event_shape(event: Event) -> Json:
    """`v2.core.event` as it is fetched: with its data, where it has any of its own."""
    shape = notification_shape(event)
    if not event.is_thin_only:
        shape["snapshot_event"] = event.id
    return shape if event.thin_data is None else shape | {"data": event.thin_data}


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


def destination_shape(endpoint: WebhookEndpoint, *, with_url: bool, with_secret: bool = False) -> Json:
    """`v2.core.event_destination`. Its address is told to those only who ask for it."""
    return {
        "id": endpoint.id,
        "object": "v2.core.event_destination",
        "created": instant_text(endpoint.created),
        "updated": instant_text(endpoint.updated),
        "description": endpoint.description or "",
        "enabled_events": list(endpoint.enabled_events),
        "event_payload": "thin" if endpoint.thin else "snapshot",
        "events_from": ["@self"],
        "livemode": False,
        "metadata": dict(endpoint.metadata),
        "name": endpoint.name,
        "snapshot_api_version": endpoint.api_version,
        "status": "enabled" if endpoint.enabled else "disabled",
        "status_details": None if endpoint.enabled else {"disabled": {"reason": "user"}},
        "type": "webhook_endpoint",
        "webhook_endpoint": {
            "signing_secret": endpoint.secret if with_secret else None,
            "url": endpoint.url if with_url else None,
        },
    }


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
