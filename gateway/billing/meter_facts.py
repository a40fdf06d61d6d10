"""How a Billing Meter counts what it is told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import stripe


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterFacts:
    """Facts of one meter.

    Source: https://docs.stripe.com/api/billing/meter/object
    """

    meter_id: str
    event_name: str
    is_active: bool
    formula: str
    """`sum`, `count` or `last`."""
    customer_key: str
    """Where an event says whose it is."""
    value_key: str
    """Where an event says how many units."""


def read_meter(meter: stripe.billing.Meter) -> MeterFacts:
    """Facts of a meter as Stripe has it."""
    return MeterFacts(
        meter_id=meter.id,
        event_name=meter.event_name,
        is_active=meter.status == "active",
        formula=meter.default_aggregation.formula,
        customer_key=meter.customer_mapping.event_payload_key,
        value_key=meter.value_settings.event_payload_key,
    )
