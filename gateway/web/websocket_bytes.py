"""What an open WebSocket costs by the bytes that pass, where its route is settled so: each minute's by themselves.

A WebSocket may be open for longer than a quota's window, and its worker may die. So the bytes of each minute are
counted when it has passed, in the windows of that moment, under a receipt of their own. Laws:

- what the handshake reserved pays for the first bytes; all together cost what the rule says of all of them,
  its `at_most` included, and no unit is counted twice;
- the limits are asked for one unit, which is then settled: a quota may end above its limit by one minute's bytes;
- where a quota is used up the bytes have passed all the same: they are counted, and the WebSocket ends;
- a minute that cannot be charged, because the cache is away or a rate is too narrow, is made up by a later one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from gateway.admission import Attempt
from gateway.core.charge import QuotaClaim
from gateway.core.errors import CapacityReduced, ChargeDenied, QuotaExceeded, RateLimited, RouteNotFound, TiergateError
from gateway.core.route import priced
from gateway.core.settle import count_costs

if TYPE_CHECKING:
    from gateway.upstream import Outcome
    from gateway.web.runtime import Runtime
    from gateway.web.settling import Settling

log = structlog.get_logger(__name__)


class ByteCharges:
    """Those of one open WebSocket.

    Args:
        runtime: The opened parts.
        handshake: Admitted.
        presented: The key, as sent.
        settling: Of the handshake's charge; told what was paid beside it.
    """

    __slots__ = (
        "_handshake",
        "_last",
        "_lost",
        "_number",
        "_presented",
        "_reserved",
        "_running",
        "_runtime",
        "_settling",
    )

    def __init__(self, runtime: Runtime, handshake: Attempt, presented: bytes | None, settling: Settling) -> None:
        self._runtime = runtime
        self._handshake = self._last = handshake
        """`_last` is what was admitted last: it has a plan."""
        self._presented = presented
        self._settling = settling
        self._reserved = dict(handshake.route.cost) if handshake.route is not None else {}
        self._number = 0
        self._running: asyncio.Task[None] | None = None
        self._lost: list[tuple[Attempt, dict[str, int]]] = []
        """Settlements that the cache did not answer. To send one again is harmless."""

    async def minute(self, bytes_down: int, bytes_up: int) -> None:
        """A minute has passed: charge what passed in it.

        Raises:
            QuotaExceeded, Rejected, Denied: The WebSocket is to end.
        """
        due = self._due(bytes_down, bytes_up)
        if due or self._lost:  # an end in the middle waits for it: half a charge would be counted twice
            self._running = asyncio.ensure_future(self._pay(due))
            await asyncio.shield(self._running)

    async def end(self, outcome: Outcome) -> None:
        """It has ended, and is billed: charge the rest, unless the handshake's own charge can be corrected to it."""
        if self._running is not None:
            await asyncio.wait([self._running])
            if not self._running.cancelled():
                self._running.exception()  # the minute's caller has left; what was not paid is paid now
        due = self._due(outcome.response_bytes, outcome.request_bytes)
        if not self._lost and (not due or (not self._settling.paid and self._is_correctable())):
            return
        try:
            await self._pay(due, is_last=True)
        except TiergateError:
            rest = self._due(outcome.response_bytes, outcome.request_bytes)
            if rest and await self._owe(self._last, rest):
                self._take(rest)

    def _due(self, bytes_down: int, bytes_up: int) -> dict[str, int]:
        """Units by meter that neither the reservation nor a minute has paid for."""
        counted = count_costs(self._settling.rules, response_bytes=bytes_down, request_bytes=bytes_up)
        paid, reserved = self._settling.paid, self._reserved
        rest = {
            meter: units - reserved[meter] - paid.get(meter, 0)
            for meter, units in counted.items()
            if reserved.get(meter)
        }
        return {meter: units for meter, units in rest.items() if units > 0}

    def _take(self, due: dict[str, int]) -> None:
        paid = self._settling.paid
        for meter, units in due.items():
            paid[meter] = paid.get(meter, 0) + units

    def _is_correctable(self) -> bool:
        """Whether all windows that the handshake was charged in go on."""
        plan = self._handshake.plan
        ends = (claim.ends_at for claim in plan.claims if isinstance(claim, QuotaClaim)) if plan is not None else ()
        return self._runtime.clock.now() < min(ends, default=float("inf"))

    async def _pay(self, due: dict[str, int], *, is_last: bool = False) -> None:
        lost, self._lost = self._lost, []
        for attempt, costs in lost:
            await self._settle(attempt, costs)
        if not due:
            return
        handshake, policy = self._handshake, self._runtime.policy.current
        route = policy.find_route(handshake.method, handshake.path)
        if route is None:
            raise RouteNotFound("This is not part of the API any more.")
        self._number += 1
        receipt_id = f"{handshake.decision_id}-{self._number}"
        attempt = Attempt(receipt_id, handshake.method, handshake.path, policy, handshake.address)
        try:
            await self._runtime.admission.admit(
                attempt, self._presented, priced(route, tuple((meter, 1) for meter in due))
            )
        except ChargeDenied as refused:
            if isinstance(refused, RateLimited) and not is_last:
                return
            if await self._owe(attempt, due):
                self._take(due)
                self._note(attempt, due)
            if isinstance(refused, QuotaExceeded):
                raise
        except CapacityReduced:
            log.warning("the bytes of an open websocket could not be charged", decision_id=handshake.decision_id)
        else:
            self._last = attempt
            self._take(due)
            self._note(attempt, due)
            await self._settle(attempt, due)

    async def _settle(self, attempt: Attempt, costs: dict[str, int]) -> None:
        result = await self._runtime.admission.settle(attempt, costs)
        self._runtime.metrics.settled.labels(result).inc()
        if result == "lost":
            self._lost.append((attempt, costs))

    async def _owe(self, attempt: Attempt, costs: dict[str, int]) -> bool:
        counted = await self._runtime.admission.owe(attempt, costs)
        self._runtime.metrics.settled.labels("settled" if counted else "lost").inc()
        return counted

    def _note(self, attempt: Attempt, costs: dict[str, int]) -> None:
        if attempt.account is not None and attempt.plan is not None:
            self._runtime.settlement.note(attempt.account.customer_id, attempt.plan.key.key_id, attempt.now)
            self._runtime.tallies.spent(attempt.account, attempt.plan, attempt.now)
            self._runtime.tallies.settled(attempt.account, attempt.plan, costs, attempt.now)
