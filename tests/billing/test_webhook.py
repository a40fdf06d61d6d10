"""Who may make us believe that Stripe spoke."""

import hashlib
import hmac
import json
import time
from typing import Any

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from gateway.billing import InvalidPayload, InvalidSignature, claimed_customer, verify
from gateway.billing.webhook import MAX_PAYLOAD_BYTES, check_signature
from gateway.core.errors import BodyTooLarge

SECRET = "whsec_0123456789abcdef0123456789abcdef"
OTHER = "whsec_fedcba9876543210fedcba9876543210"
NOW = 1_800_000_000


def sign(body: bytes, secret: str = SECRET, at: int = NOW) -> str:
    return stripe.WebhookSignature.generate_signature_header(body.decode("utf-8"), secret, at)


def event(**changes: Any) -> dict[str, Any]:
    fields = {
        "id": "evt_1",
        "object": "event",
        "type": "customer.subscription.updated",
        "created": NOW,
        "livemode": False,
        "api_version": "2026-10-28.endive",
        "data": {"object": {"id": "sub_1", "object": "subscription", "customer": "cus_1"}},
    }
    return {name: value for name, value in (fields | changes).items() if value is not ...}


def encoded(**changes: Any) -> bytes:
    return json.dumps(event(**changes)).encode()


def test_a_genuine_event_is_read() -> None:
    body = encoded()
    envelope = verify(body, sign(body), (SECRET,), NOW)
    assert (envelope.event_id, envelope.type, envelope.stripe_customer_id) == (
        "evt_1",
        "customer.subscription.updated",
        "cus_1",
    )
    assert envelope.payload == body.decode()
    assert envelope.livemode is False
    assert envelope.account is None


def test_while_a_secret_is_rotated_both_are_good() -> None:
    body = encoded()
    assert verify(body, sign(body, SECRET), (OTHER, SECRET), NOW)
    assert verify(body, sign(body, OTHER), (OTHER, SECRET), NOW)


def test_one_genuine_signature_among_several_suffices() -> None:
    body = encoded()
    header = sign(body)
    assert verify(body, f"{header},v1={'0' * 64},v0=abc", (SECRET,), NOW)


@pytest.mark.parametrize("age_s", [301, 3600, 10**9, -301, -3600])
def test_a_timestamp_too_far_from_now_is_refused_in_both_directions(age_s: int) -> None:
    body = encoded()
    with pytest.raises(InvalidSignature):
        verify(body, sign(body, at=NOW - age_s), (SECRET,), NOW)


@pytest.mark.parametrize("age_s", [0, 300, -300])
def test_a_timestamp_within_the_tolerance_is_good(age_s: int) -> None:
    body = encoded()
    assert verify(body, sign(body, at=NOW - age_s), (SECRET,), NOW)


BAD_HEADERS = {
    "missing": None,
    "empty": "",
    "words": "hello",
    "no timestamp": "v1=" + "0" * 64,
    "no signature": f"t={NOW}",
    "another scheme": f"t={NOW},v0=" + "0" * 64,
    "wrong signature": f"t={NOW},v1=" + "0" * 64,
    "empty signature": f"t={NOW},v1=",
    "not a number": "t=now,v1=" + "0" * 64,
    "a signed number": f"t=+{NOW},v1=" + "0" * 64,
    "an underscore in the number": "t=1_8,v1=" + "0" * 64,
    "a number without end": "t=" + "9" * 4000 + ",v1=" + "0" * 64,
    "outside ASCII": f"t={NOW},v1=\xff\xfe",
    "huge": f"t={NOW}," + ",".join(["v1=" + "0" * 64] * 1000),
    "many signatures": f"t={NOW}," + ",".join(["v1=0"] * 100),
}


@pytest.mark.parametrize("header", BAD_HEADERS.values(), ids=BAD_HEADERS.keys())
def test_a_bad_header_is_refused(header: str | None) -> None:
    with pytest.raises(InvalidSignature):
        verify(encoded(), header, (SECRET,), NOW)


def test_a_signature_by_another_secret_is_refused() -> None:
    body = encoded()
    with pytest.raises(InvalidSignature):
        verify(body, sign(body, OTHER), (SECRET,), NOW)


def test_a_changed_body_is_refused() -> None:
    body = encoded()
    with pytest.raises(InvalidSignature):
        verify(body.replace(b"cus_1", b"cus_2"), sign(body), (SECRET,), NOW)


def test_a_moved_timestamp_is_refused() -> None:
    body = encoded()
    header = sign(body, at=NOW - 3600).replace(str(NOW - 3600), str(NOW))
    with pytest.raises(InvalidSignature):
        verify(body, header, (SECRET,), NOW)


@pytest.mark.parametrize("secret", ["", " ", "\t"])
def test_an_empty_secret_is_a_fault_of_ours_and_verifies_nothing(secret: str) -> None:
    body = encoded()
    with pytest.raises(ValueError, match="empty signing secret"):
        verify(body, sign(body), (secret,), NOW)


def test_without_any_secret_nothing_is_genuine() -> None:
    body = encoded()
    with pytest.raises(InvalidSignature):
        verify(body, sign(body), (), NOW)


def test_an_unsigned_body_is_never_parsed() -> None:
    with pytest.raises(InvalidSignature):
        verify(b"\xff not json", f"t={NOW},v1=00", (SECRET,), NOW)


def raw_header(body: bytes) -> str:
    return f"t={NOW},v1=" + hmac.new(SECRET.encode(), f"{NOW}.".encode() + body, hashlib.sha256).hexdigest()


