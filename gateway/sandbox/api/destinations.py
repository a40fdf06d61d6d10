"""/v2/core/event_destinations, and the events of that API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.sandbox.api.endpoint import Call, Endpoint
from gateway.sandbox.api.events import check_url, new_secret
from gateway.sandbox.engine.saving import ping
from gateway.sandbox.event_records import Event, WebhookEndpoint
from gateway.sandbox.records import Json
from gateway.sandbox.rules import API_VERSION
from gateway.sandbox.shapes.events import destination_shape, told_event_shape
from gateway.sandbox.shapes.versions import OLDER
from gateway.sandbox.wire.paging import PAGE_V2, page_v2, within
from gateway.sandbox.wire.params import Labels, Moments, Shape, Spec, Text, Texts, merge_labels
from gateway.sandbox.wire.problems import invalid
from gateway.sandbox.world import NoSuchRecord, World, find

_MOST = 16
"""Of endpoints and destinations together. Source: https://docs.stripe.com/webhooks#set-up-your-endpoint"""
_SELF = "@self"
_URL, _SECRET = "webhook_endpoint.url", "webhook_endpoint.signing_secret"
_LIST = "/v2/core/event_destinations"
_EVENTS = "/v2/core/events"
_INCLUDE: Spec = {"include": Texts()}


def _shape(call: Call, one: WebhookEndpoint, *, is_new: bool = False) -> Json:
    """The destination with what was asked for beside it; the secret is told only as it is made."""
    include = set(call.params.get("include", ()))
    unknown = include - ({_URL, _SECRET} if is_new else {_URL})
    if unknown:
        raise invalid(f"Cannot include: {', '.join(sorted(unknown))}", "include")
    return destination_shape(one, with_url=_URL in include, with_secret=_SECRET in include)


def _destination(call: Call) -> WebhookEndpoint:
    found = find(call.world.tables.endpoints, "event destination", call.id)
    if not found.is_destination:
        raise NoSuchRecord("event destination", call.id)
    return found


def _check_types(types: list[str], *, is_thin: bool) -> tuple[str, ...]:
    """Thin events have names of their own, with the API's version in front."""
    wrong = [one for one in types if one != "*" and one.startswith(("v1.", "v2.")) != is_thin]
    if wrong or not types:
        raise invalid(f"Invalid event types: {', '.join(wrong) or 'there are none'}", "enabled_events")
    return tuple(types)


def _create(call: Call) -> Json:
    world, params = call.world, call.params
    if len(world.tables.endpoints) >= _MOST:
        raise invalid(f"You have reached the maximum of {_MOST} event destinations.", "name")
    is_thin = params["event_payload"] == "thin"
    if is_thin and "snapshot_api_version" in params:
        raise invalid("Thin events are not pinned to an API version", "snapshot_api_version")
    if "webhook_endpoint" not in params:
        raise invalid("A destination of this type needs an address", "webhook_endpoint")
    if params.get("events_from", [_SELF]) != [_SELF]:
        raise invalid("The sandbox has no other accounts", "events_from")
    destination_id = world.new_id("ed_test")
    made = WebhookEndpoint(
        id=destination_id,
        created=world.now,
        updated=world.now,
        url=check_url(params["webhook_endpoint"]["url"]),
        secret=new_secret(world, destination_id),
        enabled_events=_check_types(params["enabled_events"], is_thin=is_thin),
        name=params["name"],
        description=params.get("description"),
        api_version=None if is_thin else params.get("snapshot_api_version", API_VERSION),
        metadata=merge_labels({}, params),
        thin=is_thin,
        is_destination=True,
    )
    world.tables.endpoints[made.id] = made
    return _shape(call, made, is_new=True)


def _retrieve(call: Call) -> Json:
    return _shape(call, _destination(call))


def _save(call: Call, changed: WebhookEndpoint) -> Json:
    changed = replace(changed, updated=call.world.now)
    call.world.tables.endpoints[changed.id] = changed
    return _shape(call, changed)


