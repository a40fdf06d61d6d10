"""The Lua scripts and their arguments. Pure: what is sent is elsewhere, and what comes back in `answers`."""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass
from importlib.resources import files
from itertools import count
from typing import TYPE_CHECKING

import hiredis

from gateway.cache.keyspace import (
    EXACT,
    RECEIPT_MARKER_S,
    acct_key,
    live_key,
    pace_key,
    receipt_key,
    use_key,
)
from gateway.core.charge import ChargeRequest, Claim, ConcurrencyClaim, RateClaim

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gateway.cache.values import Receipt
    from gateway.core.planned import Surplus

_PACE_SLACK_MS = 1000
_IS_PLACE = -2
_NO_CEILING = -1
_NO_CALL = b"$0\r\n\r\n"
_FIRST_LIVE_KEY = 3
_RATE = struct.Struct("<3d")
_PLACE = struct.Struct("<4d")
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
ONCE_RENEW = _read("once_renew.lua")
ONCE_REFUND = _read("once_refund.lua")
CHARGE_BACK = _read("charge_back.lua")
RELEASE = _read("release.lua")
RENEW = _read("renew.lua")
LEASE = _read("lease.lua")
LEASE_END = _read("lease_end.lua")
SCRIPTS = (CHARGE, SETTLE, PUBLISH, ONCE, ONCE_END, ONCE_RENEW, ONCE_REFUND, RELEASE, RENEW, LEASE, LEASE_END)


def load_command(script: Script) -> bytes:
    """Make the server know a script."""
    return pack([b"SCRIPT", b"LOAD", script.source])


def prepare_charge(request: ChargeRequest) -> bytes:
    """The whole command, as it goes over the wire. With `now_ms` 0 it is good again and again.

    With a claim for a place among the calls in progress it is good for one call, `call_id`; without
    `call_id` it is what `with_call` makes such commands of.

    Raises:
        ValueError: A claim that the script could not honour exactly.
    """
    keys = charge_keys(request)
    command = pack([b"EVALSHA", CHARGE.sha, len(keys), *keys, *charge_arguments(request)])
    is_open = not request.call_id and len(keys) >= _FIRST_LIVE_KEY
    return command.removesuffix(_NO_CALL) if is_open else command


def charge_keys(request: ChargeRequest) -> tuple[str, ...]:
    """KEYS of `charge.lua`."""
    customer_id, fields = request.customer_id, _live_fields(request.claims)
    return use_key(customer_id), acct_key(customer_id), *(live_key(customer_id, field) for field in fields)


def charge_arguments(request: ChargeRequest) -> tuple[bytes | str | int, ...]:
    """ARGV of `charge.lua`."""
    call = (request.call_id,) if _live_fields(request.claims) else ()
    return (request.version, request.now_ms, 0, *_claim_arguments(request.claims), *call)


def with_call(command: bytes, call_id: str) -> bytes:
    """A charge that was prepared without its call, for one call.

    Args:
        command: From `prepare_charge`, of claims with a place among the calls in progress.
        call_id: ASCII.
    """
    return b"%b$%d\r\n%b\r\n" % (command, len(call_id), call_id.encode())


def prepare_release(customer_id: str, fields: Sequence[str], call_id: str) -> bytes:
    """A call has ended: its places are free."""
    return pack([b"EVALSHA", RELEASE.sha, len(fields), *(live_key(customer_id, field) for field in fields), call_id])


def prepare_renewal(customer_id: str, field: str, call_ids: Sequence[str], now_ms: int) -> bytes:
    """Calls go on: they keep their places. `now_ms`: as of a charge."""
    return pack([b"EVALSHA", RENEW.sha, 1, live_key(customer_id, field), now_ms, *call_ids])


