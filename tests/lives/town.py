"""Many buyers before one gateway and one Stripe: real parts in one process, and time that is moved by hand.

The sandbox's engine, deliveries and HTTP app are the real ones, without sockets between; so are the SDK, the
ledger (SQLite) and the cache (Valkey). How lives go on in it is `living`, and what must hold `holding`.
"""

from __future__ import annotations

import random
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

from redis.asyncio import Redis

from gateway.billing import Billing
from gateway.checkout import Checkouts
from gateway.core.errors import TiergateError
from gateway.core.policy import Policy
from gateway.granting import Granting
from gateway.ledger import Ledger
from gateway.publishing import Publisher
from gateway.sandbox import Faults, Simulator
from gateway.sandbox.api import ENDPOINTS, Call
from gateway.sandbox.wire.params import Texts, read
from gateway.sandbox.world import World
from gateway.sync import EventWorker, PlanChanges, Sync, WorkerOptions, receive_event
from gateway.sync.sweeping import LEASE_S
from tests.lives.calling import Calling
from tests.lives.laws import Law
from tests.lives.steps import Process, run_in
from tests.lives.trouble import CALM, Trouble
from tests.lives.truth import Begun, Truth, truth_of
from tests.stripe_sdk.params import template_of

Result = TypeVar("Result")
DAY_S = 86_400
_BY_PATH = {(one.method, one.path): one for one in ENDPOINTS}
_PATIENCE_S = 600
_MOST_TURNS = 300
"""Of the worker, until nothing is due any more: more is no progress."""


