"""Is this really from Stripe, and whom is it about? No I/O, no clock.

Law: not a byte of the body is parsed before its signature is right. The signature is
checked here and not by the SDK, which takes one secret a call, lets timestamps of the
future pass, decodes before it verifies and fails with TypeError on a header outside ASCII;
a test keeps both in agreement about everything else.

Source: https://docs.stripe.com/webhooks#verify-manually
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from gateway.billing.notification import NOTIFICATION, created_at, notified_customer, related_object
from gateway.core.errors import BodyTooLarge, Rejected

TOLERANCE_S = 300
"""How far a signature's timestamp may lie from now, in either direction."""
MAX_PAYLOAD_BYTES = 1_048_576
"""Stripe's events are tens of kilobytes; nothing larger is even hashed."""
_MAX_HEADER = 4096
_MAX_SIGNATURES = 16

_EVENT_ID = re.compile(r"evt_[A-Za-z0-9_]{1,200}")
_TYPE = re.compile(r"[a-z0-9_]+(?:\.[a-z0-9_]+){1,8}")
_CUSTOMER_ID = re.compile(r"cus_[A-Za-z0-9_]{1,200}")
_VERSION = re.compile(r"[A-Za-z0-9_.-]{1,60}")
_DIGITS = re.compile(r"[0-9]{1,12}")
_REFERENCE = re.compile(r"[A-Za-z0-9_.-]{1,100}")

METADATA_BEFORE = "tiergate_customer_before"
"""On a Stripe customer: the one that it was made in place of."""
METADATA_CUSTOMER = "tiergate_customer_id"
METADATA_LEDGER = "tiergate_ledger_id"
"""Which ledger the customer that is named beside it is in: one account of Stripe may have several gateways."""
METADATA_USER = "tiergate_user_id"
METADATA_PLAN = "tiergate_plan_id"
METADATA_GIVES_UP = "tiergate_gives_up"
"""On a subscription, or a change of it that waits: ids of items that are to go once it is made, with commas."""
METADATA_PLANNED = "tiergate_planned"
"""On a subscription: the change that was planned until one that waits for its payment took its place."""
METADATA_PLANNED_AS = "tiergate_planned_as"
"""Beside it: what the planned plan is sold at. A key of its own, because the release before reads no other words."""
METADATA_TERMS = "tiergate_terms"
"""On a schedule of ours: a mark of how its subscription was paid and taxed as it was planned (`billing.terms`)."""
METADATA_TIER = "tier"
"""On a product, set by the seller: the tier that all of its prices grant, unless a plan sells them."""


SignatureTrouble: TypeAlias = Literal["unsigned", "other-secret", "other-time"]
"""No signature in Stripe's form; none by a secret of ours; by one, and too far from now."""


class InvalidSignature(Rejected):
    """No signature, a wrong one, or one too far from now. Nothing was read; the sender is not told which.

    Args:
        trouble: Which it is, for the operator.
    """

    code = "invalid-signature"

    def __init__(self, trouble: SignatureTrouble) -> None:
        super().__init__("The Stripe-Signature field does not prove that Stripe sent this now.")
        self.trouble = trouble


class InvalidPayload(Rejected):
    """Signed by Stripe, but not an event that this version reads."""

    code = "invalid-payload"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventEnvelope:
    """What is kept of one event. Only a hint: nothing in it grants access."""

    event_id: str
    type: str
    stripe_customer_id: str | None
    livemode: bool
    account: str | None
    """The other account it is about; None for our own."""
    api_version: str | None
    created: int
    payload: str


def verify(
    body: bytes, header: str | None, secrets: Sequence[str], now: float, *, tolerance_s: int = TOLERANCE_S
) -> EventEnvelope:
    """Check who sent a webhook delivery, then read it.

    Args:
        body: Exactly the bytes received.
        header: The `Stripe-Signature` field.
        secrets: Signing secrets, any of which may have signed: two while one is being rotated.
        now: Unix seconds.
        tolerance_s: How far the timestamp may lie in the past or the future.

    Raises:
        BodyTooLarge: Larger than `MAX_PAYLOAD_BYTES`.
        InvalidSignature: Not from Stripe, or not from now.
        InvalidPayload: Signed, and still not an event.
    """
    if len(body) > MAX_PAYLOAD_BYTES:
        raise BodyTooLarge(f"A webhook delivery has at most {MAX_PAYLOAD_BYTES} bytes.")
    check_signature(body, header, secrets, now, tolerance_s=tolerance_s)
    return parse_event(body)


def check_signature(
    body: bytes, header: str | None, secrets: Sequence[str], now: float, *, tolerance_s: int = TOLERANCE_S
) -> None:
    """Check the signature and its age, in time that does not depend on the secrets.

    Raises:
        InvalidSignature: With one text for every reason.
    """
    signed_at, signatures = _read_header(header)
    text = f"{signed_at}.".encode() + body
    genuine = False
    for secret in secrets:
        if not secret.strip():
            raise ValueError("an empty signing secret would let anyone sign events")
        expected = hmac.digest(secret.encode(), text, "sha256").hex().encode()
        for signature in signatures:
            genuine |= hmac.compare_digest(expected, signature)
    if not genuine:
        raise InvalidSignature("other-secret")
    if abs(now - int(signed_at)) > tolerance_s:
        raise InvalidSignature("other-time")