BAD_BODIES = {
    "not UTF-8": b'{"id": "\xff"}',
    "empty": b"",
    "not JSON": b"id=evt_1",
    "a list": b"[]",
    "a string": b'"evt_1"',
    "null": b"null",
    "too deep": b"[" * 100_000,
    "a byte order mark": b"\xef\xbb\xbf{}",
    "a thin event without a date": json.dumps(event(object="v2.core.event")).encode(),
    "another object": json.dumps(event(object="charge")).encode(),
    "no object": encoded(object=...),
    "no id": encoded(id=...),
    "an id of another kind": encoded(id=7),
    "an id with a blank": encoded(id="evt_ 1"),
    "an id without end": encoded(id="evt_" + "1" * 500),
    "no type": encoded(type=...),
    "a type of another kind": encoded(type=["customer.deleted"]),
    "no created": encoded(created=...),
    "created as a word": encoded(created="now"),
    "created as true": encoded(created=True),
    "no livemode": encoded(livemode=...),
    "livemode as a word": encoded(livemode="false"),
    "no data": encoded(data=...),
    "no object inside": encoded(data={}),
    "a list inside": encoded(data={"object": []}),
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_signed_body_that_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidPayload):
        verify(body, raw_header(body), (SECRET,), NOW)


def test_a_huge_body_is_refused_before_it_is_hashed() -> None:
    body = b" " * (MAX_PAYLOAD_BYTES + 1)
    with pytest.raises(BodyTooLarge):
        verify(body, raw_header(body), (SECRET,), NOW)


CUSTOMERS = {
    "by its id": ("invoice.paid", {"object": "invoice", "customer": "cus_9"}, "cus_9"),
    "expanded": ("invoice.paid", {"object": "invoice", "customer": {"id": "cus_9", "object": "customer"}}, "cus_9"),
    "the object itself": ("customer.deleted", {"object": "customer", "id": "cus_9"}, "cus_9"),
    "absent": ("charge.dispute.created", {"object": "dispute", "charge": "ch_1"}, None),
    "null": ("checkout.session.completed", {"object": "checkout.session", "customer": None}, None),
    "of another kind": ("invoice.paid", {"object": "invoice", "customer": 9}, None),
    "not an id": ("invoice.paid", {"object": "invoice", "customer": "cus_\n"}, None),
}


@pytest.mark.parametrize(("event_type", "subject", "expected"), CUSTOMERS.values(), ids=CUSTOMERS.keys())
def test_the_customer_of_an_event_is_found(event_type: str, subject: dict[str, Any], expected: str | None) -> None:
    body = encoded(type=event_type, data={"object": subject})
    assert verify(body, sign(body), (SECRET,), NOW).stripe_customer_id == expected


def test_the_account_of_a_connected_event_is_kept() -> None:
    body = encoded(account="acct_1")
    assert verify(body, sign(body), (SECRET,), NOW).account == "acct_1"


CLAIMS = {
    "of a checkout": (
        {
            "object": "checkout.session",
            "id": "cs_1",
            "client_reference_id": "abc",
            "metadata": {"tiergate_customer_id": "abc"},
        },
        ("abc", "abc", "cs_1"),
    ),
    "of a payment link": (
        {"object": "checkout.session", "id": "cs_1", "client_reference_id": "abc"},
        (None, "abc", "cs_1"),
    ),
    "of a subscription": ({"object": "subscription", "metadata": {"tiergate_customer_id": "abc"}}, ("abc", None, None)),
    "of an invoice": (
        {"object": "invoice", "parent": {"subscription_details": {"metadata": {"tiergate_customer_id": "abc"}}}},
        ("abc", None, None),
    ),
    "with odd values": (
        {"object": "checkout.session", "id": 3, "client_reference_id": "a b", "metadata": "x", "parent": []},
        (None, None, None),
    ),
    "of nobody": ({"object": "invoice", "parent": None, "metadata": None}, (None, None, None)),
}


@pytest.mark.parametrize(("subject", "expected"), CLAIMS.values(), ids=CLAIMS.keys())
def test_whom_a_payload_names(subject: dict[str, Any], expected: tuple[str | None, ...]) -> None:
    claimed = claimed_customer(encoded(data={"object": subject}).decode())
    assert (claimed.by_metadata, claimed.by_reference, claimed.session_id) == expected


@pytest.mark.parametrize("payload", ["", "[]", "{}", '{"data": 3}', '{"data": {"object": 3}}', "[" * 100_000])
def test_a_payload_that_names_nobody_raises_nothing(payload: str) -> None:
    claimed = claimed_customer(payload)
    assert claimed.by_metadata is None


def test_no_error_says_what_was_sent_or_what_was_expected() -> None:
    body = encoded()
    with pytest.raises(InvalidSignature) as caught:
        verify(body, sign(body, OTHER), (SECRET,), NOW)
    assert "whsec" not in repr(caught.value)
    assert "cus_1" not in repr(caught.value)


@given(body=st.text().map(str.encode), secret=st.sampled_from([SECRET, OTHER]), last=st.sampled_from("0123"))
def test_the_sdk_agrees_on_every_timely_signature(body: bytes, secret: str, last: str) -> None:
    now = int(time.time())
    header = sign(body, secret, now)[:-1] + last
    try:
        stripe.WebhookSignature.verify_header(body, header, SECRET, 300)
        sdk_accepts = True
    except stripe.SignatureVerificationError:
        sdk_accepts = False
    try:
        check_signature(body, header, (SECRET,), now)
        we_accept = True
    except InvalidSignature:
        we_accept = False
    assert we_accept == sdk_accepts
