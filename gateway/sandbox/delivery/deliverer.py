"""The sender of events: tasks on the running event loop, real time, one log of all deliveries.

A delivery is one event on its way to one endpoint; a duplicate is a delivery of its own. Nothing here waits
for an answer inside an API request: `submit` returns at once and the sending begins in the loop's next turn,
so the account and its clock are up to date before any receiver hears of it.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence

from gateway.sandbox.delivery.chance import hits
from gateway.sandbox.delivery.delivery import UNSENT, Delivery
from gateway.sandbox.delivery.faults import Faults
from gateway.sandbox.delivery.sending import HttpSender, Send
from gateway.sandbox.delivery.signing import signature_header
from gateway.sandbox.event_records import Event, WebhookEndpoint
from gateway.sandbox.rules import DeliveryRules
from gateway.sandbox.shapes.events import event_shape, notification_shape
from gateway.sandbox.wire.laid_out import laid_out
from gateway.sandbox.world import World

_MOST_KEPT = 10_000
_SUCCESSES = range(200, 300)


class Deliverer:
    """Sends the account's events. Must be opened within the event loop that it is to use.

    Args:
        world: The account.
        rules: How often and how long it tries.
        now: Simulated Unix seconds.
        send: Takes the place of HTTP.
    """

    def __init__(
        self, world: World, rules: DeliveryRules, *, now: Callable[[], float], send: Send | None = None
    ) -> None:
        self.log: dict[int, Delivery] = {}
        self.faults = Faults()
        self.rules = rules
        self._world = world
        self._now = now
        self._count = 0
        self._held: list[Delivery] = []
        self._waiting: list[Delivery] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._release_at: asyncio.TimerHandle | None = None
        self._shuffler = random.Random(0)  # noqa: S311  # an order of delivery, not a secret
        self._slots = asyncio.Semaphore(rules.concurrency)
        self._http = HttpSender()
        self._send = send or self._http

    async def aclose(self) -> None:
        """Stop sending; what is on its way is given up."""
        if self._release_at is not None:
            self._release_at.cancel()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._http.aclose()

    def submit(self, events: Sequence[Event]) -> None:
        """Send each event to each endpoint that was enabled for it when it happened."""
        for event in events:
            for endpoint_id in event.endpoint_ids:
                for copy in range(self.faults.copies(event.id)):
                    self._begin(event, endpoint_id, copy)

    def _begin(self, event: Event, endpoint_id: str, copy: int = 0) -> None:
        self._count += 1
        delivery = Delivery(id=self._count, event=event, endpoint_id=endpoint_id, copy=copy)
        self.log[delivery.id] = delivery
        self._forget_old()
        if self.faults.drops(event.type, event.id):
            delivery.status = "dropped"
        elif self.faults.pause or self.faults.order != "forward":
            delivery.status = "held"
            self._held.append(delivery)
            self._release_later()
        else:
            self._run([delivery])

    def _forget_old(self) -> None:
        if len(self.log) > _MOST_KEPT:
            finished = next((one for one in self.log.values() if one.status not in UNSENT), None)
            if finished is not None:
                del self.log[finished.id]

    def _release_later(self) -> None:
        if self._release_at is None and not self.faults.pause:
            loop = asyncio.get_running_loop()
            self._release_at = loop.call_later(self.rules.hold_s, self.release)

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

    def drop_held(self) -> None:
        """Never send what is held."""
        for delivery in self._held:
            delivery.status = "dropped"
        self._held = []

    def set_faults(self, faults: Faults) -> None:
        """Change what goes wrong; the end of a pause releases what was held."""
        self._shuffler.seed(faults.seed)
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
        """How many deliveries are held, on their way, or about to be sent again."""
        return sum(one.status in UNSENT for one in self.log.values())

    @property
    def next_due_at(self) -> float | None:
        """When, of simulated time, the next attempt is made that waits for the test clock."""
        return min((one.due_at for one in self._waiting if one.due_at is not None), default=None)

    def try_due(self) -> None:
        """Make the attempts for which the test clock has come far enough."""
        now = self._now()
        due = [one for one in self._waiting if one.due_at is not None and one.due_at <= now]
        if due:
            self._waiting = [one for one in self._waiting if one not in due]
            for delivery in due:
                delivery.status, delivery.due_at = "pending", None
            self._run(due)

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
        """The first attempts one after the other; what is held up or fails goes on beside them."""
        beside: list[asyncio.Task[None]] = []
        try:
            for delivery in deliveries:
                wait_s = 0.0 if delivery.attempts else self.faults.waits_s(delivery.event.id, delivery.copy)
                if wait_s or not await self._attempt(delivery):
                    beside.append(asyncio.ensure_future(self._go_on(delivery, wait_s)))
            await asyncio.gather(*beside)
        finally:
            for task in beside:
                task.cancel()

    async def _go_on(self, delivery: Delivery, wait_s: float) -> None:
        """Until it is taken, given up, or left to the test clock. `wait_s`: it was not tried at all yet."""
        if wait_s:
            await asyncio.sleep(wait_s)
            if await self._attempt(delivery):
                return
        while (pause_s := self.rules.wait_s(len(delivery.attempts))) is not None:
            if self.rules.on_test_clock:
                delivery.status, delivery.due_at = "waiting", self._now() + pause_s
                self._waiting.append(delivery)
                return
            await asyncio.sleep(pause_s)
            if await self._attempt(delivery):
                return
        delivery.status = "failed"

    async def _attempt(self, delivery: Delivery) -> bool:
        """Send once. True when there is nothing more to do for this delivery."""
        async with self._slots:
            endpoint = self._world.tables.endpoints.get(delivery.endpoint_id)
            if endpoint is None or not endpoint.enabled:
                delivery.status = "abandoned"
                return True
            now = time.time()
            outcome = await self._try(delivery, endpoint, now)
        delivery.attempts.append((now, outcome))
        if outcome in _SUCCESSES:
            delivery.status = "delivered"
            self._world.taken.add((delivery.event.id, endpoint.id))
            return True
        return False

    async def _try(self, delivery: Delivery, endpoint: WebhookEndpoint, now: float) -> int | str:
        event, faults = delivery.event, self.faults
        drawn = (event.id, delivery.copy, len(delivery.attempts))
        if hits(faults.unreached, faults.seed, "unreached", *drawn):
            return "Unreached"
        pending = self._world.pending_webhooks(event)
        version = faults.api_version or endpoint.api_version
        snapshot = event_shape(event, pending_webhooks=pending, api_version=version)
        body = laid_out(notification_shape(event) if endpoint.thin else snapshot)
        headers = {
            "Content-Type": "application/json; charset=utf-8",
            "User-Agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "Stripe-Signature": signature_header(body, endpoint.secret, int(now)),
        }
        outcome = await self._send(endpoint.url, body, headers, self.rules.timeout_s)
        if hits(faults.unanswered, faults.seed, "unanswered", *drawn):
            return "Unanswered"
        return outcome
