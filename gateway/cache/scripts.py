"""The Lua scripts, their arguments and their answers. Pure: what is sent and read is elsewhere.

A charge answers with what every limit was owed before it. What is left, and until when, is
computed here: the server's time is shared by all workers, and Python's integers are exact.
"""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import hiredis

from gateway.cache.keyspace import (
    EXACT,
    RECEIPT_MARKER_S,
    acct_key,
    pace_key,
    receipt_key,
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
    QuotaClaim,
    RateClaim,
    WindowMoved,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.cache.values import Receipt

REFUSED, CHARGED, _STALE, _MISSING, _MOVED = range(5)
_PACE_SLACK_MS = 1000
_OWED_AT = 2
_RATE = struct.Struct("<3d")
_QUOTA = struct.Struct("<5d")
_INCLUDE = re.compile("^-- include (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One Lua file."""

    source: bytes
    sha: bytes


def _text(name: str) -> str:
    """A script's text, with those that it includes."""
    text = (files("gateway.cache") / "lua" / name).read_text("utf-8")
    return _INCLUDE.sub(lambda line: _text(line[1]), text)


def _read(name: str) -> Script:
    source = _text(name).encode()
    return Script(source=source, sha=hashlib.sha1(source, usedforsecurity=False).hexdigest().encode())


CHARGE = _read("charge.lua")
SETTLE = _read("settle.lua")
PUBLISH = _read("publish.lua")
ONCE = _read("once.lua")
ONCE_END = _read("once_end.lua")
ONCE_REFUND = _read("once_refund.lua")
CHARGE_BACK = _read("charge_back.lua")


def load_command(script: Script) -> bytes:
    """Make the server know a script."""
    return pack([b"SCRIPT", b"LOAD", script.source])


def prepare_charge(request: ChargeRequest) -> bytes:
    """The whole command, as it goes over the wire. With `now_ms` 0 it is good again and again.

    Raises:
        ValueError: A claim that the script could not honour exactly.
    """
    keys = charge_keys(request)
    return pack([b"EVALSHA", CHARGE.sha, len(keys), *keys, *charge_arguments(request)])


def charge_keys(request: ChargeRequest) -> tuple[str, ...]:
    """KEYS of `charge.lua`."""
    return use_key(request.customer_id), acct_key(request.customer_id)


def charge_arguments(request: ChargeRequest) -> tuple[bytes | str | int, ...]:
    """ARGV of `charge.lua`."""
    return (request.version, request.now_ms, 0, *_claim_arguments(request.claims))


def prepare_pace(address: str, rate: RateClaim, now_ms: int) -> bytes:
    """A charge of one rate without an account; the key goes when the bucket is empty."""
    drained_ms = -(-rate.burst * rate.window_ms // rate.units)
    arguments = (b"", now_ms, drained_ms + _PACE_SLACK_MS, *_claim_arguments((rate,)))
    return pack([b"EVALSHA", CHARGE.sha, 1, pace_key(address), *arguments])


def prepare_settlement(receipt: Receipt, costs: Sequence[int]) -> bytes:
    """The whole command, as it goes over the wire.

    Args:
        receipt: Of the charge.
        costs: What it cost in the end, for each part. All 0 gives the whole charge back.

    Raises:
        ValueError: Not one cost for each part, or one that cannot be counted exactly.
    """
    keys = settlement_keys(receipt)
    return pack([b"EVALSHA", SETTLE.sha, len(keys), *keys, *settlement_arguments(receipt, costs)])


def settlement_keys(receipt: Receipt) -> tuple[str, ...]:
    """KEYS of `settle.lua`."""
    return use_key(receipt.customer_id), receipt_key(receipt.customer_id, receipt.receipt_id)


def settlement_arguments(receipt: Receipt, costs: Sequence[int]) -> list[str | int]:
    """ARGV of `settle.lua`; raises as `prepare_settlement`."""
    arguments: list[str | int] = [RECEIPT_MARKER_S]
    for (field, window_starts_at, charged), cost in zip(receipt.parts, costs, strict=True):
        if not 0 <= cost < EXACT:
            raise ValueError(f"cost out of range: {cost!r}")
        if cost != charged:
            arguments += (field, cost - charged, window_starts_at)
    return arguments


def charge_answer(claims: Sequence[Claim], reply: list[Any]) -> ChargeAnswer:
    """What `charge.lua` returned, as a value.

    Args:
        claims: Of the request that was charged.
        reply: Its first item is `CHARGED` if it was.
    """
    verdict, now_ms = reply[0], reply[1]
    if verdict == CHARGED:
        states = [_state_charged(claim, reply[at], now_ms) for at, claim in enumerate(claims, _OWED_AT)]
        return Charged(now_ms=now_ms, states=tuple(states))
    if verdict == REFUSED:
        states = [_state_refused(claim, reply[at], now_ms) for at, claim in enumerate(claims, _OWED_AT)]
        return ChargeRefused(now_ms=now_ms, states=tuple(states))
    if verdict == _STALE:
        return AccountStale(now_ms=now_ms, version=reply[2], account=reply[3])
    if verdict == _MISSING:
        return AccountMissing(now_ms=now_ms)
    return WindowMoved(now_ms=now_ms)


def pack(arguments: list[str | bytes | int]) -> bytes:
    """A command, as it goes over the wire."""
    packed: bytes = hiredis.pack_command(tuple(arguments))  # type: ignore[arg-type]  # its stub says one argument
    return packed


def _state_charged(claim: Claim, owed: int, now_ms: int) -> LimitState:
    if isinstance(claim, QuotaClaim):
        left, reset_ms = claim.limit - owed - claim.cost, claim.ends_at * 1000 - now_ms
        return LimitState(remaining=left, reset_ms=reset_ms, allowed=True)
    debt = owed + claim.cost * claim.window_ms
    left = (claim.burst * claim.window_ms - debt) // claim.window_ms
    return LimitState(remaining=left, reset_ms=-(-debt // claim.units), allowed=True)


def _state_refused(claim: Claim, owed: int, now_ms: int) -> LimitState:
    """The state as it was, and still is."""
    if isinstance(claim, QuotaClaim):
        room, need, left = claim.limit - owed, claim.cost, claim.limit - owed
        reset_ms = claim.ends_at * 1000 - now_ms
    else:
        room, need = claim.burst * claim.window_ms - owed, claim.cost * claim.window_ms
        left, drained_ms = room // claim.window_ms, -(-owed // claim.units)
        if need <= room:
            reset_ms = drained_ms
        elif claim.cost > claim.burst:  # no wait is long enough
            reset_ms = max(claim.window_ms, drained_ms)
        else:
            reset_ms = -(-(need - room) // claim.units)
    return LimitState(remaining=max(0, left), reset_ms=reset_ms, allowed=need <= room)


def _claim_arguments(claims: Sequence[Claim]) -> tuple[bytes | str, ...]:
    """Their numbers in one argument, as `charge.lua` reads them, then their fields."""
    numbers = b"".join([claim_numbers(claim) for claim in claims])
    return (numbers, *(claim.field for claim in claims))


def claim_numbers(claim: Claim) -> bytes:
    """One claim, as `charge.lua` reads it."""
    if not 0 <= claim.cost < EXACT:
        raise ValueError(f"cost out of range: {claim!r}")
    if isinstance(claim, RateClaim):
        if not (claim.units >= 1 and claim.window_ms >= 1 and 1 <= claim.burst * claim.window_ms < EXACT):
            raise ValueError(f"rate out of range: {claim!r}")
        return _RATE.pack(claim.units, claim.cost * claim.window_ms, claim.burst * claim.window_ms)
    if not (0 <= claim.limit < EXACT and claim.starts_at < claim.ends_at):
        raise ValueError(f"quota out of range: {claim!r}")
    return _QUOTA.pack(0, claim.cost, claim.limit, claim.starts_at, claim.ends_at)