def prepare_pace(address: str, rate: RateClaim, now_ms: int) -> bytes:
    """A charge of one rate without an account; the key goes when the bucket is empty."""
    drained_ms = -(-rate.burst * rate.window_ms // rate.units)
    arguments = (b"", now_ms, drained_ms + _PACE_SLACK_MS, *_claim_arguments((rate,)))
    return pack([b"EVALSHA", CHARGE.sha, 1, pace_key(address), *arguments])


def prepare_settlement(receipt: Receipt, costs: Sequence[int], surpluses: Sequence[Surplus] = ()) -> bytes:
    """The whole command, as it goes over the wire.

    Args:
        receipt: Of the charge.
        costs: What it cost in the end, for each part. All 0 gives the whole charge back.
        surpluses: What it cost beside that, of limits with a chain.

    Raises:
        ValueError: Not one cost for each part, or one that cannot be counted exactly.
    """
    keys = settlement_keys(receipt)
    return pack([b"EVALSHA", SETTLE.sha, len(keys), *keys, *settlement_arguments(receipt, costs, surpluses)])


def settlement_keys(receipt: Receipt) -> tuple[str, ...]:
    """KEYS of `settle.lua`."""
    return use_key(receipt.customer_id), receipt_key(receipt.customer_id, receipt.receipt_id)


def settlement_arguments(receipt: Receipt, costs: Sequence[int], surpluses: Sequence[Surplus] = ()) -> list[str | int]:
    """ARGV of `settle.lua`; raises as `prepare_settlement`."""
    arguments: list[str | int] = [RECEIPT_MARKER_S, receipt.seq, receipt.charged_at]
    for (field, window_starts_at, charged), cost in zip(receipt.parts, costs, strict=True):
        if not 0 <= cost < EXACT:
            raise ValueError(f"cost out of range: {cost!r}")
        if cost != charged:
            arguments += (field, cost - charged, window_starts_at, _NO_CEILING)
    for surplus in surpluses:
        if not 0 < surplus.units < EXACT:
            raise ValueError(f"surplus out of range: {surplus.units!r}")
        units = surplus.units
        for link in surplus.chain:
            arguments += (link.field, units, link.starts_at, link.limit)
            units = 0  # what is left of it is handed on
        first = surplus.chain[0]
        arguments += (first.field, 0, first.starts_at, _NO_CEILING)
    return arguments


def pack(arguments: list[str | bytes | int]) -> bytes:
    """A command, as it goes over the wire."""
    packed: bytes = hiredis.pack_command(tuple(arguments))  # type: ignore[arg-type]  # its stub says one argument
    return packed


def _claim_arguments(claims: Sequence[Claim]) -> tuple[bytes | str, ...]:
    """Their numbers in one argument, as `charge.lua` reads them, then their fields."""
    return (claims_numbers(claims), *(claim.field for claim in claims))


def claims_numbers(claims: Sequence[Claim]) -> bytes:
    """Claims, as `charge.lua` reads them."""
    number_of_key = count(_FIRST_LIVE_KEY)
    return b"".join([_claim_numbers(claim, number_of_key) for claim in claims])


def _live_fields(claims: Sequence[Claim]) -> list[str]:
    return [claim.field for claim in claims if isinstance(claim, ConcurrencyClaim)]


def _claim_numbers(claim: Claim, number_of_key: Iterator[int]) -> bytes:
    if not 0 <= claim.cost < EXACT:
        raise ValueError(f"cost out of range: {claim!r}")
    if isinstance(claim, RateClaim):
        if not (claim.units >= 1 and claim.window_ms >= 1 and 1 <= claim.burst * claim.window_ms < EXACT):
            raise ValueError(f"rate out of range: {claim!r}")
        return _RATE.pack(claim.units, claim.cost * claim.window_ms, claim.burst * claim.window_ms)
    if isinstance(claim, ConcurrencyClaim):
        if not (claim.cost == 1 and 0 <= claim.limit < EXACT):
            raise ValueError(f"place out of range: {claim!r}")
        return _PLACE.pack(_IS_PLACE, 1, claim.limit, next(number_of_key))
    if not (0 <= claim.limit < EXACT and claim.starts_at < claim.ends_at):
        raise ValueError(f"quota out of range: {claim!r}")
    return _QUOTA.pack(-1 if claim.passes_on else 0, claim.cost, claim.limit, claim.starts_at, claim.ends_at)