def parse_event(body: bytes) -> EventEnvelope:
    """Read an event whose sender is known already.

    Raises:
        InvalidPayload: Not UTF-8, not JSON, or neither a snapshot event nor a thin one.
    """
    try:
        text = body.decode()
        event = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidPayload("The body is not a JSON document in UTF-8.") from None
    if isinstance(event, dict) and event.get("object") == NOTIFICATION:
        return read_notification(event, text)
    if not isinstance(event, dict) or event.get("object") != "event":
        raise InvalidPayload("The body is neither a snapshot event nor a thin one.")
    return read_envelope(event, text)


def read_notification(event: Mapping[str, Any], payload: str) -> EventEnvelope:
    """The envelope of a decoded thin event. Its `context` is whose account it is about, if not our own.

    Raises:
        InvalidPayload: A field that every thin event has is missing or of another kind.
    """
    event_id, event_type = _read_names(event)
    created, livemode, context = created_at(event), event.get("livemode"), event.get("context")
    if created is None or not isinstance(livemode, bool):
        raise InvalidPayload("The event does not say when and in which mode it was made.")
    customer = notified_customer(event)
    return EventEnvelope(
        event_id=event_id,
        type=event_type,
        stripe_customer_id=customer if customer is not None and _CUSTOMER_ID.fullmatch(customer) else None,
        livemode=livemode,
        account=context if isinstance(context, str) and context else None,
        api_version=None,
        created=created,
        payload=payload,
    )


def _read_names(event: Mapping[str, Any]) -> tuple[str, str]:
    event_id, event_type = event.get("id"), event.get("type")
    if not isinstance(event_id, str) or not _EVENT_ID.fullmatch(event_id):
        raise InvalidPayload("The event has no id.")
    if not isinstance(event_type, str) or not _TYPE.fullmatch(event_type):
        raise InvalidPayload("The event has no type.")
    return event_id, event_type


def read_envelope(event: Mapping[str, Any], payload: str) -> EventEnvelope:
    """The envelope of a decoded event.

    Raises:
        InvalidPayload: A field that every event has is missing or of another kind.
    """
    event_id, event_type = _read_names(event)
    created, livemode, api_version = event.get("created"), event.get("livemode"), event.get("api_version")
    data, account = event.get("data"), event.get("account")
    if type(created) is not int or not isinstance(livemode, bool):
        raise InvalidPayload("The event does not say when and in which mode it was made.")
    if not isinstance(data, dict) or not isinstance(data.get("object"), dict):
        raise InvalidPayload("The event is about nothing.")
    return EventEnvelope(
        event_id=event_id,
        type=event_type,
        stripe_customer_id=_customer_of(event_type, data["object"]),
        livemode=livemode,
        account=account if isinstance(account, str) else None,
        api_version=api_version if isinstance(api_version, str) and _VERSION.fullmatch(api_version) else None,
        created=created,
        payload=payload,
    )


def subject_of(payload: str) -> tuple[str, str] | None:
    """Kind and id of the object an event is about, thin or not: `("dispute", "du_1")`. Never raises.

    A thin event that names none (a summary of entitlements has no id) is about itself: what it is the thin form of
    can be asked for by its own id.
    """
    kind: object
    try:
        event = json.loads(payload)
        if event["object"] == NOTIFICATION:
            kind, named = related_object(event) or (NOTIFICATION, event["id"])
        else:
            kind, named = event["data"]["object"]["object"], event["data"]["object"]["id"]
    except (ValueError, RecursionError, LookupError, TypeError):
        return None
    found = reference_in(named)
    return (kind, found) if isinstance(kind, str) and found is not None else None


def remapped_price(payload: str) -> str | None:
    """The price whose lookup key an event says was moved, or may have been; None if it says otherwise. Never raises."""
    subject = subject_of(payload)
    if subject is None or subject[0] != "price":
        return None
    try:
        previous = json.loads(payload)["data"].get("previous_attributes")
        is_moved = previous is None or "lookup_key" in previous
    except (LookupError, TypeError, AttributeError):  # a thin event does not say
        is_moved = True
    return subject[1] if is_moved else None


def _read_header(header: str | None) -> tuple[str, list[bytes]]:
    if header is None or len(header) > _MAX_HEADER or not header.isascii():
        raise InvalidSignature("unsigned")
    fields = [part.partition("=") for part in header.split(",")]
    times = [value for name, _, value in fields if name == "t"]
    signatures = [value.encode() for name, _, value in fields if name == "v1"]
    if not times or not _DIGITS.fullmatch(times[0]) or not 0 < len(signatures) <= _MAX_SIGNATURES:
        raise InvalidSignature("unsigned")
    return times[0], signatures


def _customer_of(event_type: str, subject: Mapping[str, Any]) -> str | None:
    """The object itself in `customer.deleted` and its like, else its `customer`, expanded or not."""
    if subject.get("object") == "customer" or event_type in {
        "customer.created",
        "customer.updated",
        "customer.deleted",
    }:
        found = subject.get("id")
    else:
        found = subject.get("customer")
        if isinstance(found, dict):
            found = found.get("id")
    return found if isinstance(found, str) and _CUSTOMER_ID.fullmatch(found) else None


def reference_in(value: object) -> str | None:
    """A text that may be an id, or None."""
    return value if isinstance(value, str) and _REFERENCE.fullmatch(value) else None
