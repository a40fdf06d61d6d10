"""One upstream: where it is, and how requests get there."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from gateway.core.errors import MalformedRequest, UpstreamBusy
from gateway.core.http_body import CHUNKED
from gateway.core.http_head import END_OF_HEAD
from gateway.core.upstream_policy import UpstreamTls
from gateway.upstream.dialing import Dialer
from gateway.upstream.pool import Pool, PoolLimits
from gateway.upstream.tls import tls_context
from gateway.upstream.values import UpstreamTimeouts, tick_for

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

    from gateway.upstream.values import ExchangeRequest

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamStats:
    """A look at one upstream's connections, since the worker's start."""

    open_connections: int
    idle_connections: int
    opened: int
    reused: int
    connect_failures: int
    expired: int
    waited: int


class Upstream:
    """The API behind the gateway, at one URL. Lives on one event loop.

    No redirect is followed and no environment variable is read: requests go to this address.

    Args:
        url: `http://host[:port][/prefix]` or `https://...`. The prefix is put before every target.
        timeouts: How long exchanges wait for what.
        max_connections: Bound of the pool. Requests beyond it wait for `pool_wait_s`.
        keepalive_s: How long an idle connection is kept; less if the upstream says less.
            Keep it below what the upstream itself allows. 0 keeps none.
        ca_file: Certificates to trust instead of the system's.
        ssl_context: Replaces the context made from `ca_file`, for client certificates and the like.
        server_name: Name in SNI and in the certificate, where it is not the URL's host.
        host: Value of the Host field, where it is not the URL's host.
        max_age_s: A connection older than this is not used again. None: as long as it lives.
        max_websockets: Most WebSockets at once. Their connections come on top of the pool's, so that
            those who stay keep nobody else out.

    Raises:
        ValueError: The URL is not such a URL.
    """

    def __init__(  # noqa: PLR0913 - what can be said about one server
        self,
        url: str,
        *,
        timeouts: UpstreamTimeouts | None = None,
        max_connections: int = 256,
        keepalive_s: float = 30.0,
        ca_file: Path | None = None,
        ssl_context: ssl.SSLContext | None = None,
        server_name: str | None = None,
        host: str | None = None,
        max_age_s: float | None = None,
        max_websockets: int = 1000,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
            raise ValueError(f"{url!r} is not an http:// or https:// URL")
        if parts.query or parts.fragment or parts.username is not None or parts.password is not None:
            raise ValueError("an upstream URL holds no query, fragment or credentials")
        tls: ssl.SSLContext | None = None
        if parts.scheme == "https":
            tls = ssl_context or tls_context(UpstreamTls(ca_file=str(ca_file) if ca_file else None))
        default_port = _DEFAULT_PORTS[parts.scheme]
        port = parts.port if parts.port is not None else default_port
        if host is None:
            name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
            host = name if port == default_port else f"{name}:{port}"
        self.url = url
        self.host = host.encode("ascii" if host.isascii() else "idna")
        """Value of the Host field that is sent when the caller's is not preserved."""
        self._prefix = parts.path.rstrip("/").encode("ascii")
        self.timeouts = timeouts = timeouts if timeouts is not None else UpstreamTimeouts()
        self.dialer = Dialer(parts.hostname, port, tls=tls, server_name=server_name)
        """Opens connections to it, beside those of its pool."""
        self._max_websockets = max_websockets
        self._websockets = 0
        self.pool = Pool(
            self.dialer,
            limits=PoolLimits(
                max_connections=max_connections,
                connect_s=timeouts.connect_s,
                wait_s=timeouts.pool_wait_s,
                keepalive_s=keepalive_s,
                tick_s=min(timeouts.tick_s, tick_for(keepalive_s)) if keepalive_s else timeouts.tick_s,
                max_age_s=max_age_s,
            ),
        )

    def request_head(self, request: ExchangeRequest, framing: int | None) -> bytes:
        """The head to send here, with its empty line.

        Args:
            framing: As the body will be delimited: its length, `CHUNKED`, or None for no body.

        Raises:
            MalformedRequest: A line break in a field: nothing lets one through, and nothing may.
        """
        lines = [
            b"%b %b%b HTTP/1.1" % (request.method.encode("ascii"), self._prefix, request.target),
            b"host: " + (self.host if request.host is None else request.host),
            *request.lines,
        ]
        if framing == CHUNKED:
            lines.append(b"transfer-encoding: chunked")
        elif framing is not None:
            lines.append(b"content-length: %d" % framing)
        data = b"\r\n".join(lines)
        if data.count(b"\n") != len(lines) - 1 or data.count(b"\r") != len(lines) - 1 or b"\0" in data:
            raise MalformedRequest("A header holds a line break.")
        return data + END_OF_HEAD

    @contextmanager
    def websocket(self) -> Iterator[None]:
        """A place for a WebSocket, whose connection the caller opens and closes.

        Raises:
            UpstreamBusy: All are taken.
        """
        if self._websockets >= self._max_websockets:
            raise UpstreamBusy("The API has as many WebSockets open as it may have.")
        self._websockets += 1
        try:
            yield
        finally:
            self._websockets -= 1

    @property
    def stats(self) -> UpstreamStats:
        """Connections now, and what happened so far."""
        pool, counts = self.pool, self.pool.counts
        return UpstreamStats(
            open_connections=pool.open_connections,
            idle_connections=pool.idle_connections,
            opened=counts.opened,
            reused=counts.reused,
            connect_failures=counts.failed,
            expired=counts.expired,
            waited=counts.waited,
        )

    @property
    def load(self) -> int:
        """Requests in progress there, or waiting for a connection, and open WebSockets."""
        return self.pool.load + self._websockets

    @property
    def is_unused(self) -> bool:
        """Nothing is open, being opened or waited for."""
        return self.pool.is_unused and not self._websockets

    def retire(self) -> None:
        """Keep no idle connection from now on. Exchanges in progress finish; late ones are still served."""
        self.pool.retire()

    async def aclose(self) -> None:
        """Close every connection. Exchanges in progress break off."""
        await self.pool.aclose()
