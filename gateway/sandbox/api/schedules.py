"""/v1/subscription_schedules. One begins with a subscription that there is, and in no other way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.sandbox.api.endpoint import Call, Endpoint
from gateway.sandbox.api.phase_settings import PHASE_SETTINGS, read_settings
from gateway.sandbox.api.subscriptions import PRORATION
from gateway.sandbox.engine.phase_settings import days_to_pay
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.engine.scheduled import let_go, put_schedule, schedule_of
from gateway.sandbox.engine.schedules import PhaseOrder, must_run, plan_phases, replan, take_over
from gateway.sandbox.engine.subscriptions import cancel
from gateway.sandbox.records import Json
from gateway.sandbox.schedule_records import PhaseItem
from gateway.sandbox.shapes.schedules import schedule_shape
from gateway.sandbox.wire.paging import CREATED, PAGE, page
from gateway.sandbox.wire.params import Each, Flag, Labels, Shape, Text, Whole, merge_labels
from gateway.sandbox.world import World

_END = Text(choices=("cancel", "none", "release", "renew"))
_PHASE = Each(
    fields={
        "items": Each(
            fields={
                "price": Text(required=True),
                "quantity": Whole(),
                "metadata": Labels(),
            },
            required=True,
        ),
        "start_date": Whole(words=("now",)),
        "end_date": Whole(words=("now",)),
        "duration": Shape(
            fields={
                "interval": Text(required=True, choices=("day", "month", "week", "year")),
                "interval_count": Whole(least=1),
            }
        ),
        "proration_behavior": PRORATION,
        "trial_end": Whole(),
        "discounts": Each(fields={"discount": Text(required=True)}),
        "metadata": Labels(),
        **PHASE_SETTINGS,
    }
)
_DEFAULTS = Shape(fields={"billing_cycle_anchor": Text(choices=("automatic",)), **PHASE_SETTINGS})


def _create(call: Call) -> Json:
    schedule = take_over(call.world, call.params["from_subscription"])
    return schedule_shape(call.world, schedule)


def _retrieve(call: Call) -> Json:
    return schedule_shape(call.world, schedule_of(call.world, call.id))


def _update(call: Call) -> Json:
    world, params = call.world, call.params
    schedule = schedule_of(world, call.id)
    must_run(schedule, "update")
    changed = replace(
        schedule,
        end_behavior=params.get("end_behavior", schedule.end_behavior),
        defaults=read_settings(world, schedule.customer_id, params.get("default_settings", {}), schedule.defaults),
        metadata=merge_labels(schedule.metadata, params),
    )
    if "phases" not in params:
        for known in changed.phases:
            days_to_pay(known, changed.defaults)
        put_schedule(world, changed)
        return schedule_shape(world, changed)
    orders = [_order(world, schedule.customer_id, phase) for phase in params["phases"]]
    if not orders:
        raise Refused("A subscription schedule must have at least one phase.", param="phases")
    phases = plan_phases(world, schedule, orders)
    behavior = params.get("proration_behavior", "create_prorations")
    return schedule_shape(world, replan(world, changed, phases, behavior))


def _order(world: World, customer_id: str, phase: Mapping[str, Any]) -> PhaseOrder:
    if "duration" in phase and "end_date" in phase:
        raise Refused("You may only specify one of these parameters: duration, end_date.", param="phases")
    duration = phase.get("duration")
    return PhaseOrder(
        items=tuple(_item(world, item) for item in phase["items"]),
        starts_at=phase.get("start_date"),
        ends_at=phase.get("end_date"),
        lasts=None if duration is None else (duration["interval"], duration.get("interval_count", 1)),
        proration_behavior=phase.get("proration_behavior", "create_prorations"),
        trial_ends_at=phase.get("trial_end"),
        discounts=tuple(one["discount"] for one in phase.get("discounts", ())),
        settings=read_settings(world, customer_id, phase),
        metadata=merge_labels({}, phase),
    )


def _item(world: World, item: Mapping[str, Any]) -> PhaseItem:
    is_metered = world.price(item["price"]).meter_id is not None
    if is_metered and "quantity" in item:
        message = "You cannot set the quantity for metered plans. Instead, you should report usage to its meter."
        raise Refused(message, param="phases")
    quantity = 0 if is_metered else item.get("quantity", 1)
    return PhaseItem(price_id=item["price"], quantity=quantity, metadata=merge_labels({}, item))


def _release(call: Call) -> Json:
    schedule = schedule_of(call.world, call.id)
    must_run(schedule, "release")
    return schedule_shape(call.world, let_go(call.world, schedule))


def _cancel(call: Call) -> Json:
    """With the schedule its subscription ends, at once."""
    world, params = call.world, call.params
    schedule = schedule_of(world, call.id)
    must_run(schedule, "cancel")
    if schedule.subscription_id is not None:
        prorate, invoice_now = params.get("prorate", True), params.get("invoice_now", True)
        cancel(world, schedule.subscription_id, prorate=prorate, invoice_now=invoice_now)
    return schedule_shape(world, schedule_of(world, call.id))


def _list(call: Call) -> Json:
    world, params, whose = call.world, call.params, call.whose
    found = [
        one
        for one in world.tables.schedules.values()
        if whose in {None, one.customer_id} and not params.get("scheduled")
    ]
    return page(found, params, "/v1/subscription_schedules", lambda one: schedule_shape(world, one))


ENDPOINTS = (
    Endpoint(
        method="POST",
        path="/v1/subscription_schedules",
        act=_create,
        spec={"from_subscription": Text(required=True)},
    ),
    Endpoint(
        method="GET",
        path="/v1/subscription_schedules",
        act=_list,
        spec={"customer": Text(), "scheduled": Flag(), **CREATED, **PAGE},
    ),
    Endpoint(method="GET", path="/v1/subscription_schedules/{id}", act=_retrieve),
    Endpoint(
        method="POST",
        path="/v1/subscription_schedules/{id}",
        act=_update,
        spec={
            "phases": _PHASE,
            "default_settings": _DEFAULTS,
            "end_behavior": _END,
            "proration_behavior": PRORATION,
            "metadata": Labels(),
        },
    ),
    Endpoint(
        method="POST",
        path="/v1/subscription_schedules/{id}/release",
        act=_release,
        spec={"preserve_cancel_date": Flag()},
    ),
    Endpoint(
        method="POST",
        path="/v1/subscription_schedules/{id}/cancel",
        act=_cancel,
        spec={"prorate": Flag(), "invoice_now": Flag()},
    ),
)
