"""A webhook delivery: stored before it is answered, and only if it is genuine and ours."""

import json
from collections.abc import Awaitable, Callable
from time import time
from typing import Any

import pytest
import stripe

from gateway.billing import InvalidPayload, InvalidSignature
from gateway.core.errors import BodyTooLarge, LedgerUnavailable
from gateway.ledger import Ledger
from gateway.sync import Received, receive_event

NOW = 1_800_000_000
SECRET = "whsec_0123456789abcdef0123456789abcdef"

Receive = Callable[..., Awaitable[Received]]


def event(**changes: Any) -> bytes:
    fields = {
        "id": "evt_1",
        "object": "event",
        "type": "customer.subscription.updated",
        "created": NOW,
        "livemode": False,
        "data": {"object": {"object": "subscription", "customer": "cus_1"}},
    }
    return json.dumps(fields | changes).encode()


def sign(body: bytes, at: int = NOW) -> str:
    return stripe.WebhookSignature.generate_signature_header(body.decode(), SECRET, at)


@pytest.fixture
def woken() -> list[bool]:
    return []


@pytest.fixture
def receive(ledger: Ledger, woken: list[bool]) -> Receive:
    async def deliver(body: bytes, signature: str | None, *, wall_now: float | None = NOW) -> Received:
        return await receive_event(
            body,
            signature,
            secrets=(SECRET,),
            is_live=False,
            ledger=ledger,
            now=NOW + 7,
            wake=lambda: woken.append(True),
            wall_now=wall_now,
        )

    return deliver


async def test_a_genuine_event_is_in_the_ledger_when_it_is_answered(
    receive: Receive, ledger: Ledger, woken: list[bool]
) -> None:
    body = event()
    received = await receive(body, sign(body))
    row = await ledger.find_event("evt_1")
    assert (received.fate, received.event_id, woken) == ("stored", "evt_1", [True])
    assert row is not None
    assert (row.status, row.stripe_customer_id, row.received_at) == ("pending", "cus_1", NOW + 7)
    assert row.payload == body.decode()


async def test_a_second_delivery_is_a_duplicate_and_wakes_nobody(receive: Receive, woken: list[bool]) -> None:
    body = event()
    await receive(body, sign(body))
    assert (await receive(body, sign(body))).fate == "duplicate"
    assert woken == [True]


NOT_OURS = {
    "of the other mode": ({"livemode": True}, "wrong-mode"),
    "of a connected account": ({"account": "acct_1"}, "wrong-account"),
    "of a type we do not act on": ({"type": "balance.available"}, "ignored"),
}


@pytest.mark.parametrize(("changes", "fate"), NOT_OURS.values(), ids=NOT_OURS.keys())
async def test_a_genuine_event_that_is_none_of_our_business_is_not_kept(
    receive: Receive, ledger: Ledger, woken: list[bool], changes: dict[str, Any], fate: str
) -> None:
    body = event(**changes)
    assert (await receive(body, sign(body))).fate == fate
    assert await ledger.find_event("evt_1") is None
    assert woken == []


def unsigned() -> tuple[bytes, str | None]:
    return event(), None


def forged() -> tuple[bytes, str | None]:
    return event(), f"t={NOW},v1={'0' * 64}"


def old() -> tuple[bytes, str | None]:
    return event(), sign(event(), NOW - 301)


def future() -> tuple[bytes, str | None]:
    return event(), sign(event(), NOW + 301)


def replayed_with_another_body() -> tuple[bytes, str | None]:
    return event(id="evt_2"), sign(event())


def not_an_event() -> tuple[bytes, str | None]:
    return b"[]", sign(b"[]")


def huge() -> tuple[bytes, str | None]:
    body = event(padding="x" * 2_000_000)
    return body, sign(body)


@pytest.mark.parametrize("make", [unsigned, forged, old, future, replayed_with_another_body, not_an_event, huge])
async def test_nothing_of_a_bad_delivery_is_kept(
    receive: Receive, ledger: Ledger, woken: list[bool], make: Callable[[], tuple[bytes, str | None]]
) -> None:
    with pytest.raises((InvalidSignature, InvalidPayload, BodyTooLarge)):
        await receive(*make())
    assert await ledger.list_events() == []
    assert woken == []


async def test_signatures_are_checked_by_the_wall_clock_unless_told_otherwise(receive: Receive) -> None:
    body = event()
    assert (await receive(body, sign(body, int(time())), wall_now=None)).fate == "stored"
    with pytest.raises(InvalidSignature):
        await receive(body, sign(body, NOW), wall_now=None)


async def test_a_ledger_that_cannot_store_is_an_error_and_never_an_answer(
    receive: Receive, ledger: Ledger, woken: list[bool]
) -> None:
    body = event()
    await ledger.aclose()
    with pytest.raises(LedgerUnavailable):
        await receive(body, sign(body))
    assert woken == []
