"""The Lua scripts, their arguments and their answers. Pure: what is sent and read is elsewhere."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import hiredis

from gateway.cache.keyspace import (
    EXACT,
    REFUND_MARKER_S,
    acct_key,
    pace_key,
    refund_key,
    use_key,
)
from gateway.core.charge import (
    AccountMissing,
    AccountStale,
    ChargeAnswer,
    Charged,
    ChargeRefused,
    ChargeRequest,
    Claim,
    LimitState,
    RateClaim,
    WindowMoved,
)

if TYPE_CHECKING:
    from gateway.cache.values import Receipt

_REFUSED, _CHARGED, _STALE, _MISSING, _MOVED = range(5)
_PACE_SLACK_MS = 1000
_STATE_AT = 2
_STATE_LENGTH = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One Lua file."""

    source: bytes
    sha: bytes


def _read(name: str) -> Script:
    source = (files("gateway.cache") / "lua" / name).read_bytes()
    return Script(source=source, sha=hashlib.sha1(source, usedforsecurity=False).hexdigest().encode())


CHARGE = _read("charge.lua")
REFUND = _read("refund.lua")
PUBLISH = _read("publish.lua")


def load_command(script: Script) -> bytes:
    """Make the server know a script."""
    return _pack([b"SCRIPT", b"LOAD", script.source])


def prepare_charge(request: ChargeRequest) -> bytes:
    """The whole command, as it goes over the wire.

    Raises:
        ValueError: A claim that the script could not honour exactly.
    """
    arguments: list[str | bytes | int] = [
        b"EVALSHA",
        CHARGE.sha,
        2,
        use_key(request.customer_id),
        acct_key(request.customer_id),
        request.version,
        request.now_ms,
        0,
    ]
    for claim in request.claims:
        arguments += _claim_arguments(claim)
    return _pack(arguments)


def prepare_pace(address: str, rate: RateClaim, now_ms: int) -> bytes:
    """A charge of one rate without an account; the key goes when the bucket is empty."""
    drained_ms = -(-rate.burst * rate.window_ms // rate.units)
    expires_ms = drained_ms + _PACE_SLACK_MS
    head = (b"EVALSHA", CHARGE.sha, 1, pace_key(address), b"", now_ms, expires_ms)
    return _pack([*head, *_claim_arguments(rate)])


def prepare_refund(receipt: Receipt) -> bytes:
    """The whole command, as it goes over the wire."""
    arguments: list[str | bytes | int] = [
        b"EVALSHA",
        REFUND.sha,
        2,
        use_key(receipt.customer_id),
        refund_key(receipt.customer_id, receipt.receipt_id),
        REFUND_MARKER_S,
    ]
    for field, window_starts_at, cost in receipt.parts:
        arguments += (field, cost, window_starts_at)
    return _pack(arguments)


def charge_answer(reply: list[Any]) -> ChargeAnswer:
    """What `charge.lua` returned, as a value."""
    verdict, now_ms = reply[0], reply[1]
    if verdict == _CHARGED:
        return Charged(now_ms=now_ms, states=_states(reply))
    if verdict == _REFUSED:
        return ChargeRefused(now_ms=now_ms, states=_states(reply))
    if verdict == _STALE:
        return AccountStale(now_ms=now_ms, version=reply[2], account=reply[3])
    if verdict == _MISSING:
        return AccountMissing(now_ms=now_ms)
    return WindowMoved(now_ms=now_ms)


def _pack(arguments: list[str | bytes | int]) -> bytes:
    packed: bytes = hiredis.pack_command(tuple(arguments))  # type: ignore[arg-type]  # its stub says one argument
    return packed


def _states(reply: list[Any]) -> tuple[LimitState, ...]:
    return tuple(
        LimitState(remaining=reply[at], reset_ms=reply[at + 1], allowed=reply[at + 2] == 1)
        for at in range(_STATE_AT, len(reply), _STATE_LENGTH)
    )


def _claim_arguments(claim: Claim) -> tuple[str | bytes | int, ...]:
    if not 0 <= claim.cost < EXACT:
        raise ValueError(f"cost out of range: {claim!r}")
    if isinstance(claim, RateClaim):
        if not (claim.units >= 1 and claim.window_ms >= 1 and 1 <= claim.burst * claim.window_ms < EXACT):
            raise ValueError(f"rate out of range: {claim!r}")
        return (b"r", claim.field, claim.cost, claim.units, claim.window_ms, claim.burst)
    if not (0 <= claim.limit < EXACT and claim.starts_at < claim.ends_at):
        raise ValueError(f"quota out of range: {claim!r}")
    return (b"q", claim.field, claim.cost, claim.limit, claim.starts_at, claim.ends_at)
