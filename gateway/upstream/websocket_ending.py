"""Who ended a relayed WebSocket, and what each side is told.

Who ends it hears nothing more; the other side gets the same code and reason. What is no code that a
frame may carry is translated: none (1005) stays none towards the upstream and becomes 1000 towards the
caller, for which ASGI has no "none"; a caller that vanished is 1001 to the upstream, an
upstream that vanished 1011 to the caller (1014 says it better, but several clients take it for
a protocol error).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gateway.core.errors import Failed
from gateway.core.websocket import (
    ABNORMAL,
    GOING_AWAY,
    INTERNAL,
    INVALID_DATA,
    NO_STATUS,
    NORMAL,
    POLICY,
    RESTART,
    TOO_BIG,
    TRY_LATER,
    is_sendable,
)

if TYPE_CHECKING:
    from gateway.core.errors import TiergateError
    from gateway.upstream.websocket_limits import Cause, EndedBy


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Why it ends and what each side is told. None: nothing, it has closed or is gone."""

    by: EndedBy
    cause: Cause
    code: int
    to_caller: tuple[int, str] | None = None
    to_upstream: tuple[int, str] | None = None


SHUTDOWN = Ending(by="gateway", cause="shutdown", code=RESTART, to_caller=(RESTART, ""), to_upstream=(GOING_AWAY, ""))


def denied(error: TiergateError) -> Ending:
    """What the caller sent, or its time, could not be charged."""
    code = TRY_LATER if isinstance(error, Failed) else POLICY
    return Ending(by="gateway", cause="denied", code=code, to_caller=(code, error.code), to_upstream=(GOING_AWAY, ""))


def lost() -> Ending:
    """The upstream broke off, or shows no life."""
    return Ending(by="upstream", cause="lost", code=ABNORMAL, to_caller=(INTERNAL, "the upstream was lost"))


def close_of(event: Any) -> tuple[int, str]:
    """The code and reason with which the caller left.

    Some servers say 1005 where the connection broke without a close frame, and 1012 where they stop
    themselves; then they give no reason, not even an empty one.
    """
    code = event.get("code")
    code = NO_STATUS if code is None else int(code)
    reason = event.get("reason")
    if code == NO_STATUS and reason is None:
        return ABNORMAL, ""
    return code, reason or ""


def left(code: int, reason: str) -> Ending:
    """The caller closed, or was lost."""
    if code == ABNORMAL or not (is_sendable(code) or code == NO_STATUS):
        return Ending(by="caller", cause="lost", code=code, to_upstream=(GOING_AWAY, ""))
    return Ending(by="caller", cause="closed", code=code, to_upstream=(code, reason))


def too_big() -> Ending:
    """The caller's message exceeds the bound."""
    told = (TOO_BIG, "the message is larger than may be")
    return Ending(by="gateway", cause="too-big", code=TOO_BIG, to_caller=told, to_upstream=told)


def upstream_ended(code: int, reason: str, fault: tuple[int, str] | None) -> Ending:
    """The upstream closed, broke off, or (`fault`: what it was told) did what it may not."""
    if fault is not None:
        cause: Cause = "too-big" if fault[0] == TOO_BIG else "faulty"
        told = fault if fault[0] in {TOO_BIG, INVALID_DATA} else (INTERNAL, "the upstream broke the protocol")
        return Ending(by="gateway", cause=cause, code=fault[0], to_caller=told, to_upstream=fault)
    if code == ABNORMAL:
        return lost()
    told = (NORMAL, "") if code == NO_STATUS else (code, reason)
    return Ending(by="upstream", cause="closed", code=code, to_caller=told)
