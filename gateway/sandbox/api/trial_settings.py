"""What becomes of a trial that ends, as subscriptions and checkouts are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.sandbox.wire.params import Shape, Text

TRIAL_SETTINGS = Shape(
    fields={
        "end_behavior": Shape(
            fields={
                "missing_payment_method": Text(required=True, choices=("cancel", "create_invoice", "pause")),
            },
            required=True,
        )
    }
)


def trial_without_method(params: Mapping[str, Any]) -> str:
    """What becomes of a trial that ends without a payment method."""
    settings = params.get("trial_settings", {}).get("end_behavior", {})
    return str(settings.get("missing_payment_method", "create_invoice"))
