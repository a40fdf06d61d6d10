"""What one call of a route that settles turns out to cost: heard from its response, counted at its end.

A stream that breaks is settled in part: what was moved is what it cost in meters of bytes; what its
head had told was of the whole, so there the reservation stands. A caller that ends it itself has
ordered the whole, and pays what was told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from gateway.core.settle import count_costs, hear_costs

if TYPE_CHECKING:
    from gateway.core.settle import Settle
    from gateway.telemetry import Metrics
    from gateway.upstream import Outcome

log = structlog.get_logger(__name__)


class Settling:
    """Of one call whose response has begun.

    Args:
        rules: Of its route, at least one.
        metrics: Where it is counted what an API says wrongly.
    """

    __slots__ = ("_metrics", "_rules", "heard")

    def __init__(self, rules: tuple[Settle, ...], metrics: Metrics) -> None:
        self._rules = rules
        self._metrics = metrics
        self.heard: dict[str, int] = {}
        """Units by meter, as the response's head told them."""

    def hear(self, lines: list[bytes], decision_id: str, route: str) -> list[bytes]:
        """Read the response's head. Returns its lines without the fields that callers do not get."""
        lines, self.heard, faults = hear_costs(self._rules, lines)
        for meter, fault in faults:
            self._metrics.cost_faults.labels(route, fault).inc()
            log.debug("a response did not tell its cost", decision_id=decision_id, meter=meter, fault=fault)
        return lines

    def costs(self, outcome: Outcome) -> dict[str, int]:
        """Units by meter of a call that is billed; what is not in it cost what was reserved."""
        counted = count_costs(self._rules, response_bytes=outcome.response_bytes, request_bytes=outcome.request_bytes)
        return counted if outcome.ended in {"upstream-broke", "timeout"} else {**counted, **self.heard}
