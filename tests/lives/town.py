"""Many buyers before one gateway and one Stripe: real parts in one process, and time that is moved by hand.

The sandbox's engine, deliveries and HTTP app are the real ones, without sockets between; so are the SDK, the
ledger (SQLite) and the cache (Valkey). A round of life: each buyer does something, time passes in stretches
shorter than Stripe's three days of retries, and in each stretch deliveries, workers, sweeps and repairs meet
the trouble of that stretch.
"""

from __future__ import annotations

import random
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

from redis.asyncio import Redis
from sqlalchemy import select

from gateway.billing import Billing
from gateway.cache import decode_account
from gateway.cache.keyspace import acct_key
from gateway.checkout import Checkouts
from gateway.core.access import CUSTOMER_DELETED, decide_access
from gateway.core.account import Account
from gateway.core.errors import TiergateError
from gateway.core.policy import Policy
from gateway.core.projection import project
from gateway.ledger import Ledger
from gateway.ledger.subscriptions import SUBSCRIPTION_COLUMNS, read_subscription
from gateway.ledger.tables import SUBSCRIPTIONS
from gateway.publishing import Publisher
from gateway.sandbox import Faults, Simulator
from gateway.sandbox.api import ENDPOINTS, Call
from gateway.sandbox.cards import CardRefused
from gateway.sandbox.engine.refusals import Refused
from gateway.sandbox.wire.params import Texts, read
from gateway.sandbox.wire.problems import StripeProblem
from gateway.sandbox.world import NoSuchRecord, World
from gateway.sync import EventWorker, PlanChanges, Sync, WorkerOptions, receive_event
from gateway.sync.facts import read_facts
from tests.lives.acts import ACTS, call_and_cap
from tests.lives.beyond import metered_of, without_gone
from tests.lives.calling import Calling
from tests.lives.steps import Process, run_in
from tests.lives.trouble import CALM, Trouble, draw_trouble
from tests.lives.truth import REFUSED, Truth, bought_of, owed_since, truth_of
from tests.stripe_sdk.params import template_of

