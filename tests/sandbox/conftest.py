"""The real sandbox on a socket, the real SDK in front of it, and a real webhook receiver behind it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import stripe

from gateway.sandbox import DeliveryRules, Listening, Running, Simulator, running
from tests.fakes.listener import Listener
from tests.stripe_sdk.wire import Wire

PAYS = "4242 4242 4242 4242"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The SDK hands httpx a str where httpx has come to prefer another name for it."""
    known = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(known)


@dataclass(slots=True)
class Receiver:
    """A webhook endpoint. `answers` are the statuses to give next; then `usually`."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    usually: int = 200
    got: list[tuple[bytes, dict[str, str]]] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body, _ in self.got]

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode("latin-1").split("\r\n")[1:-2]
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                body = await reader.readexactly(int(headers["content-length"]))
                self.got.append((body, headers))
                self.arrived.set()
                status = self.answers.pop(0) if self.answers else self.usually
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()


@dataclass(slots=True)
class Sandbox:
    """Everything a test drives."""

    running: Running
    client: stripe.StripeClient
    http: httpx.AsyncClient

    @property
    def v1(self) -> Any:
        return self.client.v1

    @property
    def simulator(self) -> Simulator:
        return self.running.simulator

    async def control(self, path: str, **body: Any) -> Any:
        answer = await self.http.post(f"{self.running.stripe_url}/_sandbox/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def advance(self, seconds: float, **body: Any) -> Any:
        return await self.control("clock/advance", seconds=seconds, **body)

    async def advance_to(self, instant: float) -> Any:
        return await self.control("clock/advance", until=instant)

    async def drain(self) -> None:
        assert (await self.control("deliveries/drain", timeout_s=10))["drained"]

    async def customer(self, **fields: Any) -> Any:
        return await self.v1.customers.create_async({"email": "payer@example.com", **fields})

    async def open_checkout(self, *, price: str = "price_pro_monthly", **fields: Any) -> Any:
        return await self.v1.checkout.sessions.create_async(
            {
                "mode": "subscription",
                "line_items": [{"price": price, "quantity": 1}],
                "success_url": "http://127.0.0.1/done?session={CHECKOUT_SESSION_ID}",
                "cancel_url": "http://127.0.0.1/pricing",
                **fields,
            }
        )

    async def pay(self, session: Any, card: str = PAYS) -> httpx.Response:
        return await self.http.post(session.url, data={"card_number": card, "email": "payer@example.com"})

    async def listen_thinly(self, receiver: Receiver, *types: str) -> Any:
        return await self.client.v2.core.event_destinations.create_async(
            {
                "name": "thin",
                "type": "webhook_endpoint",
                "event_payload": "thin",
                "enabled_events": list(types or ("*",)),
                "webhook_endpoint": {"url": receiver.url},
                "include": ["webhook_endpoint.signing_secret", "webhook_endpoint.url"],
            }
        )

    async def subscribe(self, *, price: str = "price_pro_monthly", card: str = PAYS) -> Any:
        """A new customer's paid subscription."""
        customer = await self.customer()
        session = await self.open_checkout(price=price, customer=customer.id)
        answer = await self.pay(session, card)
        assert answer.status_code == 303
        done = await self.v1.checkout.sessions.retrieve_async(session.id)
        return await self.v1.subscriptions.retrieve_async(done.subscription)

    async def subscription(self, subscription_id: str) -> Any:
        return await self.v1.subscriptions.retrieve_async(subscription_id)

    async def events(self, **filters: Any) -> list[Any]:
        """Oldest first."""
        page = await self.v1.events.list_async({"limit": 100, **filters})
        return list(reversed(page.data))

    async def listen(self, receiver: Receiver, *types: str) -> Any:
        return await self.v1.webhook_endpoints.create_async(
            {"url": receiver.url, "enabled_events": list(types or ("*",))}
        )


@pytest.fixture(autouse=True)
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """Whatever a test makes the sandbox take or say must be known to the pinned SDK."""
    wire = Wire(checks_refused=False)
    monkeypatch.setattr(stripe.HTTPXClient, "request_async", wire.noting(stripe.HTTPXClient.request_async))
    yield wire
    assert wire.faults == []


@pytest.fixture
async def sandbox(tmp_path: Any) -> AsyncIterator[Sandbox]:
    rules = DeliveryRules(first_retry_s=0.02, longest_retry_s=0.1, attempts=4, hold_s=0.1, timeout_s=2)
    listening = Listening(seeded=True, run="t", clock_file=tmp_path / "clock", delivery_rules=rules)
    async with running(listening) as now, httpx.AsyncClient(trust_env=False, verify=False, timeout=60) as http:
        transport = stripe.HTTPXClient(timeout=5)
        client = stripe.StripeClient(
            now.key, base_addresses={"api": now.stripe_url}, max_network_retries=0, http_client=transport
        )
        yield Sandbox(now, client, http)
        await transport.close_async()


@pytest.fixture
async def make_receiver(wire: Wire) -> AsyncIterator[Callable[[], Awaitable[Receiver]]]:
    made: list[Receiver] = []
    async with AsyncExitStack() as stack:

        async def make() -> Receiver:
            receiver = Receiver()
            listener = await stack.enter_async_context(Listener(receiver.serve))
            receiver.url = f"http://127.0.0.1:{listener.port}/webhook"
            made.append(receiver)
            return receiver

        yield make
    for event in (event for receiver in made for event in receiver.events):
        wire.note_event(event)


@pytest.fixture
async def receiver(make_receiver: Callable[[], Awaitable[Receiver]]) -> Receiver:
    return await make_receiver()
