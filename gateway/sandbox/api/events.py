"""/v1/events, /v1/webhook_endpoints and /v1/account."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from urllib.parse import urlsplit

from gateway.sandbox.api.endpoint import Call, Endpoint
from gateway.sandbox.event_records import Event, WebhookEndpoint
from gateway.sandbox.records import Json
from gateway.sandbox.rules import API_VERSION
from gateway.sandbox.shapes.events import (
    account_shape,
    deleted_shape,
    endpoint_shape,
    event_shape,
)
from gateway.sandbox.shapes.versions import OLDER
from gateway.sandbox.wire.paging import CREATED, PAGE, page
from gateway.sandbox.wire.params import Flag, Labels, Spec, Text, Texts, merge_labels
from gateway.sandbox.wire.problems import invalid
from gateway.sandbox.world import NoSuchRecord, World, find

_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_ENDPOINT_FIELDS: Spec = {"description": Text(clearable=True), "metadata": Labels()}


def shown_event(world: World, event: Event) -> Json:
    """The event with the number of endpoints that have not taken it yet."""
    return event_shape(event, pending_webhooks=world.pending_webhooks(event))


def _retrieve_event(call: Call) -> Json:
    event = find(call.world.tables.events, "event", call.id)
    if event.is_thin_only:
        raise NoSuchRecord("event", call.id)
    return shown_event(call.world, event)


def _list_events(call: Call) -> Json:
    world, params = call.world, call.params
    types = set(params.get("types", ())) | ({params["type"]} if "type" in params else set())
    families = tuple(one[:-1] for one in types if one.endswith(".*"))
    wanted = params.get("delivery_success")
    found = [
        one
        for one in world.tables.events.values()
        if not one.is_thin_only
        and (not types or one.type in types or one.type.startswith(families))
        and (wanted is None or (world.pending_webhooks(one) == 0) == wanted)
    ]
    return page(found, params, "/v1/events", lambda one: shown_event(world, one))


def check_url(url: str) -> str:
    """The sandbox's events never leave this machine."""
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname not in _LOOPBACK:
        message = "Invalid URL: the sandbox delivers to http:// on loopback addresses only"
        raise invalid(message, "url", "url_invalid")
    return url


def new_secret(world: World, endpoint_id: str) -> str:
    """What signs the deliveries of an endpoint."""
    return f"whsec_{hashlib.sha256(f'{world.run}/{endpoint_id}'.encode()).hexdigest()[:32]}"


def _create_endpoint(call: Call) -> Json:
    world, params = call.world, call.params
    endpoint_id = world.new_id("we")
    endpoint = WebhookEndpoint(
        id=endpoint_id,
        created=world.now,
        url=check_url(params["url"]),
        secret=new_secret(world, endpoint_id),
        enabled_events=tuple(params["enabled_events"]),
        description=params.get("description"),
        api_version=params.get("api_version"),
        metadata=merge_labels({}, params),
    )
    world.tables.endpoints[endpoint.id] = endpoint
    return endpoint_shape(endpoint, with_secret=True)


def _endpoint(call: Call) -> WebhookEndpoint:
    found = find(call.world.tables.endpoints, "webhook endpoint", call.id)
    if found.is_destination:
        raise NoSuchRecord("webhook endpoint", call.id)
    return found


def _retrieve_endpoint(call: Call) -> Json:
    return endpoint_shape(_endpoint(call))


def _update_endpoint(call: Call) -> Json:
    endpoint, params = _endpoint(call), call.params
    changed = replace(
        endpoint,
        url=check_url(params.get("url", endpoint.url)),
        enabled_events=tuple(params.get("enabled_events", endpoint.enabled_events)),
        description=params.get("description", endpoint.description),
        enabled=not params.get("disabled", not endpoint.enabled),
        metadata=merge_labels(endpoint.metadata, params),
    )
    call.world.tables.endpoints[endpoint.id] = changed
    return endpoint_shape(changed)


def _delete_endpoint(call: Call) -> Json:
    endpoint = _endpoint(call)
    del call.world.tables.endpoints[endpoint.id]
    return deleted_shape("webhook_endpoint", endpoint.id)


def _list_endpoints(call: Call) -> Json:
    endpoints = [one for one in call.world.tables.endpoints.values() if not one.is_destination]
    return page(endpoints, call.params, "/v1/webhook_endpoints", endpoint_shape)


def _account_id(world: World) -> str:
    return f"acct_{world.run}0001"


def _account(call: Call) -> Json:
    return account_shape(_account_id(call.world))


def _account_by_id(call: Call) -> Json:
    if call.id != _account_id(call.world):
        raise NoSuchRecord("account", call.id)
    return account_shape(call.id)


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/v1/events",
        act=_list_events,
        spec={"type": Text(), "types": Texts(), "delivery_success": Flag(), **CREATED, **PAGE},
    ),
    Endpoint(method="GET", path="/v1/events/{id}", act=_retrieve_event),
    Endpoint(
        method="POST",
        path="/v1/webhook_endpoints",
        act=_create_endpoint,
        spec={
            "url": Text(required=True),
            "enabled_events": Texts(required=True),
            "api_version": Text(choices=(API_VERSION, OLDER)),
            **_ENDPOINT_FIELDS,
        },
    ),
    Endpoint(method="GET", path="/v1/webhook_endpoints", act=_list_endpoints, spec=PAGE),
    Endpoint(method="GET", path="/v1/webhook_endpoints/{id}", act=_retrieve_endpoint),
    Endpoint(
        method="POST",
        path="/v1/webhook_endpoints/{id}",
        act=_update_endpoint,
        spec={
            "url": Text(),
            "enabled_events": Texts(),
            "disabled": Flag(),
            **_ENDPOINT_FIELDS,
        },
    ),
    Endpoint(method="DELETE", path="/v1/webhook_endpoints/{id}", act=_delete_endpoint),
    Endpoint(method="GET", path="/v1/account", act=_account),
    Endpoint(method="GET", path="/v1/accounts/{id}", act=_account_by_id),
)
