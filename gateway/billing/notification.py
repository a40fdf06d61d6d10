"""Thin events: what an event destination sends instead of a snapshot. No I/O, no clock.

A notification says what happened to which object and shows nothing of it: as an event only asks
for a sync, that is enough. A type of the API's first version carries `v1.` in front.

Source: https://docs.stripe.com/event-destinations#thin-payload, `EventNotification` of the SDK.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

NOTIFICATION = "v2.core.event"
"""`object` of every thin event."""
_CUSTOMER = "cus_"


def created_at(event: Mapping[str, Any]) -> int | None:
    """Unix seconds of a thin event, which dates itself in RFC 3339; None if it does not."""
    created = event.get("created")
    try:
        at = datetime.fromisoformat(created) if isinstance(created, str) else None
    except ValueError:
        return None
    return None if at is None or at.tzinfo is None else int(at.timestamp())


def related_object(event: Mapping[str, Any]) -> tuple[str, str] | None:
    """Kind and id of the object that a thin event is about; None if it names none."""
    related = event.get("related_object")
    if not isinstance(related, dict):
        return None
    kind, object_id = related.get("type"), related.get("id")
    return (kind, object_id) if isinstance(kind, str) and isinstance(object_id, str) else None


def notified_customer(event: Mapping[str, Any]) -> str | None:
    """The Stripe customer, if the event is about the customer itself; else it must be asked for."""
    related = related_object(event)
    return related[1] if related is not None and related[1].startswith(_CUSTOMER) else None
