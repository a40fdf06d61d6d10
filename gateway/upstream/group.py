"""Servers that answer alike: which of them a request goes to, and what its outcome says of them.

A group owns one `Upstream` for each server. Its choice is `gateway.core.balancing`; here are the
sockets, the log and the gauge. `now` is the event loop's time everywhere.

What speaks against a server: no connection, failed TLS, a connection that died unanswered, no first
byte in time, an answer that is no HTTP or breaks off. What does not: a 5xx, which is an answer; anything the caller
did; a pool without a free connection.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from gateway.core.balancing import Balancer, ServerState
from gateway.core.errors import UpstreamInvalid, UpstreamTimeout
from gateway.upstream.errors import DiedUnanswered, ExchangeBroken, NotConnected
from gateway.upstream.tls import tls_context
from gateway.upstream.upstream import Upstream, UpstreamStats

if TYPE_CHECKING:
    from gateway.core.upstream_policy import UpstreamGroup
    from gateway.telemetry import Metrics
    from gateway.upstream.values import UpstreamTimeouts

log = structlog.get_logger(__name__)

PRESERVE = "preserve"
"""The word in policy for: send the caller's Host."""
_AGAINST = (NotConnected, DiedUnanswered, UpstreamTimeout, UpstreamInvalid)
_LOOK_S = 0.5
"""A retired group lasts at least so long, for requests that were decided under the policy that had it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupOptions:
    """What the process settings say about every group."""

    timeouts: UpstreamTimeouts
    max_connections: int = 256
    """For each server."""
    max_websockets: int = 1000
    """The same, beside them."""
    keepalive_s: float = 30.0


class Group:
    """The servers of one group. Lives on one event loop.

    Args:
        definition: As policy has it.
        options: Of the process.
        metrics: Where health is shown. None: nowhere.

    Raises:
        ValueError: A URL is not one.
        OSError: A TLS file cannot be read, or is not what it should be.
    """

    def __init__(self, definition: UpstreamGroup, options: GroupOptions, metrics: Metrics | None = None) -> None:
        self.name = definition.name
        self.definition = definition
        self.preserves_host = definition.host == PRESERVE
        """Whether requests carry the caller's Host. If not, they come without Host and `Upstream.host` is sent."""
        self._metrics = metrics
        is_tls = any(server.url.lower().startswith("https:") for server in definition.servers)
        tls = definition.tls
        context = tls_context(tls) if is_tls else None
        self.upstreams = tuple(
            Upstream(
                server.url,
                timeouts=options.timeouts,
                max_connections=options.max_connections,
                max_websockets=options.max_websockets,
                keepalive_s=options.keepalive_s,
                ssl_context=context,
                server_name=tls.server_name if tls is not None else None,
                host=None if self.preserves_host else definition.host,
                max_age_s=definition.max_age_s,
            )
            for server in definition.servers
        )
        self._index = {upstream: index for index, upstream in enumerate(self.upstreams)}
        self._by_load = definition.balance == "least-loaded" and len(self.upstreams) > 1
        self._balancer = Balancer(
            [server.weight for server in definition.servers],
            balance=definition.balance,
            ejection=definition.ejection,
            check=definition.check,
        )
        self._is_retired = False
        for upstream in self.upstreams:
            self._show(upstream, is_in=True)

    def candidates(self, now: float) -> tuple[Upstream, ...]:
        """The servers one request should try, in this order: the next only while nothing of it was sent.

        Each one that was tried is reported on once, with the same `now` as its `began_at`. A request that
        tries none reports that for the first: its turn may have been a trial.
        """
        upstreams = self.upstreams
        if len(upstreams) == 1:
            return upstreams
        loads = [upstream.load for upstream in upstreams] if self._by_load else ()
        return tuple([upstreams[index] for index in self._balancer.order(now, loads)])

    def report(self, upstream: Upstream, error: BaseException | None, *, began_at: float, now: float) -> None:
        """Say how a server did.

        Args:
            upstream: One of `candidates`.
            error: What ended the exchange; None if the server answered. `verdict` says what it means.
            began_at: What `candidates` was asked with.
            now: The instant.
        """
        if error is None and self._balancer.is_calm:
            return
        if self._balancer.ended(self._index[upstream], ok=verdict(error), began_at=began_at, now=now):
            self._tell(upstream, "" if error is None else _in_words(error))

    def checked(self, upstream: Upstream, reason: str | None, now: float) -> None:
        """Take the result of an active check: None if it passed, or what went wrong."""
        if self._balancer.checked(self._index[upstream], ok=reason is None, now=now):
            self._tell(upstream, reason or "")

    def states(self) -> tuple[ServerState, ...]:
        """How the servers are, in the definition's order."""
        return self._balancer.states()

    @property
    def stats(self) -> tuple[UpstreamStats, ...]:
        """The servers' connections, in the definition's order."""
        return tuple(upstream.stats for upstream in self.upstreams)

    async def retire(self) -> None:
        """Keep no idle connection, show no health, and return when what is in progress has ended."""
        self._is_retired = True
        for upstream in self.upstreams:
            upstream.retire()
        await asyncio.sleep(_LOOK_S)
        while not all(upstream.is_unused for upstream in self.upstreams):  # noqa: ASYNC110 - pools signal nothing
            await asyncio.sleep(_LOOK_S)

    async def aclose(self) -> None:
        """Close every connection. Exchanges in progress break off."""
        self._is_retired = True
        for upstream in self.upstreams:
            await upstream.aclose()

    def _tell(self, upstream: Upstream, reason: str) -> None:
        if self._is_retired:
            return
        state = self._balancer.states()[self._index[upstream]]
        self._show(upstream, is_in=state.is_in)
        if state.is_in:
            log.info("upstream server is back", group=self.name, server=upstream.url)
        else:
            log.warning(
                "upstream server is out",
                group=self.name,
                server=upstream.url,
                cause={"check": "failed checks", "failures": "failed requests"}[state.reason],
                reason=reason,
                others=len(self.upstreams) - 1,
            )

    def _show(self, upstream: Upstream, *, is_in: bool) -> None:
        if self._metrics is not None:
            self._metrics.upstream_healthy.labels(self.name, upstream.url).set(is_in)


def verdict(error: BaseException | None) -> bool | None:
    """What the end of an exchange says of the server: it did well, it did not, or, None, nothing.

    Args:
        error: What the exchange raised; None if it returned an outcome.
    """
    if error is None:
        return True
    if isinstance(error, ExchangeBroken):  # it had answered; only what it did then speaks against it
        return error.outcome.ended != "upstream-broke"
    return False if isinstance(error, _AGAINST) else None


def _in_words(error: BaseException) -> str:
    """For the log: what callers are told, and what the system said."""
    cause = error.__cause__
    return str(error) if cause is None else f"{error} ({type(cause).__name__}: {cause})"