def _update(call: Call) -> Json:
    one, params = _destination(call), call.params
    types = params.get("enabled_events")
    return _save(
        call,
        replace(
            one,
            url=check_url(params["webhook_endpoint"]["url"]) if "webhook_endpoint" in params else one.url,
            enabled_events=one.enabled_events if types is None else _check_types(types, is_thin=one.thin),
            name=params.get("name", one.name),
            description=params.get("description", one.description),
            metadata=merge_labels(one.metadata, params),
        ),
    )


def _enable(call: Call) -> Json:
    return _save(call, replace(_destination(call), enabled=True))


def _disable(call: Call) -> Json:
    return _save(call, replace(_destination(call), enabled=False))


def _delete(call: Call) -> Json:
    one = _destination(call)
    del call.world.tables.endpoints[one.id]
    return {"id": one.id, "object": "v2.core.event_destination"}


def _ping(call: Call) -> Json:
    return told_event_shape(ping(call.world, _destination(call)))


def _list(call: Call) -> Json:
    found = [one for one in call.world.tables.endpoints.values() if one.is_destination]
    return page_v2(found, call.params, _LIST, lambda one: _shape(call, one))


def _retrieve_event(call: Call) -> Json:
    return told_event_shape(_told_event(call.world, call.id))


def _told_event(world: World, thin_id: str) -> Event:
    found = next((one for one in world.tables.events.values() if one.thin_id == thin_id), None)
    if found is None:
        raise NoSuchRecord("event", thin_id)
    return found


def _list_events(call: Call) -> Json:
    """All of them: whether an event was delivered is no question that this API answers."""
    found = [one for one in call.world.tables.events.values() if _is_asked_for(one, call.params)]
    return page_v2(found, call.params, _EVENTS, told_event_shape, cursor=lambda one: one.thin_id)


def _is_asked_for(event: Event, params: Mapping[str, Any]) -> bool:
    return (
        event.thin_type in params.get("types", (event.thin_type,))
        and within(event.created, params.get("created"))
        and params.get("object_id", event.data_object.get("id")) == event.data_object.get("id")
    )


_WHERE: Spec = {"url": Text(required=True)}
_ONE = f"{_LIST}/{{id}}"

ENDPOINTS = (
    Endpoint(
        method="POST",
        path=_LIST,
        act=_create,
        spec={
            "name": Text(required=True),
            "type": Text(required=True, choices=("webhook_endpoint",)),
            "event_payload": Text(required=True, choices=("snapshot", "thin")),
            "enabled_events": Texts(required=True),
            "events_from": Texts(),
            "snapshot_api_version": Text(choices=(API_VERSION, OLDER)),
            "description": Text(),
            "webhook_endpoint": Shape(fields=_WHERE),
            "metadata": Labels(),
            **_INCLUDE,
        },
    ),
    Endpoint(method="GET", path=_LIST, act=_list, spec={**_INCLUDE, **PAGE_V2}),
    Endpoint(method="GET", path=_ONE, act=_retrieve, spec=_INCLUDE),
    Endpoint(
        method="POST",
        path=_ONE,
        act=_update,
        spec={
            "name": Text(),
            "enabled_events": Texts(),
            "description": Text(),
            "webhook_endpoint": Shape(fields=_WHERE),
            "metadata": Labels(),
            **_INCLUDE,
        },
    ),
    Endpoint(method="DELETE", path=_ONE, act=_delete),
    Endpoint(method="POST", path=f"{_ONE}/enable", act=_enable),
    Endpoint(method="POST", path=f"{_ONE}/disable", act=_disable),
    Endpoint(method="POST", path=f"{_ONE}/ping", act=_ping),
    Endpoint(method="GET", path=f"{_EVENTS}/{{id}}", act=_retrieve_event),
    Endpoint(
        method="GET",
        path=_EVENTS,
        act=_list_events,
        spec={"types": Texts(), "created": Moments(), "object_id": Text(), **PAGE_V2},
    ),
)
