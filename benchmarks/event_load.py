"""Events as Stripe would send them, each due at its instant, over connections that are kept.

The time of a delivery counts from when it was due, also while all connections wait for answers: a gateway that
stops for a second cannot hide what came in that second. Signatures carry the time at which they are sent.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.event_stripe import stripe_customer, subscription
from gateway.sandbox.delivery.signing import signature_header
from gateway.sandbox.rules import API_VERSION

_CONNECTIONS = 64
_SEED = 1
_TYPES = ("customer.subscription.updated", "invoice.paid", "customer.subscription.updated", "invoice.payment_failed")
_PADDING = 40
"""Metadata fields in every object: a delivery has some 3 KB, as Stripe's have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Which events are sent, and how the gateway is set up for it."""

    name: str
    note: str
    customers: int
    copies: int = 1
    """How often every event is delivered."""
    is_thin: bool = False
    per_s: int | None = None
    """Requests to Stripe that background work may send a second; None: as the gateway is delivered."""
    on_postgresql: bool = False


@dataclass(slots=True, kw_only=True)
class Answers:
    """What became of the deliveries."""

    taken_ms: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)
    """How long after its instant each delivery was sent, for want of a free connection or of a processor."""
    statuses: Counter[int] = field(default_factory=Counter)
    stored: set[str] = field(default_factory=set)
    """Ids of events that were answered with 200."""

    def quantile_ms(self, share: float) -> float:
        """That share of the answers took no longer."""
        return _quantile(self.taken_ms, share)

    @property
    def late_p99_ms(self) -> float:
        """How late the load generator was itself."""
        return _quantile(self.late_ms, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event."""

    event_id: str
    body: bytes


def _quantile(values: Sequence[float], share: float) -> float:
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]


def draw(mix: Mix, count: int) -> list[Delivery]:
    """As many deliveries, in the order in which they are due; the same ones in every run."""
    chance = random.Random(_SEED)
    distinct = [_event(mix, number, number % mix.customers) for number in range(count // mix.copies)]
    deliveries = distinct * mix.copies
    chance.shuffle(deliveries)
    return deliveries


def _event(mix: Mix, number: int, owner: int) -> Delivery:
    event_id, kind, now = f"evt_bench{number:07d}", _TYPES[number % len(_TYPES)], int(time.time())
    told = _thin(event_id, owner) if mix.is_thin else _snapshot(event_id, kind, owner, now)
    return Delivery(event_id=event_id, body=json.dumps(told, indent=2).encode())


def _thin(event_id: str, owner: int) -> dict[str, object]:
    return {
        "id": event_id,
        "object": "v2.core.event",
        "context": None,
        "created": "2026-10-28T12:00:00.000Z",
        "livemode": False,
        "type": "v1.customer.subscription.updated",
        "related_object": {
            "id": subscription(owner),
            "type": "subscription",
            "url": f"/v1/subscriptions/{subscription(owner)}",
        },
    }


def _snapshot(event_id: str, kind: str, owner: int, now: int) -> dict[str, object]:
    name = "subscription" if kind.startswith("customer.subscription") else "invoice"
    subject = {
        "id": subscription(owner) if name == "subscription" else f"in_{event_id}",
        "object": name,
        "customer": stripe_customer(owner),
        "created": now,
        "metadata": {f"field_{place:02}": "twenty characters or so of text" for place in range(_PADDING)},
    }
    return {
        "id": event_id,
        "object": "event",
        "api_version": API_VERSION,
        "created": now,
        "data": {"object": subject},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }


async def deliver(port: int, secret: str, deliveries: Sequence[Delivery], rate: float) -> Answers:
    """Send them all, `rate` a second, and wait for the last answer."""
    answers, queue = Answers(), asyncio.Queue[tuple[float, Delivery] | None]()
    senders = [asyncio.create_task(_send(port, secret, queue, answers)) for _ in range(_CONNECTIONS)]
    chance, due_at = random.Random(_SEED), time.perf_counter()
    for delivery in deliveries:
        due_at += chance.expovariate(rate)
        if (early_s := due_at - time.perf_counter()) > 0:
            await asyncio.sleep(early_s)
        queue.put_nowait((due_at, delivery))
    for _ in senders:
        queue.put_nowait(None)
    await asyncio.gather(*senders)
    return answers


async def _send(port: int, secret: str, queue: asyncio.Queue[tuple[float, Delivery] | None], answers: Answers) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (found := await queue.get()) is not None:
        due_at, delivery = found
        answers.late_ms.append((time.perf_counter() - due_at) * 1000)
        writer.write(_request(port, secret, delivery.body))
        status = await _read(reader)
        answers.taken_ms.append((time.perf_counter() - due_at) * 1000)
        answers.statuses[status] += 1
        if status == 200:
            answers.stored.add(delivery.event_id)
    writer.close()


def _request(port: int, secret: str, body: bytes) -> bytes:
    head = (
        f"POST /api/v1/webhook HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json; charset=utf-8\r\n"
        f"User-Agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)\r\nContent-Length: {len(body)}\r\n"
        f"Stripe-Signature: {signature_header(body, secret, int(time.time()))}\r\n\r\n"
    )
    return head.encode() + body


async def _read(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    at = head.lower().find(b"\r\ncontent-length:")
    await reader.readexactly(int(head[at + 17 :].split(b"\r\n", 1)[0]))
    return int(head[9:12])
