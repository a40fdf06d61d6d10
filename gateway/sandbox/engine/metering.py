"""What happens to meters: events are taken, refused, cancelled, or taken and reported as worth nothing.

Source: https://docs.stripe.com/billing/subscriptions/usage-based/recording-usage-api. Stripe answers an identifier
that it knows with an `invalid_request_error` that has no code: only its message tells.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.engine.saving import emit
from gateway.sandbox.meters import Meter, MeterEvent
from gateway.sandbox.rules import DAY_S
from gateway.sandbox.shapes.meters import meter_shape, report_shape
from gateway.sandbox.world import NoSuchRecord, World

UNIQUE_S = DAY_S
"""How long an identifier is refused a second time. Stripe promises "at least 24 hours"; here it is no longer."""
CANCELS_S = DAY_S
OLDEST_S = 35 * DAY_S
AHEAD_S = 300
_DIGITS = 15
_WHOLE = re.compile(r"-?\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What a request reports."""

    event_name: str
    payload: Mapping[str, str]
    identifier: str | None = None
    at: int | None = None


class Worthless(Exception):
    """Why an event cannot count: `code` as error reports have it, `param` as refusals do."""

    def __init__(self, message: str, *, code: str, param: str) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param


def add_meter(world: World, meter: Meter) -> None:
    """billing.meter.created.

    Raises:
        Refused: another active meter has that event name.
    """
    _check_name_is_free(world, meter)
    world.tables.meters[meter.id] = meter
    emit(world, "billing.meter.created", meter_shape(meter))


def change_meter(world: World, meter: Meter, event_type: str) -> None:
    """billing.meter.updated, .deactivated or .reactivated.

    Raises:
        Refused: it is to be active again and another meter has its event name by now.
    """
    if meter.active:
        _check_name_is_free(world, meter)
    world.tables.meters[meter.id] = replace(meter, updated=world.now)
    emit(world, event_type, meter_shape(world.tables.meters[meter.id]))


def _check_name_is_free(world: World, meter: Meter) -> None:
    for other in world.tables.meters.values():
        if other.active and other.event_name == meter.event_name and other.id != meter.id:
            message = f"An active meter ({other.id}) already exists with event name {meter.event_name}."
            raise Refused(message, param="event_name")


def meter_named(world: World, event_name: str) -> Meter:
    """The active meter of an event name.

    Raises:
        Refused: there is none.
    """
    for meter in world.tables.meters.values():
        if meter.active and meter.event_name == event_name:
            return meter
    raise Refused(f'No active meter found for event name "{event_name}".', param="event_name")


def take(world: World, sent: Sent) -> tuple[Meter, MeterEvent]:
    """Take a report in. By the rule `meter_errors: reported`, what is wrong with it is told afterwards by an event.

    Raises:
        Refused: no meter, an identifier that was used within a day, or (by the usual rule) anything else wrong.
        NoSuchRecord: no such customer, by the usual rule.
    """
    meter = meter_named(world, sent.event_name)
    event_id = world.new_id("mtrevt")
    identifier = event_id if sent.identifier is None else sent.identifier
    for known in world.tables.meter_events.values():
        if known.identifier == identifier and world.now - known.created < UNIQUE_S:
            raise Refused(f"An event already exists with identifier {identifier}.", param="identifier")
    event = MeterEvent(
        id=event_id,
        identifier=identifier,
        created=world.now,
        at=world.now if sent.at is None else sent.at,
        meter_id=meter.id,
        customer_id=sent.payload.get(meter.customer_key, ""),
        value=0,
    )
    try:
        event = replace(event, value=_worth(world, meter, sent, event.at))
    except Worthless as error:
        if world.rules.meter_errors != "reported":
            raise _refusal(error, event) from error
        event = replace(event, cancelled=True)
        report = report_shape(error.code, error.message, identifier, world.now)
        emit(world, "v1.billing.meter.error_report_triggered", meter_shape(meter), thin_data=report)
    world.tables.meter_events[event.id] = event
    return meter, event


def _refusal(error: Worthless, event: MeterEvent) -> Exception:
    if error.code == "meter_event_customer_not_found":
        return NoSuchRecord("customer", event.customer_id)
    return Refused(error.message, param=error.param)


def _worth(world: World, meter: Meter, sent: Sent, at: int) -> int:
    """The value that counts.

    Raises:
        Worthless: the payload lacks something, the customer is unknown, or the instant is out of bounds.
    """
    key, value_key = meter.customer_key, meter.value_key
    if not sent.payload.get(key):
        message = f"Customer mapping key {key} not found in payload."
        raise Worthless(message, code="meter_event_no_customer_defined", param="payload")
    customer = world.tables.customers.get(sent.payload[key])
    if customer is None or customer.deleted:
        message = f"No such customer: '{sent.payload[key]}'"
        raise Worthless(message, code="meter_event_customer_not_found", param="payload")
    if at < world.now - OLDEST_S:
        message = "The timestamp must be within the past 35 calendar days."
        raise Worthless(message, code="timestamp_too_far_in_past", param="timestamp")
    if at > world.now + AHEAD_S:
        message = "The timestamp must not be more than 5 minutes in the future."
        raise Worthless(message, code="timestamp_in_future", param="timestamp")
    text = sent.payload.get(value_key, "1" if meter.formula == "count" else "")
    if _WHOLE.fullmatch(text) is None:
        message = f"The value of {value_key} in the payload must be a whole number."
        raise Worthless(message, code="meter_event_invalid_value", param="payload")
    if len(text.lstrip("-")) > _DIGITS:
        message = f"The value of {value_key} must have at most {_DIGITS} digits."
        raise Worthless(message, code="meter_event_value_too_many_digits", param="payload")
    return int(text)


def cancel_event(world: World, event_name: str, identifier: str) -> None:
    """An event does not count any more, if its period is not on a final invoice.

    Raises:
        Refused: no such event, or it was received more than a day ago.
    """
    meter = meter_named(world, event_name)
    for event in reversed(world.tables.meter_events.values()):
        if event.meter_id == meter.id and event.identifier == identifier:
            if world.now - event.created > CANCELS_S:
                message = "You can only cancel events within 24 hours of Stripe receiving them."
                raise Refused(message, param="cancel[identifier]")
            world.tables.meter_events[event.id] = replace(event, cancelled=True)
            return
    raise Refused(f"No event found with identifier {identifier}.", param="cancel[identifier]")
