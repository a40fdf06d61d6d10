"""A town: everything real but the sockets between."""

from __future__ import annotations

import asyncio
import gc
import random
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from redis.asyncio import Redis

from gateway.admission import Admission
from gateway.billing import SUBSCRIBED_TYPES, Billing, StripeOptions
from gateway.cache import Cache, CacheServer
from gateway.capping import Capping
from gateway.checkout import Checkouts
from gateway.core.keys import KeyCodec
from gateway.granting import Granting
from gateway.ledger import Ledger, migrate
from gateway.outages import Outages
from gateway.pacing import Pacing
from gateway.policyfiles import PolicyHolder
from gateway.provisioning import Provisioning
from gateway.publishing import Publisher
from gateway.sandbox import DeliveryRules, Simulator, create_stripe
from gateway.sandbox.rules import Rules
from gateway.sandbox.seed import seed
from gateway.signups import Signups
from gateway.sync import PlanChanges, Sync
from gateway.telemetry import Metrics
from tests.lives.asking import ask_app
from tests.lives.away import Away
from tests.lives.beyond import policy_under, sell_beyond
from tests.lives.calling import Calling
from tests.lives.laws import SHIPPED, Law
from tests.lives.sold import FEATURE
from tests.lives.steps import watched
from tests.lives.town import Buyer, SimulatorClock, Town
from tests.lives.truth import truth_of
from tests.lives.unheard import as_shown

PEPPER = b"a pepper of at least thirty-two bytes"
NewTown = Callable[..., Awaitable[Town]]
FOUNDED_AT = 1_800_000_000.0
"""The real clock of a town stands still: time passes only when it is moved, and months are as long in every run."""
PATIENCE_S = 600.0
"""Longer than a test may take: what a busy machine delays is no outage."""


@pytest.fixture(scope="session")
def memory() -> Iterator[Path]:
    """A folder in memory where there is one: a disk would take the ledger's `synchronous=FULL` at its word."""
    shared = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="tg", dir=shared if shared.is_dir() else None))
    migrate(f"sqlite:///{folder / 'migrated.sqlite3'}")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def cache_url() -> Iterator[str]:
    """One server: what a cluster adds is nothing to billing, and accounts are looked up many at once."""
    folder = Path(tempfile.mkdtemp(prefix="tg"))
    with CacheServer.start(folder) as server:
        yield server.url
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of outages make as many warnings."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def seldom_collected() -> Iterator[None]:
    """Lives make much and leave little: to look for garbage after each 700 objects costs an eighth of their time."""
    before = gc.get_threshold()
    gc.set_threshold(50_000, *before[1:])
    yield
    gc.set_threshold(*before)


@pytest.fixture
async def new_town(memory: Path, cache_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NewTown]:
    before = random.getstate()
    apps: dict[str, Any] = {}
    lateness: dict[str, Town] = {}

    async def ask(method: str, url: str, headers: Any, post_data: Any) -> Any:
        answer = await ask_app(apps["stripe"], method, url, headers, post_data)
        town = lateness.get("town")
        if town is not None:
            answer = as_shown(answer, town.unheard)
        for _ in range(town.fates.randint(0, town.trouble.late) if town is not None else 0):
            await asyncio.sleep(0)
        return answer

    async with AsyncExitStack() as stack:
        stack.enter_context(watched(monkeypatch, ask))

        async def make(
            number: int, buyers: int, heard: Sequence[str] = SUBSCRIBED_TYPES, *, law: Law = SHIPPED
        ) -> Town:
            random.seed(number)  # the pauses of the worker are drawn from there
            file = memory / f"{number}-{secrets.token_hex(4)}.sqlite3"
            shutil.copy(memory / "migrated.sqlite3", file)
            ledger = await Ledger.open(f"sqlite:///{file}", deadline_s=PATIENCE_S)
            stack.callback(file.unlink)
            stack.push_async_callback(ledger.aclose)
            cache = await Cache.connect(cache_url, deadline_s=PATIENCE_S, on_reconnect=None)
            stack.push_async_callback(cache.aclose)
            reader = Redis.from_url(cache_url)
            stack.push_async_callback(reader.aclose)
            town = await found(law, random.Random(number), ledger, cache, reader, stack)
            listen(town, heard)
            apps["stripe"], lateness["town"] = create_stripe(town.simulator), town
            if law.entitles:
                entitle(town)
            for _ in range(buyers):
                town.buyers.append(await move_in(town))
            town.seen_at.append(town.now() - 1)  # what happens at this instant nobody has seen yet
            return town

        yield make
    random.setstate(before)


