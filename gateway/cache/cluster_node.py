"""A server of a cluster: a node that gives back what it cannot do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

import hiredis
import structlog

from gateway.cache.endpoint import Endpoint
from gateway.cache.library import connection_options, open_client
from gateway.cache.node import Node

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Callable

    from gateway.cache.wire import Call
    from gateway.core.cache_url import Host

_ASKING = hiredis.pack_command(("ASKING",))

log = structlog.get_logger(__name__)


class Others(Protocol):
    """The cluster, as one of its servers sees it."""

    def place(self, call: Call) -> None:
        """Send a call that was not sent to whoever has its slot."""
        ...

    def redirect(self, host: Host, call: Call, text: str) -> bool:
        """See to a call that a server has refused, if it belongs elsewhere or can be sent once more."""
        ...

    def doubt(self) -> None:
        """Who has which slots may have changed."""
        ...


class ClusterNode(Node):
    """One server.

    Args:
        others: The cluster that it is part of.
        host: Where it is.
        url: The same, with all that is needed to connect.
        options: As a `Node`'s.
    """

    def __init__(
        self,
        others: Others,
        host: Host,
        url: str,
        *,
        deadline_s: float,
        operation_s: float,
        on_connected: Callable[[], Awaitable[None]] | None,
    ) -> None:
        super().__init__(
            Endpoint(url, connection_options()),
            open_client(url, operation_s),
            deadline_s=deadline_s,
            operation_s=operation_s,
            on_connected=on_connected,
        )
        self._others = others
        self.host = host
        self.kept_until = 0.0
        """Loop time until which it stays although it has no slots."""

    def take_asking(self, call: Call) -> None:
        """Send one call for a key that has moved here ahead of its slot."""
        first = cast("asyncio.Future[Any]", _Unheard(call[1]))
        self.take((_ASKING, first, call[2], True), call)

    def _on_lost(self, error: BaseException, hangs: bool, unsent: list[Call]) -> None:  # noqa: FBT001 - the signature that the lane calls
        super()._on_lost(error, hangs, [])
        log.warning("a server of the cluster is lost", server=self.host[0], port=self.host[1])
        self._others.doubt()
        for call in unsent:
            if call[0] is not _ASKING:
                self._others.place(call)

    def _elsewhere(self, call: Call, text: str) -> bool:
        return call[0] is not _ASKING and self._others.redirect(self.host, call, text)


class _Unheard:
    """Takes the answer to ASKING, as a future does. It is sent only if the call that follows it is."""

    __slots__ = ("_reply",)

    def __init__(self, reply: asyncio.Future[Any]) -> None:
        self._reply = reply

    def done(self) -> bool:
        return self._reply.done()

    def set_result(self, answer: object) -> None:
        """The call that follows has an answer of its own."""

    def set_exception(self, error: BaseException) -> None:
        """The same connection will tell it too."""
