"""What an exchange is given, and what it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, TypeAlias

Ended: TypeAlias = Literal["complete", "client-left", "upstream-broke", "timeout"]

_SLOWEST_TICK_S, _FASTEST_TICK_S = 0.25, 0.02
_TICKS_PER_TIMEOUT = 4

READ_ON_S = 60.0
"""For so long, where policy says nothing, a response is read on without its caller."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamTimeouts:
    """How long an exchange waits for what."""

    connect_s: float = 5.0
    """To connect, DNS and TLS included; then UpstreamUnreachable."""
    first_byte_s: float = 60.0
    """From the end of the request to the end of the response's head; then UpstreamTimeout."""
    idle_s: float = 60.0
    """Without progress in either body, whoever is to blame; then the exchange is broken off."""
    total_s: float | None = None
    """For the whole exchange. None: streams may last."""
    read_on_s: float = READ_ON_S
    """How long a response is read on whose caller has left, where its cost is told behind it. 0: not at all."""
    pool_wait_s: float = 5.0
    """For a connection, when all are busy; then UpstreamBusy."""
    tick_s: float = field(init=False, repr=False, compare=False)
    """How often to look at them."""

    def __post_init__(self) -> None:
        shortest_s = min(self.first_byte_s, self.idle_s, self.total_s or self.idle_s)
        object.__setattr__(self, "tick_s", tick_for(shortest_s))


def tick_for(shortest_s: float) -> float:
    """Often enough that no time-out is late by more than a quarter, and that a caller's leaving is seen at once."""
    return min(_SLOWEST_TICK_S, max(_FASTEST_TICK_S, shortest_s / _TICKS_PER_TIMEOUT))


class ExchangeRequest:
    """What to ask the upstream. One is made for every call, so it is a plain object; nobody changes it.

    Args:
        method: As received.
        target: Path and query as they came; sent byte for byte behind the upstream's path prefix.
        lines: End-to-end field lines (`core.forwarding`), without framing and Host.
        host: Host to send; None: the upstream's own.
        body_framing: Announced length, `CHUNKED`, or None for no body (`core.request_gate.body_framing`).
        timeouts: Instead of the upstream's own.
    """

    __slots__ = ("body_framing", "host", "lines", "method", "target", "timeouts")

    def __init__(
        self,
        method: str,
        target: bytes,
        lines: list[bytes],
        *,
        host: bytes | None = None,
        body_framing: int | None = None,
        timeouts: UpstreamTimeouts | None = None,
    ) -> None:
        self.method = method
        self.target = target
        self.lines = lines
        self.host = host
        self.body_framing = body_framing
        self.timeouts = timeouts


class Outcome(NamedTuple):
    """How an exchange ended."""

    status: int
    response_bytes: int
    """Payload handed to the server in front of us."""
    request_bytes: int
    """Payload read from the caller."""
    ended: Ended
    trailers: Sequence[bytes] | None = None
    """Field lines that came behind the response's body, and are not handed on. None: its end was not seen."""
