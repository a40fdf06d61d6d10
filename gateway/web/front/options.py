"""What the front is told by the app it serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.core.errors import TiergateError
    from gateway.web.asgi import ASGIApp, Headers


def refuse_plainly(error: TiergateError) -> tuple[int, Headers, bytes]:
    """For an app that has no words of its own for what the front refuses."""
    body = f"{error}\n".encode()
    return 400, [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))], body


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontOptions:
    """Limits of one worker's connections. An app offers its own as `app.state.front`."""

    head_timeout_s: float = 10.0
    """For a request's head, from its first byte (of a new connection: from the start) to its last; then 408."""
    keep_alive_s: float = 75.0
    """For the next request on a connection. Longer than the idle time of common load balancers (60 s),
    so that it is they who close."""
    body_timeout_s: float = 60.0
    """For the next part of a request's body; then 408. Exchanges look at it themselves."""
    write_timeout_s: float = 60.0
    """For a caller to take any of what was written to it; then the connection is cut."""
    linger_s: float = 2.0
    """After a refusal of what was no request: how long the caller is still listened to, so that the answer is not
    lost in a reset."""
    linger_body_s: float = 30.0
    """The same after an answer that came before its request's end: a caller may send all of a body first."""
    linger_idle_s: float = 5.0
    """But no longer than this from its last byte on."""
    max_head_bytes: int = 65_536
    """Request line and fields together; then 431, or 414 if it is the first line."""
    max_connections: int = 20_000
    """Open connections of this worker; more are told 503 and closed."""
    app: ASGIApp | None = None
    """Called for every request instead of the app: a way in that leads to the same place sooner."""
    refuse: Callable[[TiergateError], tuple[int, Headers, bytes]] = refuse_plainly
    """Words an error that the front found: status, fields, body. It may count it, too."""
