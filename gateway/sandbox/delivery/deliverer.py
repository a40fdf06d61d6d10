"""The sender of events: tasks on the running event loop, real time, one log of all deliveries.

A delivery is one event on its way to one endpoint; a duplicate is a delivery of its own. Nothing here waits
for an answer inside an API request: `submit` returns at once and the sending begins in the loop's next turn,
so the account and its clock are up to date before any receiver hears of it.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx

from gateway.sandbox.delivery.faults import Faults
from gateway.sandbox.delivery.signing import signature_header
from gateway.sandbox.records import Event, Json
from gateway.sandbox.rules import DeliveryRules
from gateway.sandbox.shapes.events import event_shape
from gateway.sandbox.world import World

_MOST_KEPT = 10_000
_UNSENT = frozenset({"pending", "held"})


@dataclass(slots=True, kw_only=True)
class Delivery:
    """One event on its way to one endpoint.

    `status` is pending, held, delivered, failed (given up), dropped or abandoned (the endpoint is gone).
    `attempts` are (real time, HTTP status or what went wrong).
    """

    id: int
    event: Event
    endpoint_id: str
    status: str = "pending"
    attempts: list[tuple[float, int | str]] = field(default_factory=list)

    def shape(self) -> Json:
        """For the control API."""
        return {
            "id": self.id,
            "event": self.event.id,
            "type": self.event.type,
            "endpoint": self.endpoint_id,
            "status": self.status,
            "attempts": [{"at": at, "outcome": outcome} for at, outcome in self.attempts],
        }


class Deliverer:
    """Sends the account's events. Must be opened within the event loop that it is to use."""

    def __init__(self, world: World, rules: DeliveryRules, seed: int = 0) -> None:
        self.log: dict[int, Delivery] = {}
        self.faults = Faults()
        self._world = world
        self._rules = rules
        self._count = 0
        self._held: list[Delivery] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._release_at: asyncio.TimerHandle | None = None
        self._shuffler = random.Random(seed)  # noqa: S311  # an order of delivery, not a secret
        self._slots = asyncio.Semaphore(rules.concurrency)
        plain_only = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody: endpoints are http:// on loopback
        self._client = httpx.AsyncClient(timeout=rules.timeout_s, trust_env=False, verify=plain_only)

    async def aclose(self) -> None:
        """Stop sending; what is on its way is given up."""
        if self._release_at is not None:
            self._release_at.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()

    def submit(self, events: Sequence[Event]) -> None:
        """Send each event to each endpoint that was enabled for it when it happened."""
        for event in events:
            for endpoint_id in event.endpoint_ids:
                for _ in range(1 + self.faults.duplicate):
                    self._begin(event, endpoint_id)

    def _begin(self, event: Event, endpoint_id: str) -> None:
        self._count += 1
        delivery = Delivery(id=self._count, event=event, endpoint_id=endpoint_id)
        self.log[delivery.id] = delivery
        self._forget_old()
        if self.faults.drops(event.type):
            delivery.status = "dropped"
        elif self.faults.pause or self.faults.order != "forward":
            delivery.status = "held"
            self._held.append(delivery)
            self._release_later()
        else:
            self._run([delivery])

    def _forget_old(self) -> None:
        if len(self.log) > _MOST_KEPT:
            finished = next((one for one in self.log.values() if one.status not in _UNSENT), None)
            if finished is not None:
                del self.log[finished.id]

    def _release_later(self) -> None:
        if self._release_at is None and not self.faults.pause:
            loop = asyncio.get_running_loop()
            self._release_at = loop.call_later(self._rules.hold_s, self.release)

    def release(self) -> None:
        """Send what was held, in the order that the faults ask for, one after the other."""
        if self._release_at is not None:
            self._release_at.cancel()
            self._release_at = None
        held, self._held = self._held, []
        if self.faults.order == "reverse":
            held.reverse()
        elif self.faults.order == "shuffle":
            self._shuffler.shuffle(held)
        for delivery in held:
            delivery.status = "pending"
        if held:
            self._run(held)

    def set_faults(self, faults: Faults) -> None:
        """Change what goes wrong; the end of a pause releases what was held."""
        was_paused = self.faults.pause
        if was_paused and not faults.pause:
            self.faults = faults
            self.release()
        self.faults = faults
        if self._held:
            self._release_later()

    def resend(self, event: Event) -> None:
        """Send an event again to every endpoint that is enabled for it now."""
        for endpoint in self._world.tables.endpoints.values():
            if endpoint.wants(event.type):
                self._begin(event, endpoint.id)

    @property
    def unsent(self) -> int:
        """How many deliveries are held, on their way, or waiting for another attempt."""
        return sum(one.status in _UNSENT for one in self.log.values())

    async def drain(self, timeout_s: float) -> bool:
        """Wait until nothing is left to send; held deliveries are released, unless there is a pause.

        Returns:
            False when something is still unsent after `timeout_s`, or at once when it is paused.
        """
        deadline = time.monotonic() + timeout_s
        while self.unsent:
            if not self.faults.pause:
                self.release()
            if not self._tasks:
                return False
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            await asyncio.wait(set(self._tasks), timeout=left)
        return True

    def _run(self, deliveries: list[Delivery]) -> None:
        task = asyncio.get_running_loop().create_task(self._send_in_order(deliveries))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send_in_order(self, deliveries: list[Delivery]) -> None:
        """The first attempts one after the other; what fails is tried again beside them."""
        if self.faults.delay_s:
            await asyncio.sleep(self.faults.delay_s)
        failed = [delivery for delivery in deliveries if not await self._attempt(delivery)]
        retries = [asyncio.ensure_future(self._retry(delivery)) for delivery in failed]
        try:
            await asyncio.gather(*retries)
        finally:
            for retry in retries:
                retry.cancel()

    async def _retry(self, delivery: Delivery) -> None:
        wait_s = self._rules.first_retry_s
        while len(delivery.attempts) < self._rules.attempts:
            await asyncio.sleep(wait_s)
            if await self._attempt(delivery):
                return
            wait_s = min(wait_s * self._rules.retry_factor, self._rules.longest_retry_s)
        delivery.status = "failed"

    async def _attempt(self, delivery: Delivery) -> bool:
        """Send once. True when there is nothing more to do for this delivery."""
        async with self._slots:
            endpoint = self._world.tables.endpoints.get(delivery.endpoint_id)
            if endpoint is None or not endpoint.enabled:
                delivery.status = "abandoned"
                return True
            event = delivery.event
            pending = self._world.pending_webhooks(event)
            body = json.dumps(event_shape(event, pending_webhooks=pending), indent=2).encode()
            now = time.time()
            headers = {
                "Content-Type": "application/json; charset=utf-8",
                "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
                "Stripe-Signature": signature_header(body, endpoint.secret, int(now)),
            }
            outcome: int | str
            try:
                answer = await self._client.post(endpoint.url, content=body, headers=headers)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                outcome = type(error).__name__
            else:
                outcome = answer.status_code
        delivery.attempts.append((now, outcome))
        if isinstance(outcome, int) and httpx.codes.is_success(outcome):
            delivery.status = "delivered"
            self._world.taken.add((event.id, endpoint.id))
            return True
        return False