class SimulatorClock:
    """The test clock, read where it is kept."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    def now(self) -> float:
        return self._simulator.now()

    def cache_now_ms(self) -> int:
        return int(self.now() * 1000)


@dataclass(slots=True, kw_only=True)
class Buyer:
    """One life. `truths`: what Stripe had of it since everything was last known to be in step."""

    customer_id: str
    stripe_customer_id: str | None = None
    truths: list[Truth] = field(default_factory=list)
    owed_since: int | None = None
    """The earliest instant from which the gateway, at the last rest, may have counted a payment that is due."""
    begun: Begun = field(default_factory=Begun)
    grants: set[tuple[str, int] | None] = field(default_factory=lambda: {None})
    """Tiers by hand, and their ends, of which one is the buyer's: nobody was told which."""
    told: set[tuple[str, int] | None] = field(default_factory=lambda: {None})
    """The same, and all that there were since everything was last known to be in step: the cache may have any."""
    acts: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Town:
    """Buyers, a gateway, and Stripe."""

    name: str
    law: Law
    chance: random.Random
    """Draws what happens."""
    fates: random.Random
    """Draws what becomes of steps."""
    simulator: Simulator
    ledger: Ledger
    cache: Redis
    billing: Billing
    publisher: Publisher
    sync: Sync
    checkouts: Checkouts
    changes: PlanChanges
    granting: Granting
    clock: SimulatorClock
    secret: str
    calling: Calling = field(init=False)
    buyers: list[Buyer] = field(default_factory=list)
    planned: list[Process] = field(default_factory=list)
    trouble: Trouble = CALM
    swept_at: float = 0.0
    calm_since: float | None = None
    """Since the end of which turn of the background nothing has gone wrong."""
    seen_at: list[float] = field(default_factory=list)
    """When the gateway had seen all that Stripe had: nothing went wrong, and nothing was left to do."""
    unheard: set[str] = field(default_factory=set)
    """Subscriptions that Stripe says something of which this version does not know."""
    numbers: Iterator[int] = field(default_factory=count)

    @property
    def policy(self) -> Policy:
        return self.sync.policy

    def now(self) -> float:
        return self.simulator.now()

    # -- what the world does ------------------------------------------------------------------

    async def deliver(self, _url: str, body: bytes, headers: Mapping[str, str], _timeout_s: float) -> int | str:
        """The webhook route of a process that may be killed while it answers."""
        received = receive_event(
            body,
            headers["Stripe-Signature"],
            secrets=(self.secret,),
            is_live=False,
            ledger=self.ledger,
            now=self.now(),
            wake=lambda: None,
        )
        try:
            done = await run_in(self.process(), received)
        except TiergateError:
            return 503
        return "Killed" if done is None else 200

    def stripe(self, method: str, path: str, **form: Any) -> Any:
        """A request that is not ours: the seller's, or the billing portal's."""
        template = template_of(method, path)
        endpoint = _BY_PATH[method, template or path]
        ids = [part for part, known in zip(path.split("/"), endpoint.path.split("/"), strict=True) if known[:1] == "{"]
        params = read({**endpoint.spec, "expand": Texts()}, form)

        def act(world: World) -> Any:
            return endpoint.act(Call(world=world, params=params, names={"id": ids[0]} if ids else {}))

        return self.simulator.carry_out(act, keeps_failures=endpoint.keeps_failures)

    async def stripe_customer(self, buyer: Buyer) -> str:
        """The Stripe customer of a buyer that has none yet: made by the seller and said to be ours, by metadata."""
        if buyer.stripe_customer_id is None:
            made = self.stripe("POST", "/v1/customers", metadata={"tiergate_customer_id": buyer.customer_id})
            buyer.stripe_customer_id = await self.ledger.bind_stripe_customer(buyer.customer_id, made["id"])
        return buyer.stripe_customer_id

    # -- what the gateway does ----------------------------------------------------------------

    def process(self) -> Process:
        """The next process of the gateway: one that a test has prepared, or one in the trouble of the moment."""
        return self.planned.pop() if self.planned else self.trouble.process(self.fates)

    async def act_as_web(self, work: Coroutine[Any, Any, Result]) -> Result | None:
        """A request of a buyer to the gateway. None if it failed, or the process was killed."""
        try:
            return await run_in(self.process(), work)
        except TiergateError:
            return None

    def worker(self) -> EventWorker:
        """Of a process that has just started."""
        options = WorkerOptions(batch=100, at_once=10)
        return EventWorker(ledger=self.ledger, sync=self.sync, clock=SimulatorClock(self.simulator), options=options)

    async def work(self) -> None:
        """What the background does in a stretch of time: deliveries, the inbox, a sweep, and the cache's repair."""
        await self.simulator.deliverer.drain(_PATIENCE_S)
        for _ in range(2):
            await run_in(self.process(), self.work_off())
        await self.sweep()
        await run_in(self.process(), self.work_off())
        await self.calling.charge_back()
        for work in (self.publisher.repair, self.calling.settle, self.calling.reporter().report_due):
            with suppress(TiergateError):
                await run_in(self.process(), work())
        if self.trouble is CALM and self.calm_since is None:
            self.calm_since = self.now()

    def is_calm_for(self, seconds: float) -> bool:
        """Whether nothing has gone wrong for so long, and what waited until then was worked on since."""
        return self.calm_since is not None and self.now() - self.calm_since >= seconds

    async def sweep(self) -> None:
        """One look for events that did not arrive. The next one comes when a claim is over that a lost process left."""
        with suppress(TiergateError):
            if await run_in(self.process(), self.worker().sweep()) is not None:
                self.swept_at = self.now()
                return
        await self.simulator.advance(LEASE_S)

    async def work_off(self) -> None:
        """One worker until nothing is due, or the ledger is away."""
        worker = self.worker()
        for _ in range(_MOST_TURNS):
            try:
                if not await worker.work_once():
                    return
            except TiergateError:
                return
        raise AssertionError("the inbox does not get empty")

    # -- rest, and what a test makes of the way there ------------------------------------------

    async def come_to_rest(self) -> None:
        """Nothing goes wrong any more, nobody does anything, and whatever waits is waited for."""
        self.begin(CALM)
        await self.simulator.advance(LEASE_S)
        self.note_truths()
        for _ in range(20):
            await self.work()
            left = await self.left_to_do(), await self.calling.left_to_do()
            if left == (0, 0):
                return
            await self.simulator.advance(600)
            self.note_truths()
        raise AssertionError(f"still in the inbox, and not reported: {left}")

    async def left_to_do(self) -> int:
        """Events that are not worked off."""
        counts = await self.ledger.inbox_counts()
        return counts.by_status["pending"] + counts.by_status["claimed"]

    def note_truths(self) -> None:
        """What Stripe has of everybody now."""
        for buyer in self.buyers:
            self._note_truth(buyer)

    def _note_truth(self, buyer: Buyer) -> None:
        buyer.truths.append(truth_of(self.simulator.world, buyer.stripe_customer_id, buyer.begun, self.unheard))
        buyer.told |= buyer.grants
        self.calling.note_bought(buyer)

    def hold_events(self) -> None:
        """Nothing is sent for now."""
        self.begin(Trouble(faults=Faults(pause=True)))

    def let_events_go(self) -> None:
        """What was held is sent."""
        self.begin(CALM)

    def lose_events(self) -> None:
        """What was held, or happens before it is quiet again, never arrives; Stripe lists it."""
        self.simulator.deliverer.drop_held()
        self.begin(Trouble(faults=Faults(drop=("*",))))

    def forget_undelivered(self) -> None:
        """Stripe lists no event any more that did not arrive."""
        world = self.simulator.world
        world.taken |= {(event.id, one) for event in world.tables.events.values() for one in event.endpoint_ids}

    def begin(self, trouble: Trouble) -> None:
        """From now on this goes wrong."""
        if trouble is not CALM:
            self.calm_since = None
        self.trouble = trouble
        self.simulator.set_faults(trouble.faults)

    async def look_up(self, buyer: Buyer) -> None:
        """Whose Stripe customer a buyer is by now, and what it has."""
        row = await self.ledger.find_customer(buyer.customer_id)
        buyer.stripe_customer_id = row.stripe_customer_id if row is not None else None
        self._note_truth(buyer)

    def told(self, buyer: Buyer) -> str:
        """A life, for who reads of a failure."""
        lived = f"{buyer.customer_id} under the {self.law.name} law: {', '.join(buyer.acts)}"
        return f"{lived}; Stripe: {buyer.truths[-1] if buyer.truths else None}"