async def found(
    law: Law, chance: random.Random, ledger: Ledger, cache: Cache, reader: Redis, stack: AsyncExitStack
) -> Town:
    """A town without buyers."""
    towns: list[Town] = []
    rules = DeliveryRules(on_test_clock=True, hold_s=PATIENCE_S, concurrency=4)  # held until `drain` releases it

    async def send(*delivery: Any) -> int | str:
        return await towns[0].deliver(*delivery)

    run = f"r{chance.getrandbits(40):x}"
    simulator = Simulator(run=run, delivery_rules=rules, send=send, real_now=lambda: FOUNDED_AT)
    stack.push_async_callback(simulator.aclose)
    simulator.set_rules(Rules(final_action=chance.choice(("cancel", "cancel", "unpaid", "leave"))))
    simulator.carry_out(seed)
    policies = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tg")))
    (policies / "policy.yaml").write_text(policy_under(law))
    simulator.carry_out(sell_beyond)
    monthly = simulator.world.tables.prices["price_pro_monthly"]
    simulator.world.tables.prices["price_sso"] = replace(monthly, id="price_sso", lookup_key=None, unit_amount=900)
    clock, policy = SimulatorClock(simulator), PolicyHolder(policies)
    options = StripeOptions(
        secret_key=simulator.key, base_url="http://127.0.0.1", price_ttl_s=PATIENCE_S, deadline_s=PATIENCE_S
    )
    billing = await Billing.open(options)
    stack.push_async_callback(billing.aclose)
    publisher, codec = Publisher(ledger, cache, clock), KeyCodec(PEPPER, "test")
    sync = Sync(ledger=ledger, billing=billing, policy=policy, publish=publisher.publish, clock=clock)
    provisioning = Provisioning(ledger, publisher, codec, clock)
    town = Town(
        name=secrets.token_hex(4),  # the cache is shared by all tests, and remembers
        law=law,
        chance=chance,
        fates=random.Random(chance.getrandbits(40)),
        simulator=simulator,
        ledger=ledger,
        cache=reader,
        billing=billing,
        publisher=publisher,
        sync=sync,
        checkouts=Checkouts(
            ledger=ledger,
            billing=billing,
            policy=policy,
            sync=sync,
            provisioning=provisioning,
            signups=Signups(Pacing(cache, clock), Metrics(), 60),
            codec=codec,
            clock=clock,
            base_url="http://127.0.0.1",
        ),
        changes=PlanChanges(sync=sync, clock=clock),
        granting=Granting(ledger, publisher, clock),
        clock=clock,
        secret="",
    )
    outages = Outages(cache, publisher, metrics := Metrics(), 1000, monotonic=clock.now)
    town.calling = Calling(
        town=town,
        admission=Admission(cache, publisher, policy, codec, clock, outages, entries=1000),
        cache=cache,
        provisioning=provisioning,
        policy=policy,
        capping=Capping(ledger, publisher, clock),
        metrics=metrics,
        away=Away(outages=outages),
    )
    towns.append(town)
    return town


def listen(town: Town, types: Sequence[str]) -> None:
    """Have Stripe send events of these types."""
    url = "http://127.0.0.1/webhook"
    town.secret = town.stripe("POST", "/v1/webhook_endpoints", url=url, enabled_events=list(types))["secret"]


def entitle(town: Town) -> None:
    """Whoever has the product of one plan has a feature."""
    made = town.stripe("POST", "/v1/entitlements/features", name=FEATURE, lookup_key=FEATURE)
    product_id = town.simulator.world.tables.prices["price_pro_monthly"].product_id
    town.stripe("POST", f"/v1/products/{product_id}/features", entitlement_feature=made["id"])


async def move_in(town: Town) -> Buyer:
    """A new customer of the gateway, whom Stripe does not know yet."""
    customer_id = f"{town.name}{next(town.numbers):04}"
    await town.ledger.create_customer(
        customer_id=customer_id, user_id=f"user-{customer_id}", now=int(town.now()), actor="test"
    )
    return Buyer(customer_id=customer_id, truths=[truth_of(town.simulator.world, None)])
