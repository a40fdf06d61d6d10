"""What an open WebSocket goes on to cost, and whether its key still holds.

Each charge is a decision of its own, under the policy of that moment and by the cache's charge
script: so a revoked key, a downgrade or an edit of the policy ends a WebSocket with the next
charge. One that costs nothing is looked at once a minute all the same.

While the cache cannot decide, one that costs nothing stays open for as long as its key is believed: by the account
that the worker holds, which the cache or the ledger has confirmed `SNAPSHOT_LIVES_S` ago at most. If that does not
let it any more, it ends; if none is held, it ends when the cache has not decided on it for so long.

A message faster than a rate waits for a while, and its caller is not read meanwhile; what is over a
quota ends the WebSocket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import structlog

from gateway.admission import Attempt
from gateway.cache import CacheUnavailable
from gateway.core.errors import CapacityReduced, ChargeDenied, RateLimited, RouteNotFound, UpgradeRefused
from gateway.core.outage_policy import SNAPSHOT_LIVES_S
from gateway.core.route import Route, priced

if TYPE_CHECKING:
    from gateway.core.charge import LimitState
    from gateway.core.policy import Policy
    from gateway.web.runtime import Runtime

log = structlog.get_logger(__name__)

PATIENCE_S = 5.0
"""How long one message may wait for its rates, all in all."""


class WebSocketCharges:
    """The charges of one WebSocket after its handshake's.

    Args:
        runtime: The opened parts.
        handshake: Admitted.
        presented: The key, as sent.
        sleep: Waits so many seconds.

    Every method raises what `Admission.admit` raises, RouteNotFound, and UpgradeRefused if policy has no more
    WebSockets there.
    """

    __slots__ = (
        "_decided_at",
        "_handshake",
        "_policy",
        "_runtime",
        "_sleep",
        "_to_look",
        "_to_send",
        "_to_stay",
        "presented",
    )

    def __init__(
        self,
        runtime: Runtime,
        handshake: Attempt,
        presented: bytes | None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._runtime = runtime
        self._handshake = handshake
        self.presented = presented
        """As sent."""
        self._sleep = sleep
        self._policy = handshake.policy
        self._decided_at = handshake.now if handshake.outage is None else 0.0
        """Unix seconds at which the cache last said of a look that the key holds. 0: never."""
        self._to_send: Route | None
        """The route at the price of a message; None if that is nothing."""
        self._to_stay: Route | None
        """At that of a minute."""
        self._to_look: Route
        """For nothing."""
        self._read(handshake.policy)

    def message(self, _size: int) -> Awaitable[None] | None:
        """A message from the caller. None: it costs nothing."""
        current = self._runtime.policy.current
        if current is not self._policy:
            self._read(current)
        return self._charge(self._to_send) if self._to_send is not None else None

    async def minute(self) -> None:
        """Another minute has begun."""
        current = self._runtime.policy.current
        if current is not self._policy:
            self._read(current)
        if self._to_stay is not None:
            await self._charge(self._to_stay)
            return
        await self._look()

    async def _look(self) -> None:
        """Whether the key still holds."""
        attempt = self._attempt()
        try:
            await self._runtime.admission.admit(attempt, self.presented, self._to_look)
        except ChargeDenied:
            pass  # limits are overdrawn: whoever spends nothing need not care
        except CapacityReduced as error:
            if not self._is_believed(attempt, error):
                raise
            log.warning("an open websocket could not be looked at", decision_id=self._handshake.decision_id)
            return
        else:
            self._note(attempt)
        if attempt.outage is None:
            self._decided_at = attempt.now

    def _is_believed(self, attempt: Attempt, error: CapacityReduced) -> bool:
        if attempt.outage is not None:  # a call of this key is let in or not by the N of its tier: the key holds
            return True
        if attempt.account is not None and isinstance(error, CacheUnavailable):
            return False
        return abs(attempt.now - self._decided_at) <= SNAPSHOT_LIVES_S

    def _read(self, policy: Policy) -> None:
        """What a policy says of this WebSocket."""
        handshake = self._handshake
        route = policy.find_route(handshake.method, handshake.path)
        if route is None:
            raise RouteNotFound("This is not part of the API any more.")
        socket = route.forward.websocket
        if socket is None:
            raise UpgradeRefused("This part of the API has no WebSockets any more.")
        self._to_send = priced(route, socket.cost_per_message) if socket.cost_per_message else None
        self._to_stay = priced(route, socket.cost_per_minute) if socket.cost_per_minute else None
        self._to_look = priced(route, ())
        self._policy = policy

    async def _charge(self, route: Route) -> None:
        waited_s = 0.0
        while True:
            attempt = self._attempt()
            try:
                await self._runtime.admission.admit(attempt, self.presented, route)
            except RateLimited as refused:
                waits = (state.reset_ms / 1000 for state in _states(attempt) if not state.allowed)
                wait_s = max(waits, default=float(refused.retry_after_s))
                waited_s += wait_s
                if waited_s > PATIENCE_S:
                    raise
                await self._sleep(wait_s)
            else:
                self._note(attempt)
                return

    def _attempt(self) -> Attempt:
        handshake = self._handshake
        return Attempt(handshake.decision_id, handshake.method, handshake.path, self._policy, handshake.address)

    def _note(self, attempt: Attempt) -> None:
        """It was charged."""
        if attempt.account is not None and attempt.plan is not None:
            self._runtime.settlement.note(attempt.account.customer_id, attempt.plan.key.key_id, attempt.now)
            self._runtime.tallies.spent(attempt.account, attempt.plan, attempt.now)


def _states(attempt: Attempt) -> tuple[LimitState, ...]:
    """The limits that refused it: the cache's, or this worker's own while the cache cannot decide."""
    return attempt.outage.too_fast if attempt.outage is not None else attempt.states
