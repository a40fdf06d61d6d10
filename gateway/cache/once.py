"""Charges of calls with an Idempotency-Key: commands and answers. Pure, as `scripts`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from gateway.cache.answers import CHARGED, REFUSED, charge_answer
from gateway.cache.keyspace import EXACT, once_key, onces_key
from gateway.cache.scripts import (
    ONCE,
    ONCE_END,
    ONCE_REFUND,
    ONCE_RENEW,
    charge_arguments,
    charge_keys,
    claims_numbers,
    pack,
    settlement_arguments,
    settlement_keys,
)
from gateway.core.charge import ChargeAnswer, Charged, ChargeRefused, ChargeRequest, Claim, QuotaClaim
from gateway.core.credits import chain_heads
from gateway.core.once import BUSY_S, MOST_KEYS, OnceCall

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.cache.values import Receipt

REPEATED, _BUSY, _REUSED, _REPEAT_REFUSED = range(5, 9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """The call was charged before: this is what became of the claims of its repeat."""

    answer: Charged | ChargeRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class OnceBusy:
    """The first call under the key has not ended. Nothing was spent."""

    wait_ms: int
    """After this it is taken for lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnceReused:
    """The key was used for another call. Nothing was spent."""


OnceAnswer: TypeAlias = ChargeAnswer | Repeated | OnceBusy | OnceReused


def prepare_once(
    request: ChargeRequest,
    repeat: Sequence[Claim],
    call: OnceCall,
    receipt_id: str,
    *,
    most_keys: int = MOST_KEYS,
) -> bytes:
    """A charge of `request`, or of the claims `repeat` if that was charged before: as many, of the same limits.

    Args:
        request: The first call's charge.
        repeat: Its repeats'.
        call: With its key.
        receipt_id: Of the charge that may happen.
        most_keys: Keys that are kept of a customer; a call under one more is charged as if it had none.

    Raises:
        ValueError: As `prepare_charge`.
    """
    customer_id = request.customer_id
    keys = (once_key(customer_id, call.digest), onces_key(customer_id), *charge_keys(request))
    numbers = claims_numbers([_open(claim) for claim in repeat])
    terms = (call.terms.window_s * 1000, BUSY_S * 1000, call.terms.repeats, numbers, most_keys)
    arguments = (call.fingerprint, receipt_id, *terms, *charge_arguments(request))
    return pack([b"EVALSHA", ONCE.sha, len(keys), *keys, *arguments])


def prepare_once_end(customer_id: str, call: OnceCall, receipt_id: str) -> bytes:
    """The charged call has ended, and stays charged."""
    return pack([b"EVALSHA", ONCE_END.sha, 1, once_key(customer_id, call.digest), receipt_id])


def prepare_once_renewal(customer_id: str, call: OnceCall, receipt_id: str, now_ms: int) -> bytes:
    """The charged call goes on: its key stays in flight. `now_ms`: as of a charge."""
    key = once_key(customer_id, call.digest)
    return pack([b"EVALSHA", ONCE_RENEW.sha, 1, key, receipt_id, now_ms, BUSY_S * 1000])


def prepare_once_refund(receipt: Receipt, call: OnceCall) -> bytes:
    """A settlement at nothing (`prepare_settlement`), which also frees the key."""
    customer_id = receipt.customer_id
    keys = (once_key(customer_id, call.digest), onces_key(customer_id), *settlement_keys(receipt))
    arguments = (receipt.receipt_id, *settlement_arguments(receipt, [0] * len(receipt.parts)))
    return pack([b"EVALSHA", ONCE_REFUND.sha, len(keys), *keys, *arguments])


def once_answer(claims: Sequence[Claim], repeat: Sequence[Claim], reply: list[Any]) -> OnceAnswer:
    """What `once.lua` returned, as a value. `claims` and `repeat`: as they were prepared."""
    verdict = reply[0]
    if verdict == _BUSY:
        return OnceBusy(wait_ms=reply[2])
    if verdict == _REUSED:
        return OnceReused()
    if verdict not in {REPEATED, _REPEAT_REFUSED}:
        return charge_answer(claims, reply)
    known = [CHARGED if verdict == REPEATED else REFUSED, *reply[1:]]
    answer = cast("Charged | ChargeRefused", charge_answer(repeat, known))
    states = tuple(
        replace(state, remaining=max(0, state.remaining), allowed=state.allowed or isinstance(claim, QuotaClaim))
        for claim, state in zip(chain_heads(repeat), answer.states, strict=True)
    )
    return Repeated(answer=replace(answer, states=states))


def _open(claim: Claim) -> Claim:
    """No quota refuses a repeat, also one that is overdrawn: it takes nothing."""
    return replace(claim, limit=EXACT - 1) if isinstance(claim, QuotaClaim) else claim
