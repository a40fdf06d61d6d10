"""Which server of a group gets a request, and which is left alone for a while.

Instants are seconds of any clock that never runs back; callers pass them. `Balancer` is a state
machine without I/O, used from one thread. Its laws:

- Weights are kept exactly: over as many requests as the weights add up to, each server that is
  in gets its weight of them, spread and not in a block (nginx's smooth weighted round robin).
- `least-loaded` picks the fewest requests in progress per weight; among equals, the round robin.
- A server that fails `failures` times in a row is out for `for_s`. Then it gets one request at a
  time, in its turn: a success brings it back, a failure doubles its time, up to five minutes.
- A server that fails its active checks is out until it passes them; no request tries it. Passing
  them also ends an ejection, as in Envoy.
- A request that began before a server went out or came back says nothing about it any more.
- If all are out, none is: the choice is made among those that pass their checks, or among all.
  So a server without others gets everything, and being out is only told of it.
- Every server is in every order, those that are out at the end: an order is never empty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Literal, TypeAlias

from gateway.core.upstream_policy import ActiveCheck, Balance, Ejection

MAX_EJECTION_S = 300.0
"""No ejection lasts longer, unless policy's own `for_s` does. Envoy's cap."""
TRIAL_LASTS_S = 60.0
"""A trial that nobody reported on in this time is forgotten, so that a lost report shuts no server out."""

Order: TypeAlias = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerState:
    """What is known of one server."""

    is_in: bool
    """It gets its share of requests. False while it is ejected or fails its checks."""
    reason: Literal["", "failures", "check"]
    """Why it is out; "" if it is in. Failed checks go before failures."""
    failures: int
    """In a row, since the last success; those that ejected it included."""
    retry_at: float | None
    """When a request tries it again, if it was ejected."""


@dataclass(slots=True)
class _Server:
    weight: int
    current: int = 0
    """Of the round robin: the highest is next."""
    failures: int = 0
    ejections: int = 0
    """In a row, without a success between them."""
    retry_at: float | None = None
    """Set while it is ejected."""
    trial_at: float | None = None
    """When the request began that tries it out."""
    changed_at: float = field(default=-inf)
    """When it was last ejected or came back."""
    fails_check: bool = False
    passed: int = 0
    missed: int = 0

    @property
    def is_in(self) -> bool:
        return self.retry_at is None and not self.fails_check


class Balancer:
    """The choice among the servers of one group.

    Args:
        weights: Of each server, >= 1. At least one.
        balance: How to choose.
        ejection: When to leave a server alone. None: never.
        check: Thresholds of the active check. None: `checked` is never called.
    """

    def __init__(
        self,
        weights: Sequence[int],
        *,
        balance: Balance = "round-robin",
        ejection: Ejection | None = None,
        check: ActiveCheck | None = None,
    ) -> None:
        self._servers = [_Server(weight) for weight in weights]
        self._by_load = balance == "least-loaded"
        self._ejection = ejection
        self._check = check
        indices = tuple(range(len(weights)))
        self._rotations: tuple[Order, ...] = tuple(indices[first:] + indices[:first] for first in indices)
        self._only: Order | None = indices if len(indices) == 1 else None
        self._all_in = True
        self.is_calm = True
        """Every server is in and its last request went well: a success would change nothing."""

    def order(self, now: float, loads: Sequence[int] = ()) -> Order:
        """The servers one request should try, in this order. The first one's turn is over with this call.

        If the first is ejected and due for a trial, this request is that trial: `ended` must tell of it.

        Args:
            now: The instant.
            loads: Requests in progress at each server. Only `least-loaded` looks at them.
        """
        if self._only is not None:
            return self._only
        if self._all_in:
            return self._rotations[self._pick(self._rotations[0], loads)]
        servers = self._servers
        choice = [i for i in self._rotations[0] if servers[i].is_in or self._is_due(servers[i], now)]
        if not choice:
            choice = [i for i in self._rotations[0] if not servers[i].fails_check] or list(self._rotations[0])
        first = self._pick(choice, loads)
        server = servers[first]
        if self._is_due(server, now):
            server.trial_at = now
        return self._failover(first)

    def ended(self, index: int, *, ok: bool | None, began_at: float, now: float) -> bool:
        """Take what a request says about its server.

        Args:
            index: The server.
            ok: It answered; or it did not; or, None, nothing can be said.
            began_at: The `now` of the request's `order`.
            now: The instant.

        Returns:
            Whether the server has gone out or come back by this.
        """
        server = self._servers[index]
        if began_at < server.changed_at or (began_at == server.changed_at and not ok):
            return False  # of the same millisecond, only an answer is certain to tell of the server as it is
        was_in = server.is_in
        is_trial = server.trial_at is not None and began_at >= server.trial_at
        if is_trial:
            server.trial_at = None
        if ok:
            server.failures = 0
            self._readmit(server, now)
        elif ok is not None:
            self._count_failure(server, now, is_trial=is_trial)
        return self._settle(server, was_in=was_in)

    def checked(self, index: int, *, ok: bool, now: float) -> bool:
        """Take the result of one active check; whether the server has gone out or come back by it."""
        check, server = self._check, self._servers[index]
        if check is None:
            return False
        was_in = server.is_in
        server.passed, server.missed = (server.passed + 1, 0) if ok else (0, server.missed + 1)
        if server.missed >= check.unhealthy_after:
            server.fails_check = True
        elif server.passed >= check.healthy_after:
            server.fails_check = False
            if server.retry_at is not None:
                server.failures = 0
                self._readmit(server, now)
        return self._settle(server, was_in=was_in)

    def states(self) -> tuple[ServerState, ...]:
        """What is known of each server."""
        return tuple(
            ServerState(
                is_in=server.is_in,
                reason="check" if server.fails_check else "failures" if server.retry_at is not None else "",
                failures=server.failures,
                retry_at=server.retry_at,
            )
            for server in self._servers
        )

    def _is_due(self, server: _Server, now: float) -> bool:
        if server.fails_check or server.retry_at is None or now < server.retry_at:
            return False
        return server.trial_at is None or now >= server.trial_at + TRIAL_LASTS_S

    def _pick(self, choice: Sequence[int], loads: Sequence[int]) -> int:
        """The next of `choice`, whose turns are counted.

        Source: nginx, ngx_http_upstream_get_peer and ngx_http_upstream_get_least_conn_peer.
        """
        servers = self._servers
        if self._by_load and loads:
            least = min(loads[i] / servers[i].weight for i in choice)
            choice = [i for i in choice if loads[i] / servers[i].weight == least]
        total, first = 0, choice[0]
        best: _Server | None = None
        for i in choice:
            server = servers[i]
            total += server.weight
            server.current += server.weight
            if best is None or server.current > best.current:
                best, first = server, i
        servers[first].current -= total
        return first

    def _failover(self, first: int) -> Order:
        """`first`, then who is in, then who is ejected, then who fails its checks."""
        servers = self._servers
        others = sorted(
            self._rotations[first][1:], key=lambda i: (servers[i].fails_check, servers[i].retry_at is not None)
        )
        return (first, *others)

    def _count_failure(self, server: _Server, now: float, *, is_trial: bool) -> None:
        """Requests that went to an ejected server because all are out do not prolong its time; trials do."""
        ejection = self._ejection
        server.failures += 1
        if ejection is None or server.failures < ejection.failures or (server.retry_at is not None and not is_trial):
            return
        lasts_s = min(ejection.for_s * 2.0 ** min(server.ejections, 64), max(ejection.for_s, MAX_EJECTION_S))
        server.ejections += 1
        server.retry_at = now + lasts_s
        server.changed_at = now
        server.passed = 0

    def _readmit(self, server: _Server, now: float) -> None:
        if server.retry_at is not None:
            server.retry_at = server.trial_at = None
            server.ejections = 0
            server.changed_at = now

    def _settle(self, server: _Server, *, was_in: bool) -> bool:
        """Bring what the fast paths look at up to date; whether `server` has gone out or come back."""
        self._all_in = all(each.is_in for each in self._servers)
        self.is_calm = self._all_in and not any(each.failures for each in self._servers)
        return server.is_in != was_in