Result = TypeVar("Result")
HOUR_S, DAY_S = 3600, 86_400
_REFUSALS = (TiergateError, StripeProblem, CardRefused, Refused, NoSuchRecord)
_BY_PATH = {(one.method, one.path): one for one in ENDPOINTS}
_PATIENCE_S = 600
_FORGETS, _CALLS = 0.1, 0.3
"""How often the cache is lost after a stretch of time, and somebody calls in one."""
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
    acts: list[str] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Town:
    """Buyers, a gateway, and Stripe."""

    name: str
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
    clock: SimulatorClock
    secret: str
    calling: Calling = field(init=False)
    buyers: list[Buyer] = field(default_factory=list)
    planned: list[Process] = field(default_factory=list)
    trouble: Trouble = CALM
    swept_at: float = 0.0
    seen_at: list[float] = field(default_factory=list)
    """When the gateway had seen all that Stripe had: nothing went wrong, and nothing was left to do."""
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
        await self._sweep()
        await run_in(self.process(), self.work_off())
        for work in (self.publisher.repair, self.calling.settle, self.calling.reporter().report_due):
            with suppress(TiergateError):
                await run_in(self.process(), work())

    async def _sweep(self) -> None:
        with suppress(TiergateError):
            if await run_in(self.process(), self.worker().sweep()) is not None:
                self.swept_at = self.now()

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

    # -- life ---------------------------------------------------------------------------------

    async def live_a_round(self) -> None:
        """Each buyer does something; then time passes, hours or a renewal."""
        self._begin(draw_trouble(self.chance))
        weights = [often for _, often in ACTS]
        for buyer in self.buyers:
            [(act, _)] = self.chance.choices(ACTS, weights)
            buyer.acts.append(act.__name__)
            with suppress(*_REFUSALS):
                await act(self, buyer)
            await self.look_up(buyer)
            await call_and_cap(self, buyer)
        await self.work()
        await self.let_time_pass(self.chance.choice((HOUR_S, DAY_S, 3 * DAY_S, 9 * DAY_S, 33 * DAY_S)))

    async def let_time_pass(self, seconds: float) -> None:
        """In stretches, such that no outage is longer than what a sweep looks back: the rest is reconciliation's."""
        until = self.now() + seconds
        while (left := until - self.now()) > 0:
            stretch_s = min(left, 2.4 * DAY_S)
            if self.now() + stretch_s > self.swept_at + 2.9 * DAY_S:
                self._begin(CALM)
                await self._sweep()
            await self.simulator.advance(stretch_s)
            self._note_truths()
            await self._call()
            await self.work()
            self._note_truths()
            if self.trouble is CALM and not await self._left_to_do():
                self.seen_at.append(self.now())
            await self.check_bounds()
            if self.chance.random() < _FORGETS:
                await self.calling.lose_the_cache()
            self._begin(CALM if self.chance.random() < 0.5 else draw_trouble(self.chance))

    async def _call(self) -> None:
        """Whoever may exceed its quota uses the API at other times too."""
        for buyer in self.buyers:
            if self.calling.may_exceed(buyer) and self.chance.random() < _CALLS:
                await self.calling.call(buyer)

    async def come_to_rest(self) -> None:
        """Nothing goes wrong any more, nobody does anything, and whatever waits is waited for."""
        self._begin(CALM)
        for _ in range(20):
            await self.work()
            left = await self._left_to_do(), await self.calling.left_to_do()
            if left == (0, 0):
                return
            await self.simulator.advance(600)
            self._note_truths()
        raise AssertionError(f"still in the inbox, and not reported: {left}")

    async def _left_to_do(self) -> int:
        counts = await self.ledger.inbox_counts()
        return counts.by_status["pending"] + counts.by_status["claimed"]  # of events

    def _note_truths(self) -> None:
        for buyer in self.buyers:
            buyer.truths.append(truth_of(self.simulator.world, buyer.stripe_customer_id))
            self.calling.note_bought(buyer)

    def hold_events(self) -> None:
        """Nothing is sent for now."""
        self._begin(Trouble(faults=Faults(pause=True)))

    def let_events_go(self) -> None:
        """What was held is sent."""
        self._begin(CALM)

    def lose_events(self) -> None:
        """What was held, or happens before it is quiet again, never arrives; Stripe lists it."""
        self.simulator.deliverer.drop_held()
        self._begin(Trouble(faults=Faults(drop=("*",))))

    def forget_undelivered(self) -> None:
        """Stripe lists no event any more that did not arrive."""
        world = self.simulator.world
        world.taken |= {(event.id, one) for event in world.tables.events.values() for one in event.endpoint_ids}

    def _begin(self, trouble: Trouble) -> None:
        self.trouble = trouble
        self.simulator.set_faults(trouble.faults)

    async def look_up(self, buyer: Buyer) -> None:
        """Whose Stripe customer a buyer is by now, and what it has."""
        row = await self.ledger.find_customer(buyer.customer_id)
        buyer.stripe_customer_id = row.stripe_customer_id if row is not None else None
        buyer.truths.append(truth_of(self.simulator.world, buyer.stripe_customer_id))
        self.calling.note_bought(buyer)

    # -- what must hold -----------------------------------------------------------------------

    async def check_bounds(self) -> None:
        """At any time: what is granted is what Stripe had since all was in step; grace ends at most so much late."""
        now = self.now()
        accounts = await self.recorded()
        for buyer in self.buyers:
            granted = self.granted(accounts[buyer.customer_id], now)
            allowed = {one for truth in buyer.truths for one in truth.allowed(now, self.seen_at, buyer.owed_since)}
            assert granted in allowed, f"{granted} is not one of {allowed}: {self.told(buyer)}"

    async def check_in_step(self) -> None:
        """At rest: ledger and cache grant what Stripe says, and a read of Stripe would change nothing."""
        await self.come_to_rest()
        now = self.now()
        self.seen_at.append(now)
        recorded = await self.recorded()
        blobs = await self.cache.mget([acct_key(buyer.customer_id) for buyer in self.buyers])
        for buyer, blob in zip(self.buyers, blobs, strict=True):
            told = self.told(buyer)
            truth = truth_of(self.simulator.world, buyer.stripe_customer_id)
            account = recorded[buyer.customer_id]
            assert self.granted(account, now) in truth.allowed(now, self.seen_at, buyer.owed_since), told
            if buyer.stripe_customer_id is not None:
                who = (buyer.customer_id, buyer.stripe_customer_id)
                facts = await read_facts(self.billing, self.ledger, self.policy, *who)
                read, _ = project(facts.of_customer, self.policy, account.subscription, int(now))
                same = without_gone(read) == without_gone(account.subscription)
                assert same, f"{told}; recorded {account.subscription}; read {read}"
            record = account.subscription
            if record is not None and record.status != CUSTOMER_DELETED:
                bought = bought_of(self.simulator.world, record.subscription_id)
                assert (record.seats, record.add_ons) == bought, told
                metered = {item.price_id for item in record.metered if item.gone_at is None}
                assert metered == metered_of(self.simulator.world, record.subscription_id), told
            cached = None if blob is None else decode_account(blob)
            assert cached is None or cached == await self.ledger.load_account(buyer.customer_id), told
            buyer.owed_since = owed_since(buyer.owed_since, [*buyer.truths, truth])
            buyer.truths = [truth]
        await self.calling.check()
        await self.simulator.advance(1)  # what happens at the instant of a rest was seen at it

    async def recorded(self) -> dict[str, Account]:
        """Every account as the ledger has it, as far as access goes."""
        query = select(SUBSCRIPTIONS.c.customer_id, *SUBSCRIPTION_COLUMNS)
        async with self.ledger._database.reading() as connection:
            rows = (await connection.execute(query)).mappings().all()
        found = {row["customer_id"]: read_subscription(row) for row in rows}
        return {
            one.customer_id: Account(
                customer_id=one.customer_id,
                user_id="",
                version=1,
                created_at=0,
                subscription=found.get(one.customer_id),
            )
            for one in self.buyers
        }

    def granted(self, account: Account, now: float) -> str:
        access = decide_access(account, self.policy, now)
        if access.tier is None:
            assert access.refusal is not None
            return REFUSED if access.refusal == "payment-required" else access.refusal
        return access.tier.name

    def told(self, buyer: Buyer) -> str:
        """A life, for who reads of a failure."""
        return f"{buyer.customer_id}: {', '.join(buyer.acts)}; Stripe: {buyer.truths[-1] if buyer.truths else None}"
