"""A webhook delivery: verified, stored, answered. Nothing else happens while Stripe waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import time
from typing import Literal, TypeAlias

import structlog

from gateway.billing import EventEnvelope, Meaning, meaning_of, subject_of, verify
from gateway.ledger import Ledger

log = structlog.get_logger(__name__)

Fate: TypeAlias = Literal["stored", "duplicate", "ignored", "wrong-mode", "wrong-account"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """What became of a genuine delivery. All of them are answered 200."""

    fate: Fate
    event_id: str
    type: str


async def receive_event(
    body: bytes,
    signature: str | None,
    *,
    secrets: Sequence[str],
    is_live: bool,
    ledger: Ledger,
    now: float,
    wake: Callable[[], None],
    wall_now: float | None = None,
) -> Received:
    """Take one delivery. When this returns, the event is safe, or needs not be.

    Args:
        body: Exactly the bytes received.
        signature: The `Stripe-Signature` field, if there was one.
        secrets: Signing secrets, any of which may have signed.
        is_live: Our own mode; events of the other one are not ours.
        ledger: Keeps the event.
        now: Unix seconds of the clock that the worker goes by.
        wake: Told when there is something new to work on.
        wall_now: Unix seconds of the real clock, by default the system's: signatures carry real
            time, also where a test clock rules.

    Raises:
        InvalidSignature, InvalidPayload, BodyTooLarge: Nothing was stored; answer 400 (413).
        LedgerUnavailable: It may not be stored; answer 503, so that Stripe delivers it again.
    """
    envelope = verify(body, signature, secrets, time() if wall_now is None else wall_now)
    fate = await keep_event(envelope, is_live=is_live, ledger=ledger, now=now)
    if fate == "stored":
        wake()
    return Received(fate=fate, event_id=envelope.event_id, type=envelope.type)


async def keep_event(envelope: EventEnvelope, *, is_live: bool, ledger: Ledger, now: float) -> Fate:
    """Store an event that is known to be Stripe's, unless it is none of our business or here already.

    Raises:
        LedgerUnavailable: It may not be stored.
    """
    refusal = accepts(envelope, is_live=is_live)
    if refusal is not None:
        if refusal != "ignored":
            log.warning("event of another mode or account", event_id=envelope.event_id, fate=refusal)
        return refusal
    subject = subject_of(envelope.payload) if envelope.stripe_customer_id is None else None
    is_new = await ledger.store_event(
        event_id=envelope.event_id,
        type=envelope.type,
        stripe_customer_id=envelope.stripe_customer_id,
        livemode=envelope.livemode,
        api_version=envelope.api_version,
        payload=envelope.payload,
        now=int(now),
        about=None if subject is None else subject[1],
    )
    return "stored" if is_new else "duplicate"


def accepts(envelope: EventEnvelope, *, is_live: bool) -> Fate | None:
    """Why an event is none of our business; None if it is."""
    if envelope.livemode != is_live:
        return "wrong-mode"
    if envelope.account is not None:
        return "wrong-account"
    return "ignored" if meaning_of(envelope.type) is Meaning.IGNORE else None
