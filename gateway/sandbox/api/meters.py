"""/v1/billing/meters, meter events, their adjustments and summaries."""

from __future__ import annotations

from dataclasses import replace

from gateway.sandbox.api.endpoint import Call, Endpoint
from gateway.sandbox.engine.metering import Sent, add_meter, cancel_event, change_meter, take
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.meters import FORMULAS, HOUR_S, WINDOWS_S, Meter, aggregated, counted
from gateway.sandbox.records import Json
from gateway.sandbox.shapes.lists import list_shape
from gateway.sandbox.shapes.meters import adjustment_shape, meter_event_shape, meter_shape, summary_shape
from gateway.sandbox.wire.paging import PAGE, page
from gateway.sandbox.wire.params import Payload, Shape, Text, Whole
from gateway.sandbox.world import find

_MINUTE_S = 60
_USUAL_PAGE = 10


def _create(call: Call) -> Json:
    world, params = call.world, call.params
    meter = Meter(
        id=world.new_id("mtr"),
        created=world.now,
        updated=world.now,
        display_name=params["display_name"],
        event_name=params["event_name"],
        formula=params["default_aggregation"]["formula"],
        window=params.get("event_time_window"),
        customer_key=params.get("customer_mapping", {}).get("event_payload_key", "stripe_customer_id"),
        value_key=params.get("value_settings", {}).get("event_payload_key", "value"),
    )
    add_meter(world, meter)
    return meter_shape(meter)


def _meter(call: Call) -> Meter:
    return find(call.world.tables.meters, "meter", call.id)


def _retrieve(call: Call) -> Json:
    return meter_shape(_meter(call))


def _update(call: Call) -> Json:
    meter = _meter(call)
    changed = replace(meter, display_name=call.params.get("display_name", meter.display_name))
    change_meter(call.world, changed, "billing.meter.updated")
    return meter_shape(_meter(call))


def _list(call: Call) -> Json:
    status = call.params.get("status")
    found = [one for one in call.world.tables.meters.values() if status is None or one.active == (status == "active")]
    return page(found, call.params, "/v1/billing/meters", meter_shape)


def _deactivate(call: Call) -> Json:
    meter = _meter(call)
    if not meter.active:
        raise Refused("This meter is already inactive.")
    change_meter(call.world, replace(meter, deactivated_at=call.world.now), "billing.meter.deactivated")
    return meter_shape(_meter(call))


def _reactivate(call: Call) -> Json:
    meter = _meter(call)
    if meter.active:
        raise Refused("This meter is already active.")
    change_meter(call.world, replace(meter, deactivated_at=None), "billing.meter.reactivated")
    return meter_shape(_meter(call))


def _create_event(call: Call) -> Json:
    params = call.params
    sent = Sent(
        event_name=params["event_name"],
        payload=params["payload"],
        identifier=params.get("identifier"),
        at=params.get("timestamp"),
    )
    meter, event = take(call.world, sent)
    return meter_event_shape(meter, event) | {"payload": dict(sent.payload)}


def _adjust(call: Call) -> Json:
    name, identifier = call.params["event_name"], call.params["cancel"]["identifier"]
    cancel_event(call.world, name, identifier)
    return adjustment_shape(name, identifier)


def _summaries(call: Call) -> Json:
    """One summary of the whole range, or one for each hour or day in which something was reported, newest first."""
    world, params, meter = call.world, call.params, _meter(call)
    customer = world.customer(params["customer"])
    starts_at, ends_at = params["start_time"], params["end_time"]
    size_s = WINDOWS_S.get(params.get("value_grouping_window", ""))
    _check_bounds(starts_at, ends_at, size_s or _MINUTE_S)
    url = f"/v1/billing/meters/{meter.id}/event_summaries"
    found = []
    for start, end in _windows(starts_at, ends_at, size_s):
        events = counted(
            world.tables.meter_events.values(),
            meter_id=meter.id,
            customer_id=customer.id,
            starts_at=start,
            ends_at=end,
        )
        if events or size_s is None:
            found.append(summary_shape(meter, customer.id, start, end, aggregated(meter, events)))
    found.reverse()
    after = params.get("starting_after")
    ids = [one["id"] for one in found]
    begin = ids.index(after) + 1 if after in ids else 0
    limit = params.get("limit", _USUAL_PAGE)
    return list_shape(found[begin : begin + limit], url, has_more=len(found) > begin + limit)


def _windows(starts_at: int, ends_at: int, size_s: int | None) -> list[tuple[int, int]]:
    if size_s is None:
        return [(starts_at, ends_at)]
    return [(start, start + size_s) for start in range(starts_at, ends_at, size_s)]


def _check_bounds(starts_at: int, ends_at: int, step_s: int) -> None:
    names = {_MINUTE_S: "minute", HOUR_S: "hour"}
    for name, at in (("start_time", starts_at), ("end_time", ends_at)):
        if at % step_s:
            raise Refused(f"`{name}` must be aligned with {names.get(step_s, 'day')} boundaries.", param=name)
    if ends_at <= starts_at:
        raise Refused("`end_time` must be after `start_time`.", param="end_time")


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/billing/meters",
        act=_create,
        spec={
            "display_name": Text(required=True),
            "event_name": Text(required=True),
            "default_aggregation": Shape(
                fields={"formula": Text(required=True, choices=FORMULAS)},
                required=True,
            ),
            "customer_mapping": Shape(
                fields={
                    "event_payload_key": Text(required=True),
                    "type": Text(required=True, choices=("by_id",)),
                }
            ),
            "event_time_window": Text(choices=tuple(WINDOWS_S)),
            "value_settings": Shape(fields={"event_payload_key": Text(required=True)}),
        },
    ),
    Endpoint(
        method="GET",
        path="/v1/billing/meters",
        act=_list,
        spec={"status": Text(choices=("active", "inactive")), **PAGE},
    ),
    Endpoint(method="GET", path="/v1/billing/meters/{id}", act=_retrieve),
    Endpoint(method="POST", path="/v1/billing/meters/{id}", act=_update, spec={"display_name": Text()}),
    Endpoint(method="POST", path="/v1/billing/meters/{id}/deactivate", act=_deactivate),
    Endpoint(method="POST", path="/v1/billing/meters/{id}/reactivate", act=_reactivate),
    Endpoint(
        method="GET",
        path="/v1/billing/meters/{id}/event_summaries",
        act=_summaries,
        spec={
            "customer": Text(required=True),
            "start_time": Whole(required=True),
            "end_time": Whole(required=True),
            "value_grouping_window": Text(choices=tuple(WINDOWS_S)),
            **PAGE,
        },
    ),
    Endpoint(
        method="POST",
        path="/v1/billing/meter_events",
        act=_create_event,
        spec={
            "event_name": Text(required=True),
            "identifier": Text(),
            "payload": Payload(required=True),
            "timestamp": Whole(),
        },
    ),
    Endpoint(
        method="POST",
        path="/v1/billing/meter_event_adjustments",
        act=_adjust,
        spec={
            "event_name": Text(required=True),
            "type": Text(required=True, choices=("cancel",)),
            "cancel": Shape(fields={"identifier": Text(required=True)}, required=True),
        },
    ),
)
