"""An alert to try things with."""

from __future__ import annotations

from typing import Any

from gateway.core.alerts import QuotaAlert


def alert(**changes: Any) -> QuotaAlert:
    """801 of 1,000 requests are used; `changes` say what is different."""
    values: dict[str, Any] = {
        "customer_id": "c1",
        "user_id": "ada",
        "tier": "pro",
        "limit_name": "period",
        "counter": "q:requests:period",
        "meter": "requests",
        "key_id": None,
        "used": 801,
        "limit": 1000,
        "percent": 80,
        "window_starts_at": 10,
        "window_ends_at": 20,
        "at": 100,
    }
    return QuotaAlert(**values | changes)
