"""What one call of a route that settles turns out to cost: heard from its response, counted at its end.

A cost is told in the response's head, or behind its body as a trailer field, as a stream can.

A stream that breaks is settled in part: what was moved is what it cost in meters of bytes; what its
head had told was of the whole, so there the reservation stands.

A caller that ends it itself has ordered the whole, and pays what is told: a cost that is to come behind the
body is waited for without it. If that does not come in time, a cost that the head promised is the rule's
`at_most`, else leaving before the end would be a way not to pay; one that was not promised, or has no bound,
is what was reserved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.core.http_body import CHUNKED
from gateway.core.settle import MOST_UNITS, count_costs, hear_costs

if TYPE_CHECKING:
    from gateway.core.settle import Settle
    from gateway.telemetry import Metrics
    from gateway.upstream import Outcome, ResponseHead


class Settling:
    """Of one call whose response has begun.

    Args:
        rules: Of its route, at least one.
        metrics: Where it is counted what an API says wrongly.
        route: What it is counted under.
    """

    __slots__ = ("_metrics", "_promised", "_route", "_unheard", "heard", "paid", "rules")

    def __init__(self, rules: tuple[Settle, ...], metrics: Metrics, route: str) -> None:
        self.rules = rules
        self._metrics = metrics
        self._route = route
        self._unheard: set[str] = set()
        """Meters of which the head says nothing: it may come as a trailer field."""
        self._promised: frozenset[bytes] = frozenset()
        """Fields that the head says will come behind the body."""
        self.heard: dict[str, int] = {}
        """Units by meter, as the response's head told them."""
        self.paid: dict[str, int] = {}
        """Units by meter that were charged beside its own charge, while it went on."""

    def hear(self, head: ResponseHead) -> list[bytes]:
        """Read the response's head. Returns its lines without the fields that callers do not get."""
        lines, self.heard, faults = hear_costs(self.rules, head.lines)
        if head.framing == CHUNKED:
            self._promised = head.promised
        for meter, fault in faults:
            if fault == "missing":
                self._unheard.add(meter)
            else:
                self._metrics.cost_faults.labels(self._route, fault).inc()
        return lines

    @property
    def needs_end(self) -> bool:
        """Whether a cost may come behind the body."""
        return bool(self._unheard)

    def costs(self, outcome: Outcome) -> dict[str, int]:
        """Units by meter of a call that is billed; what is not in it cost what was reserved."""
        counted = count_costs(self.rules, response_bytes=outcome.response_bytes, request_bytes=outcome.request_bytes)
        for meter, units in self.paid.items():
            counted[meter] -= units
        if outcome.ended in {"upstream-broke", "timeout"}:
            return counted
        told = self._late_costs(outcome) if self._unheard else {}
        return {**counted, **self.heard, **told}

    def _late_costs(self, outcome: Outcome) -> dict[str, int]:
        """What is told behind the body, or owed where a caller did not let it come."""
        late = [rule for rule in self.rules if rule.meter in self._unheard]
        if outcome.trailers is None and outcome.ended != "complete":
            self._metrics.cost_faults.labels(self._route, "left").inc(len(late))
            return {
                rule.meter: rule.at_most
                for rule in late
                if rule.header in self._promised and rule.at_most != MOST_UNITS
            }
        _, told, faults = hear_costs(late, list(outcome.trailers or ()))
        for _, fault in faults:
            self._metrics.cost_faults.labels(self._route, fault).inc()
        return told
