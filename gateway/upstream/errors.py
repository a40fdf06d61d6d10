"""What ends an exchange early, beside the failures that callers hear about (`gateway.core.errors`).

ClientLeft           the caller is gone: nobody is there to answer
  ClientFaulty       the caller's body stalled, grew too large, or was not as long as announced
ExchangeBroken       the response had begun and cannot be finished: cut the connection
ExchangeCancelled    as asyncio.CancelledError, with how far the response had come
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from gateway.core.errors import BodyIncomplete, Rejected, UpstreamUnreachable

if TYPE_CHECKING:
    from gateway.upstream.values import Outcome


class ClientLeft(Exception):
    """The caller went away before the response began. Nothing was sent and nothing can be."""


class ClientFaulty(ClientLeft):
    """The caller stopped sending or reading, or its body turned out too large, or unlike its announced length.

    Args:
        message: What it did.
        refusal: The error to tell it. Its call may have been worked on, so it stays charged.
    """

    def __init__(self, message: str, refusal: type[Rejected] = BodyIncomplete) -> None:
        super().__init__(message)
        self.refusal = refusal(message)


class ExchangeBroken(Exception):
    """The response had begun and broke off.

    Whoever sees it must cut the caller's connection, so that what was sent cannot be taken for
    the whole.
    """

    def __init__(self, message: str, outcome: Outcome) -> None:
        super().__init__(message)
        self.outcome = outcome


class ExchangeCancelled(asyncio.CancelledError):
    """The exchange's task was cancelled in the middle of a response."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__()
        self.outcome = outcome


class NotConnected(UpstreamUnreachable):
    """No connection could be made. Nothing was sent, so another upstream may be asked."""


class DiedUnanswered(UpstreamUnreachable):
    """The connection closed before the first byte of a response. What a retry may follow."""
