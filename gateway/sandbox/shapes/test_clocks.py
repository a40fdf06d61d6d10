"""Test clocks."""

from __future__ import annotations

from gateway.sandbox.records import Json, TestClock
from gateway.sandbox.rules import DAY_S

_KEPT_S = 30 * DAY_S


def test_clock_shape(clock: TestClock) -> Json:
    """`test_helpers.test_clock`."""
    target = clock.target_time
    return {
        "id": clock.id,
        "object": "test_helpers.test_clock",
        "created": clock.created,
        "deletes_after": clock.created + _KEPT_S,
        "frozen_time": clock.frozen_time,
        "livemode": False,
        "name": clock.name,
        "status": "ready" if target is None else "advancing",
        "status_details": {} if target is None else {"advancing": {"target_frozen_time": target}},
    }
