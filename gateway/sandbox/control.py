"""The controls under /_sandbox: clock, rules, faults, deliveries, what no API can cause, and a look at the state."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from typing import Annotated, Any

import msgspec
from litestar import delete, get, post
from litestar.exceptions import ClientException
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath, FromQuery, JSONBody
from msgspec import structs

from gateway.sandbox.delivery.faults import Faults
from gateway.sandbox.happenings import happening_handlers
from gateway.sandbox.records import Json
from gateway.sandbox.rules import FINAL_ACTIONS, FINALIZATION_ERRORS, METER_ERRORS, Rules
from gateway.sandbox.simulator import Simulator
from gateway.sandbox.world import NoSuchRecord, find

_LONGEST_WAIT_S = 300.0


class Advance(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How far to move the clock: by `seconds`, or to the instant `until`. `settle`: see Simulator.advance."""

    seconds: float | None = None
    until: float | None = None
    settle: bool = False


class Drain(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """How long to wait for the deliveries."""

    timeout_s: float = 30.0


class RulesPatch(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which of the rules to change; see Rules."""

    draft_s: int | None = None
    retry_after_days: tuple[int, ...] | None = None
    final_after_days: int | None = None
    final_action: str | None = None
    delayed_s: int | None = None
    finalization_error: str | None = None
    portal_is_set_up: bool | None = None
    portal_cancels_by: str | None = None
    meter_errors: str | None = None
    searches_per_s: Annotated[int, msgspec.Meta(ge=0)] | None = None
    has_search: bool | None = None


class DeliveryPatch(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which of the delivery rules to change; see DeliveryRules."""

    timeout_s: Annotated[float, msgspec.Meta(gt=0)] | None = None
    first_retry_s: Annotated[float, msgspec.Meta(ge=0)] | None = None
    retry_factor: Annotated[float, msgspec.Meta(ge=1)] | None = None
    longest_retry_s: Annotated[float, msgspec.Meta(ge=0)] | None = None
    attempts: Annotated[int, msgspec.Meta(ge=1)] | None = None
    hold_s: Annotated[float, msgspec.Meta(ge=0)] | None = None
    on_test_clock: bool | None = None


def control_handlers(simulator: Simulator) -> list[HTTPRouteHandler]:
    """Every control, bound to one simulator."""
    return [
        *_clock_handlers(simulator),
        *_fault_handlers(simulator),
        *_delivery_handlers(simulator),
        *happening_handlers(simulator),
    ]


def _check_words(rules: Rules) -> None:
    known = {"final_action": FINAL_ACTIONS, "finalization_error": FINALIZATION_ERRORS, "meter_errors": METER_ERRORS}
    for name, words in known.items():
        if getattr(rules, name) not in words:
            raise ClientException(f"{name} must be one of {', '.join(word or 'nothing' for word in words)}")


def _given(patch: msgspec.Struct) -> Json:
    return {name: value for name, value in structs.asdict(patch).items() if value is not None}


def _clock(simulator: Simulator) -> Json:
    return {
        "now": simulator.now(),
        "offset_s": simulator.offset_s,
        "next_due_at": simulator.next_due_at(),
    }


def _clock_handlers(simulator: Simulator) -> list[HTTPRouteHandler]:
    @get("/_sandbox/clock")
    async def read_clock() -> Json:
        simulator.catch_up()
        return _clock(simulator)

    @post("/_sandbox/clock/advance", status_code=200)
    async def advance(data: JSONBody[Advance]) -> Json:
        if (data.seconds is None) == (data.until is None):
            raise ClientException("give either seconds or until")
        seconds = data.seconds if data.seconds is not None else (data.until or 0.0) - simulator.now()
        try:
            await simulator.advance(seconds, settle=data.settle)
        except (ValueError, OverflowError) as error:
            raise ClientException(str(error)) from error
        return _clock(simulator)

    @get("/_sandbox/rules")
    async def read_rules() -> Json:
        return asdict(simulator.world.rules)

    @post("/_sandbox/rules", status_code=200)
    async def change_rules(data: JSONBody[RulesPatch]) -> Json:
        changes = _given(data)
        if "retry_after_days" in changes:
            changes["retry_after_days"] = tuple(changes["retry_after_days"])
        rules = Rules(**{**asdict(simulator.world.rules), **changes})
        _check_words(rules)
        simulator.set_rules(rules)
        return asdict(rules)

    @get("/_sandbox/state")
    async def read_state() -> Json:
        simulator.catch_up()
        return _summary(simulator)

    return [read_clock, advance, read_rules, change_rules, read_state]


def _summary(simulator: Simulator) -> Json:
    tables = simulator.world.tables
    return {
        "clock": _clock(simulator),
        "customers": len(tables.customers),
        "subscriptions": [
            {
                "id": one.id,
                "customer": one.customer_id,
                "status": one.status,
                "prices": [tables.prices[item.price_id].lookup_key or item.price_id for item in one.items],
                "current_period_end": one.period_ends_at,
                "cancel_at": one.cancel_at,
                "latest_invoice": one.latest_invoice_id,
            }
            for one in tables.subscriptions.values()
        ],
        "invoices": Counter(one.status for one in tables.invoices.values()),
        "events": len(tables.events),
        "deliveries": Counter(one.status for one in simulator.deliverer.log.values()),
        "faults": msgspec.to_builtins(_faults(simulator)),
    }


def _faults(simulator: Simulator) -> Faults:
    return msgspec.structs.replace(simulator.deliverer.faults, api=tuple(simulator.api_faults))


def _fault_handlers(simulator: Simulator) -> list[HTTPRouteHandler]:
    @get("/_sandbox/faults")
    async def read_faults() -> Faults:
        return _faults(simulator)

    @post("/_sandbox/faults", status_code=200)
    async def set_faults(data: JSONBody[Faults]) -> Faults:
        simulator.set_faults(data)
        return _faults(simulator)

    @delete("/_sandbox/faults", status_code=200)
    async def clear_faults() -> Faults:
        simulator.set_faults(Faults())
        return _faults(simulator)

    return [read_faults, set_faults, clear_faults]


def _delivery_handlers(simulator: Simulator) -> list[HTTPRouteHandler]:
    @get("/_sandbox/deliveries")
    async def list_deliveries(
        status: FromQuery[str | None] = None, event: FromQuery[str | None] = None
    ) -> list[dict[str, Any]]:
        return [
            one.shape()
            for one in simulator.deliverer.log.values()
            if status in {None, one.status} and event in {None, one.event.id}
        ]

    @get("/_sandbox/deliveries/rules")
    async def read_rules() -> Json:
        return asdict(simulator.deliverer.rules)

    @post("/_sandbox/deliveries/rules", status_code=200)
    async def change_rules(data: JSONBody[DeliveryPatch]) -> Json:
        simulator.deliverer.rules = replace(simulator.deliverer.rules, **_given(data))
        return asdict(simulator.deliverer.rules)

    @post("/_sandbox/deliveries/drain", status_code=200)
    async def drain(data: JSONBody[Drain | None] = None) -> Json:
        simulator.catch_up()
        wait_s = min((data or Drain()).timeout_s, _LONGEST_WAIT_S)
        drained = await simulator.deliverer.drain(wait_s)
        return {"drained": drained, "unsent": simulator.deliverer.unsent}

    @post("/_sandbox/deliveries/release", status_code=200)
    async def release() -> Json:
        simulator.deliverer.release()
        return {"unsent": simulator.deliverer.unsent}

    @post("/_sandbox/events/{event_id:str}/resend", status_code=200)
    async def resend(event_id: FromPath[str]) -> Json:
        try:
            event = find(simulator.world.tables.events, "event", event_id)
        except NoSuchRecord as error:
            raise ClientException(str(error), status_code=404) from error
        simulator.deliverer.resend(event)
        return {"unsent": simulator.deliverer.unsent}

    return [list_deliveries, read_rules, change_rules, drain, release, resend]
