"""Stripe's deliveries: what is stored, what is refused, and with which words."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import secrets
import sqlite3
import time

import pytest

from gateway.billing import MAX_PAYLOAD_BYTES

WEBHOOK = "/api/v1/webhook"


@pytest.fixture
def sign():
    """A delivery as Stripe would send it: body and Stripe-Signature."""

    def sign(body, secret, at=None):
        stamp = int(at if at is not None else time.time())
        digest = hmac.digest(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hex()
        return {"content": body, "headers": {"stripe-signature": f"t={stamp},v1={digest}"}}

    return sign


@pytest.fixture
def signed(gateway, sign):
    """The same, for the gateway that all tests share."""

    def signed(body, *, at=None, secret=gateway.webhook_secret):
        return sign(body, secret, at)

    return signed


def an_event(*, size=0, **changes):
    event = {
        "id": f"evt_{secrets.token_hex(8)}",
        "object": "event",
        "type": "customer.subscription.updated",
        "created": int(time.time()),
        "livemode": False,
        "api_version": "2026-10-28.endive",
        "data": {"object": {"id": "sub_1", "object": "subscription", "customer": f"cus_{secrets.token_hex(8)}"}},
        **changes,
    }
    if size:
        event["padding"] = ""
        event["padding"] = "x" * (size - len(json.dumps(event)))
    return json.dumps(event).encode()


def stored(gateway, body):
    return gateway.admin.get(f"/_tiergate/admin/events/{json.loads(body)['id']}")


def test_a_genuine_event_is_stored_once_and_worked_on(gateway, signed, until):
    body = an_event()
    answers = [gateway.browser().post(WEBHOOK, **signed(body)) for _ in range(3)]
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, {"status": "received"})] * 3
    until(lambda: stored(gateway, body).json()["event"]["status"] == "done")
    assert stored(gateway, body).json()["payload"]["id"] == json.loads(body)["id"]


@pytest.mark.parametrize(
    "make",
    [
        lambda _, body: {"content": body},
        lambda _, body: {"content": body, "headers": {"stripe-signature": "t=1,v1=00"}},
        lambda _, body: {"content": body, "headers": {"stripe-signature": "nonsense"}},
        lambda signed, body: signed(body, secret="whsec_another_secret_of_some_length"),
        lambda signed, body: signed(body, at=time.time() - 400),
        lambda signed, body: signed(body, at=time.time() + 400),
        lambda signed, body: signed(body) | {"content": body.replace(b"subscription.updated", b"subscription.deleted")},
    ],
    ids=["unsigned", "wrong", "unreadable", "other-secret", "old", "future", "altered"],
)
def test_what_stripe_did_not_sign_now_is_refused(gateway, signed, make):
    body = an_event()
    answer = gateway.browser().post(WEBHOOK, **make(signed, body))
    assert answer.status_code == 400
    assert answer.json()["error"] == answer.json()["detail"] == "Invalid webhook signature"
    assert stored(gateway, body).status_code == 404


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b"\xff\xfe", b'{"object": "event"}', b'{"id": "evt_1"}'])
def test_what_is_signed_and_no_event_is_refused(gateway, signed, body):
    answer = gateway.browser().post(WEBHOOK, **signed(body))
    assert answer.status_code == 400
    assert answer.json()["error"] == answer.json()["detail"] == "Invalid payload format"


def count_too_large(gateway):
    lines = gateway.admin.get("/_tiergate/metrics").text.splitlines()
    found = [line for line in lines if line.startswith("tiergate_stripe_events_total") and '"too-large"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in found)


def test_an_oversized_delivery_is_refused_unread_and_counted(gateway, signed):
    before = count_too_large(gateway)
    fits, too_large = an_event(size=MAX_PAYLOAD_BYTES), an_event(size=MAX_PAYLOAD_BYTES + 1)
    assert gateway.browser().post(WEBHOOK, **signed(fits)).status_code == 200
    answer = gateway.browser().post(WEBHOOK, **signed(too_large))
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")
    assert str(MAX_PAYLOAD_BYTES) in answer.json()["detail"]
    assert stored(gateway, too_large).status_code == 404
    assert count_too_large(gateway) == before + 1


def test_an_oversized_delivery_without_a_length_is_refused_and_counted_too(gateway):
    def endless():
        for _ in range(40):
            yield b"x" * 32_768

    before = count_too_large(gateway)
    answer = gateway.browser().post(WEBHOOK, content=endless())
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")
    assert count_too_large(gateway) == before + 1


def test_an_event_of_the_other_mode_is_acknowledged_and_ignored(gateway, signed):
    body = an_event(livemode=True)
    assert gateway.browser().post(WEBHOOK, **signed(body)).status_code == 200
    assert stored(gateway, body).status_code == 404


@pytest.mark.slow
def test_an_event_that_cannot_be_stored_is_not_acknowledged(start_gateway, sign, tmp_path):
    file = tmp_path / "ledger.sqlite3"
    busy = start_gateway(TIERGATE_LEDGER_URL=f"sqlite:///{file}")
    body = an_event()
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = busy.browser().post(WEBHOOK, **sign(body, busy.webhook_secret))
        assert (answer.status_code, answer.json()["code"]) == (503, "ledger-unavailable")
        assert "retry-after" in answer.headers
        other.execute("ROLLBACK")
    assert busy.browser().post(WEBHOOK, **sign(body, busy.webhook_secret)).status_code == 200


def test_a_payment_reaches_the_customer_without_being_asked_for(gateway, sandbox, until):
    _, _, client = gateway.customer()
    told = client.post("/api/v1/create-checkout", json={"plan_id": "pro-monthly"}).json()
    assert client.get("/api/v1/subscription").json()["tier"] == "free"
    sandbox.pay(told["checkout_url"])
    until(lambda: client.get("/api/v1/subscription").json()["tier"] == "pro")
    assert client.post("/v1/render/x").status_code != 403


@pytest.mark.parametrize(
    ("at", "secret", "told"),
    [
        (None, "whsec_another_secret_of_some_length", ["other-secret", "STRIPE_WEBHOOK_SECRET"]),
        (-400, None, ["other-time", "NTP"]),
    ],
    ids=["another secret", "another time"],
)
def test_the_operator_is_told_once_a_minute_why_deliveries_are_refused(start_gateway, apart, sign, at, secret, told):
    gateway = start_gateway(**apart)
    for _ in range(3):
        stamp = None if at is None else time.time() + at
        answer = gateway.browser().post(WEBHOOK, **sign(an_event(), secret or gateway.webhook_secret, stamp))
        assert answer.status_code == 400
    [line] = [line for line in gateway.log.read_text().splitlines() if "deliveries are refused" in line]
    assert all(word in line for word in told)
    assert gateway.webhook_secret not in line


def test_what_is_not_signed_at_all_is_no_news_to_the_operator(start_gateway, apart):
    gateway = start_gateway(**apart)
    assert gateway.browser().post(WEBHOOK, content=an_event()).status_code == 400
    assert "deliveries are refused" not in gateway.log.read_text()
