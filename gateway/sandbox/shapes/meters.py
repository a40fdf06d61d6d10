"""Meters, their events and summaries, and the report of events that came to nothing."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway.sandbox.meters import Meter, MeterEvent
from gateway.sandbox.records import Json

_REPORT_S = 10


def meter_shape(meter: Meter) -> Json:
    """`billing.meter`."""
    return {
        "id": meter.id,
        "object": "billing.meter",
        "created": meter.created,
        "customer_mapping": {"event_payload_key": meter.customer_key, "type": "by_id"},
        "default_aggregation": {"formula": meter.formula},
        "display_name": meter.display_name,
        "event_name": meter.event_name,
        "event_time_window": meter.window,
        "livemode": False,
        "status": "active" if meter.active else "inactive",
        "status_transitions": {"deactivated_at": meter.deactivated_at},
        "updated": meter.updated,
        "value_settings": {"event_payload_key": meter.value_key},
    }


def meter_event_shape(meter: Meter, event: MeterEvent) -> Json:
    """`billing.meter_event`: what was taken in, as it was sent."""
    return {
        "object": "billing.meter_event",
        "created": event.created,
        "event_name": meter.event_name,
        "identifier": event.identifier,
        "livemode": False,
        "payload": {meter.customer_key: event.customer_id, meter.value_key: str(event.value)},
        "timestamp": event.at,
    }


def adjustment_shape(event_name: str, identifier: str) -> Json:
    """`billing.meter_event_adjustment`."""
    return {
        "object": "billing.meter_event_adjustment",
        "cancel": {"identifier": identifier},
        "event_name": event_name,
        "livemode": False,
        "status": "pending",
        "type": "cancel",
    }


def summary_shape(meter: Meter, customer_id: str, starts_at: int, ends_at: int, value: int) -> Json:
    """`billing.meter_event_summary`; its id follows from what it is of."""
    return {
        "id": f"mtrusg_{meter.id.removeprefix('mtr_')}{customer_id.removeprefix('cus_')}{starts_at}",
        "object": "billing.meter_event_summary",
        "aggregated_value": float(value),
        "end_time": ends_at,
        "livemode": False,
        "meter": meter.id,
        "start_time": starts_at,
    }


def report_shape(code: str, message: str, identifier: str, at: int) -> Json:
    """The data of `v1.billing.meter.error_report_triggered`, of one event that was taken and did not count."""
    sample = {"error_message": message, "request": {"identifier": identifier}}
    start = at - at % _REPORT_S
    return {
        "developer_message_summary": "There is 1 invalid event",
        "reason": {
            "error_count": 1,
            "error_types": [{"code": code, "error_count": 1, "sample_errors": [sample]}],
        },
        "validation_end": instant_text(start + _REPORT_S),
        "validation_start": instant_text(start),
    }


def instant_text(at: int) -> str:
    """As the v2 API writes instants."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
