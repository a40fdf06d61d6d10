"""What bounds a relayed WebSocket, and how it went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

EndedBy: TypeAlias = Literal["caller", "upstream", "gateway"]
Cause: TypeAlias = Literal[
    "closed",
    "lost",
    "refused",
    "faulty",
    "too-big",
    "denied",
    "idle",
    "expired",
    "stalled",
    "shutdown",
]
"""The end's nature: a close frame, a connection that broke or fell silent, a handshake that was answered
with a response, frames or text that are none, a message over the bound, a charge that failed, no
message for too long, more time than one may last, a side that stopped reading, our own end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketLimits:
    """Bounds and time-outs of one WebSocket. Seconds; None: never."""

    max_message_bytes: int = 1_048_576
    """Either way, decompressed, fragments together, text as UTF-8. Longer: 1009 to both sides. The server in
    front has a bound of its own, which must not be lower."""
    max_refusal_bytes: int = 65_536
    """Body of a refused handshake. A longer one is left out, and its status and fields are relayed without."""
    connect_s: float = 5.0
    first_byte_s: float = 60.0
    """From the handshake's request to the end of its answer."""
    idle_s: float | None = 600.0
    """Without a message either way. Pings do not count."""
    total_s: float | None = None
    """From the accept to the end."""
    stall_s: float = 60.0
    """How long one side may leave a message unread; noticed up to half as late again."""
    ping_s: float | None = 20.0
    """After this long without a byte from the upstream it is pinged. The caller is the server's to ping."""
    pong_s: float = 20.0
    """Then this long without a byte, and the upstream counts as lost."""
    close_s: float = 5.0
    """For the other side's part of the closing handshake; then the connection is cut."""
    minute_s: float = 60.0
    """What `on_minute` takes for a minute."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketOutcome:
    """How a WebSocket went."""

    status: int
    """101, or what the upstream answered instead."""
    ended_by: EndedBy
    cause: Cause
    code: int = 0
    """Close code as it came from who ended it (1005 none, 1006 no close frame), or as we chose it."""
    code_to_caller: int | None = None
    """What the caller was told; None: nothing, it had closed itself."""
    code_to_upstream: int | None = None
    """What the upstream was told; 1005 stands for a close frame without a code, None for nothing."""
    messages_up: int = 0
    """From the caller, passed to the upstream."""
    bytes_up: int = 0
    messages_down: int = 0
    """From the upstream, handed to the server in front."""
    bytes_down: int = 0
    duration_s: float = 0.0
    """Since the accept."""


@dataclass(slots=True)
class Tally:
    """What has passed, and since when somebody is waited for. Loop times."""

    messages_up: int = 0
    bytes_up: int = 0
    messages_down: int = 0
    bytes_down: int = 0
    active_at: float = 0.0
    """Of the last message either way."""
    caller_slow_since: float | None = None
    """The caller has a message to take."""
    upstream_slow_since: float | None = None
