"""A real HTTP server that answers for Stripe as a test tells it to: badly, late, or by asking the sandbox."""

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import httpx
import pytest
import stripe

from gateway.billing import Billing, Buyer, CheckoutLink, StripeOptions
from gateway.billing.pace import Pace
from gateway.billing.transport import Transport
from gateway.clock import SimulatedClock
from gateway.core.account import Subscription
from gateway.core.lifecycle import FLAG_ROWS, LIFECYCLE_ROWS
from gateway.core.policy import Plan, Policy, Standing, Tier
from gateway.core.purchase import NO_EXTRAS, Extras, check_purchase
from gateway.core.switching import SwitchTerms
from gateway.ledger import STRIPE_ACCOUNT, Ledger
from gateway.sync import EventWorker, Sync, WorkerOptions, receive_event
from tests.conftest import PATIENT_S
from tests.fakes.listener import Listener
from tests.stripe_sdk.wire import Wire

KEY = "sk_test_51H8fakefakefakefakefake"


@dataclass(frozen=True, kw_only=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(urlsplit(self.target).query)

    @property
    def form(self) -> dict[str, list[str]]:
        return parse_qs(self.body.decode())


@dataclass(kw_only=True)
class Answer:
    status: int = 200
    body: object = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    """Sent as it is, instead of all the above; then the connection is closed."""

    def encoded(self) -> bytes:
        if self.raw is not None:
            return self.raw
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        fields = {"Content-Length": str(len(body)), "Request-Id": "req_fake", **self.headers}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        return f"HTTP/1.1 {self.status} Whatever\r\n{head}\r\n".encode() + body


Handler = Callable[[Request], Awaitable[Answer]]


ACCOUNT = "acct_1"


class StandIn:
    """Listens where Stripe would, remembers what it was asked, and answers by `handler`: but for whose key it is."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.handler: Handler = self.nothing
        self.account_id: str | None = ACCOUNT
        self.url = ""

    async def nothing(self, _: Request) -> Answer:
        return Answer(status=404, body={"error": {"type": "invalid_request_error", "message": "unrouted"}})

    def always(self, answer: Answer) -> None:
        async def handler(_: Request) -> Answer:
            return answer

        self.handler = handler

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        async with Listener(self.serve) as listener:
            self.url = f"http://127.0.0.1:{listener.port}"
            yield

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                request = await self.read(reader)
                if request.path == "/v1/account" and self.account_id is not None:
                    answer = Answer(body={"id": self.account_id, "object": "account"})
                else:
                    self.requests.append(request)
                    answer = await self.handler(request)
                writer.write(answer.encoded())
                await writer.drain()
                if answer.raw is not None:
                    break

    async def read(self, reader: asyncio.StreamReader) -> Request:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Request(method=method, target=target, headers=headers, body=body)


@pytest.fixture(autouse=True)
def wire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Wire]:
    """Whatever we send must be known to the pinned SDK, and so must what the sandbox answers."""
    wire = Wire(checks_refused=True)
    monkeypatch.setattr(Transport, "request_async", wire.noting(Transport.request_async))
    yield wire
    assert wire.faults == []


@pytest.fixture
async def stand_in() -> AsyncIterator[StandIn]:
    made = StandIn()
    async with made.listening():
        yield made


@asynccontextmanager
async def opened(options: StripeOptions) -> AsyncIterator[Billing]:
    billing = await Billing.open(options)
    try:
        yield billing
    finally:
        await billing.aclose()


@pytest.fixture
async def billing(stand_in: StandIn, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Billing]:
    """Retries as in production, without the SDK's pauses of half a second and more."""
    monkeypatch.setattr(Transport, "sleep_async", lambda _, secs: asyncio.sleep(secs / 100))
    async with opened(StripeOptions(secret_key=KEY, base_url=stand_in.url, timeout_s=10, deadline_s=20)) as made:
        yield made


def through(url: str) -> Handler:
    """A handler that passes every request on to the server at `url`."""

    async def handler(request: Request) -> Answer:
        kept = {name: request.headers[name] for name in request.headers if name not in {"host", "content-length"}}
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
            answer = await client.request(request.method, url + request.target, headers=kept, content=request.body)
        return Answer(status=answer.status_code, body=answer.content)

    return handler


NOW = 1_800_000_000
DAY = 86_400
CUSTOMER = "customer0001"
CUS = "cus_1"


class SetClock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.at = float(NOW)

    def now(self) -> float:
        return self.at

    def cache_now_ms(self) -> int:
        return int(self.at * 1000)


def sold_policy() -> Policy:
    keep = Standing(keep_s=None, then=None, refusal="payment-required")
    end = Standing(keep_s=0, then="free", refusal="subscription-required")
    week = Standing(keep_s=7 * DAY, then="free", refusal="payment-required")
    day = Standing(keep_s=DAY, then="free", refusal="payment-required")
    suspend = Standing(keep_s=0, then=None, refusal="account-suspended")
    return Policy(
        policy_hash="0" * 12,
        default_tier="free",
        tiers={
            name: Tier(name=name, rank=rank, title=name, description="", limits=(), features=frozenset())
            for rank, name in enumerate(("free", "pro", "enterprise"))
        },
        plans={
            name: Plan(plan_id=name, tier=tier, title=name, price_id=None, lookup_key=name.replace("-", "_"))
            for name, tier in (("pro-monthly", "pro"), ("pro-yearly", "pro"), ("enterprise-monthly", "enterprise"))
        },
        meters={},
        routes=(),
        lifecycle=dict.fromkeys(LIFECYCLE_ROWS, end)
        | dict.fromkeys(FLAG_ROWS, keep)
        | {
            "blocked": suspend,
            "first_payment_pending": end,
            "active": keep,
            "trialing": keep,
            "past_due": week,
            "unreadable": day,
        },
    )


@dataclass(kw_only=True)
class HeldPolicy:
    current: Policy


def bill_later(shop: Any) -> None:
    """From now on the seller bills changes with the next invoice."""
    held = shop.sync._policy
    held.current = replace(held.current, switching=SwitchTerms(proration="next invoice"))


class Account:
    """What a stand-in Stripe account has: subscriptions by customer, and undelivered events. Answers like the API."""

    def __init__(self) -> None:
        self.subscriptions: dict[str, list[dict[str, Any]]] = {}
        self.undelivered: list[dict[str, Any]] = []
        self.disputes: dict[str, dict[str, Any]] = {}
        self.product_metadata: dict[str, str] = {}
        self.schedules: dict[str, str] = {}
        self.reads = 0
        self.was_read = asyncio.Event()
        self.is_down = False
        self.hidden: set[str] = set()
        """Ids of objects that the key may not read."""
        self.gates: list[asyncio.Event] = []
        """The next reads of subscriptions wait for these, one each, after they have seen the state."""

    def put(self, stripe_customer_id: str, status: str, lookup_key: str | None = "pro_monthly", **changes: Any) -> None:
        price = {
            "id": f"price_{lookup_key}",
            "object": "price",
            "lookup_key": lookup_key,
            "product": "prod_1",
            "recurring": {"interval": "month", "interval_count": 1, "usage_type": "licensed", "meter": None},
            "unit_amount": 2900,
            "currency": "usd",
        }
        item = {
            "id": "si_1",
            "object": "subscription_item",
            "price": price,
            "current_period_start": NOW - DAY,
            "current_period_end": NOW + 29 * DAY,
        }
        made = {
            "id": f"sub_{stripe_customer_id[4:]}",
            "object": "subscription",
            "status": status,
            "billing_cycle_anchor": NOW - DAY,
            "start_date": NOW - DAY,
            "cancel_at": None,
            "cancel_at_period_end": False,
            "collection_method": "charge_automatically",
            "currency": "usd",
            "ended_at": None,
            "latest_invoice": None,
            "metadata": {},
            "pause_collection": None,
            "pending_update": None,
            "schedule": None,
            "items": listed([item], "/v1/subscription_items"),
        }
        self.subscriptions[stripe_customer_id] = [made | changes]

    def dispute(self, dispute_id: str, status: str, stripe_customer_id: str = CUS, created: int = NOW) -> None:
        self.disputes[dispute_id] = {
            "id": dispute_id,
            "object": "dispute",
            "status": status,
            "created": created,
            "charge": charge("ch_1", stripe_customer_id),
        }

    async def answer(self, request: Request) -> Answer:
        if self.is_down:
            return Answer(status=503, body={"error": {"type": "api_error", "message": "down"}})
        if request.path == "/v1/subscriptions":
            return await self.answer_subscriptions(request.query["customer"][0])
        if request.path.rpartition("/")[2] in self.hidden:
            error = {"type": "invalid_request_error", "message": "The key does not have the required permissions"}
            return Answer(status=403, body={"error": error})
        found = self.answer_object(request.path)
        if found is not None:
            return Answer(body=found)
        if request.path == "/v1/events":
            wanted = {value[0] for name, value in request.query.items() if name.startswith("types")}
            found = [event for event in self.undelivered if event["type"] in wanted]
            return Answer(body=listed(found, "/v1/events"))
        return Answer(status=404, body={"error": {"type": "invalid_request_error", "message": "unrouted"}})

    def answer_object(self, path: str) -> dict[str, Any] | None:
        collection, _, object_id = path.removeprefix("/v1/").partition("/")
        if collection == "customers" and object_id in self.subscriptions:
            return {"id": object_id, "object": "customer", "livemode": False, "metadata": {}}
        if collection == "products":
            return listed([{"id": "prod_1", "object": "product", "metadata": self.product_metadata}], path)
        if collection == "disputes":
            return self.disputes[object_id] if object_id else listed(list(self.disputes.values()), path)
        if collection == "subscription_schedules":
            return {"id": object_id, "object": "subscription_schedule", "customer": self.schedules[object_id]}
        return charge(object_id, CUS) if collection == "charges" else None

    async def answer_subscriptions(self, stripe_customer_id: str) -> Answer:
        self.reads += 1
        self.was_read.set()
        found = self.subscriptions.get(stripe_customer_id)
        if found is None:
            error = {"type": "invalid_request_error", "code": "resource_missing", "message": "No such customer"}
            return Answer(status=400, body={"error": error})
        answer = Answer(body=json.dumps(listed(found, "/v1/subscriptions")).encode())
        if self.gates:
            await self.gates.pop(0).wait()
        return answer


def charge(charge_id: str, stripe_customer_id: str) -> dict[str, Any]:
    return {
        "id": charge_id,
        "object": "charge",
        "customer": stripe_customer_id,
        "amount": 2900,
        "amount_refunded": 900,
        "currency": "usd",
        "refunded": False,
    }


def listed(data: list[dict[str, Any]], url: str) -> dict[str, Any]:
    return {"object": "list", "data": data, "has_more": False, "url": url}


def event(event_id: str, event_type: str, subject: dict[str, Any], **changes: Any) -> dict[str, Any]:
    made = {
        "id": event_id,
        "object": "event",
        "type": event_type,
        "created": NOW,
        "livemode": False,
        "api_version": "2026-10-28.endive",
        "data": {"object": subject},
    }
    return made | changes


@pytest.fixture
def ledger_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    return f"sqlite:///{shutil.copy(migrated_sqlite, tmp_path / 'ledger.sqlite3')}"


@pytest.fixture
async def ledger(ledger_url: str) -> AsyncIterator[Ledger]:
    made = await Ledger.open(ledger_url, deadline_s=PATIENT_S)
    await made.keep_facts({STRIPE_ACCOUNT: ACCOUNT}, now=NOW)
    yield made
    await made.aclose()


@pytest.fixture
async def customer(ledger: Ledger) -> str:
    await ledger.create_customer(customer_id=CUSTOMER, user_id="user", now=NOW, stripe_customer_id=CUS, actor="test")
    return CUSTOMER


@pytest.fixture
def account() -> Account:
    made = Account()
    made.put(CUS, "active")
    return made


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def held_policy() -> HeldPolicy:
    return HeldPolicy(current=sold_policy())


@pytest.fixture
def published() -> list[str]:
    return []


@pytest.fixture
def sync(
    *,
    ledger: Ledger,
    stand_in: StandIn,
    billing: Billing,
    account: Account,
    held_policy: HeldPolicy,
    clock: SetClock,
    published: list[str],
) -> Sync:
    stand_in.handler = account.answer
    publish = publishing(ledger, published)
    return Sync(ledger=ledger, billing=billing, policy=held_policy, publish=publish, clock=clock)


def publishing(ledger: Ledger, published: list[str]) -> Callable[[str], Awaitable[None]]:
    """Publishes to a list, and has the ledger know it."""

    async def publish(customer_id: str) -> None:
        published.append(customer_id)
        row = await ledger.find_customer(customer_id)
        assert row is not None
        await ledger.mark_published(customer_id, row.version)

    return publish


@pytest.fixture
def new_worker(ledger: Ledger, sync: Sync, clock: SetClock) -> Callable[..., EventWorker]:
    def make(**options: Any) -> EventWorker:
        paced = WorkerOptions(**({"poll_s": 0.02, "drain_s": 1.0, "tries": 3} | options))
        return EventWorker(ledger=ledger, sync=sync, clock=clock, options=paced)

    return make


@pytest.fixture
def deliver(ledger: Ledger) -> Callable[..., Awaitable[bool]]:
    """Puts an event into the inbox, as the webhook would."""

    async def store(event_id: str, event_type: str, subject: dict[str, Any], **changes: Any) -> bool:
        fields = event(event_id, event_type, subject, **changes)
        return await ledger.store_event(
            event_id=event_id,
            type=event_type,
            stripe_customer_id=subject.get("customer"),
            livemode=fields["livemode"],
            api_version=None,
            payload=json.dumps(fields),
            now=NOW,
        )

    return store


class Sandbox:
    """The running Stripe simulator, its controls, and the SDK's own client for what a seller would do by hand."""

    def __init__(self, url: str, key: str, clock_file: Path) -> None:
        self.url = url
        self.key = key
        self.clock = SimulatedClock(clock_file)
        self.http = httpx.AsyncClient(base_url=url, trust_env=False, timeout=30)
        self.transport = Transport(timeout_s=30, through_proxy=False, pace=Pace(1000.0))
        self.stripe = stripe.StripeClient(key, base_addresses={"api": url}, http_client=self.transport)

    async def aclose(self) -> None:
        await self.http.aclose()
        await self.transport.close_async()

    async def pay(self, checkout_url: str, card: str = "4242424242424242") -> httpx.Response:
        """At the checkout page; what the card's bank asks is confirmed."""
        done = await self.http.post(checkout_url, data={"card_number": card, "email": "buyer@example.com"})
        is_asked = done.headers.get("location", "").startswith("/3ds/")
        return await self.answer_bank(done) if is_asked else done

    async def answer_bank(self, asked: httpx.Response, act: str = "complete") -> httpx.Response:
        """On the page of the bank that an answer leads to."""
        return await self.http.post(asked.headers["location"], data={"act": act})

    async def confirm(self, invoice_url: str) -> None:
        """The payment that waits, from the hosted page of its invoice."""
        await self.answer_bank(await self.http.post(f"{invoice_url}/confirm"))

    async def control(self, path: str, **body: Any) -> Any:
        answer = await self.http.post(f"/_sandbox/{path}", json=body)
        answer.raise_for_status()
        return answer.json()

    async def listen(self, url: str) -> str:
        """Have events sent to `url`. Returns the signing secret."""
        endpoint = await self.stripe.v1.webhook_endpoints.create_async({"url": url, "enabled_events": ["*"]})
        assert endpoint.secret is not None
        return endpoint.secret


@pytest.fixture(scope="module")
def sandbox_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    clock_file = tmp_path_factory.mktemp("sandbox") / "clock"
    with subprocess.Popen(
        [sys.executable, "-m", "gateway.sandbox", "--seed", "--clock-file", clock_file],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture
async def sandbox(sandbox_process: dict[str, str]) -> AsyncIterator[Sandbox]:
    made = Sandbox(sandbox_process["stripe_url"], sandbox_process["key"], Path(sandbox_process["clock_file"]))
    yield made
    await made.http.delete("/_sandbox/faults")
    for endpoint in (await made.stripe.v1.webhook_endpoints.list_async({"limit": 100})).data:
        await made.stripe.v1.webhook_endpoints.delete_async(endpoint.id)
    for thin in (await made.stripe.v2.core.event_destinations.list_async()).data:
        await made.stripe.v2.core.event_destinations.delete_async(thin.id)
    await made.aclose()


@dataclass(kw_only=True)
class Shop:
    """A gateway's billing half before the sandbox: ledger, sync and worker, and a webhook that is really called."""

    sandbox: Sandbox
    billing: Billing
    ledger: Ledger
    sync: Sync
    worker: EventWorker
    webhook: StandIn
    secret: str
    fates: list[str] = field(default_factory=list)

    async def receive(self, request: Request) -> Answer:
        received = await receive_event(
            request.body,
            request.headers.get("stripe-signature"),
            secrets=(self.secret,),
            is_live=self.billing.is_live,
            ledger=self.ledger,
            now=self.sandbox.clock.now(),
            wake=self.worker.wake,
        )
        self.fates.append(received.fate)
        return Answer(body={"status": "received"})

    async def hear_thinly(self) -> None:
        """Have thin events sent in place of the snapshots, of what comes about from the next second on."""
        await self.sandbox.control("clock/advance", seconds=1)
        stripe = self.sandbox.stripe
        for endpoint in (await stripe.v1.webhook_endpoints.list_async()).data:
            await stripe.v1.webhook_endpoints.delete_async(endpoint.id)
        made = await stripe.v2.core.event_destinations.create_async(
            {
                "name": "thin",
                "type": "webhook_endpoint",
                "event_payload": "thin",
                "enabled_events": ["*"],
                "webhook_endpoint": {"url": f"{self.webhook.url}/webhook"},
                "include": ["webhook_endpoint.signing_secret"],
            }
        )
        assert made.webhook_endpoint is not None
        self.secret = made.webhook_endpoint.signing_secret or ""

    async def new_customer(self) -> str:
        customer_id = uuid4().hex[:12]
        now = int(self.sandbox.clock.now())
        await self.ledger.create_customer(customer_id=customer_id, user_id=f"user-{customer_id}", now=now, actor="test")
        made = await self.billing.create_customer(customer_id, f"user-{customer_id}")
        await self.ledger.bind_stripe_customer(customer_id, made)
        return customer_id

    async def checkout(
        self, customer_id: str, plan_id: str = "pro-monthly", extras: Extras = NO_EXTRAS
    ) -> CheckoutLink:
        row = await self.ledger.find_customer(customer_id)
        assert row is not None
        assert row.stripe_customer_id is not None
        policy = self.sync.policy
        buyer = Buyer(
            stripe_customer_id=row.stripe_customer_id,
            customer_id=customer_id,
            user_id=row.user_id,
            success_url="http://localhost/success?session_id={CHECKOUT_SESSION_ID}",
            cancel_url="http://localhost/pricing",
        )
        link = await self.billing.create_checkout(check_purchase(policy, policy.plans[plan_id], extras), buyer)
        assert link is not None
        return link

    async def buyer(self, plan_id: str = "pro-monthly", card: str = "4242424242424242") -> str:
        """A customer who has paid, and whose events have been worked off."""
        customer_id = await self.new_customer()
        answer = await self.sandbox.pay((await self.checkout(customer_id, plan_id)).url, card)
        assert answer.status_code == 303
        await self.settle()
        return customer_id

    async def settle(self) -> None:
        """Until every event is delivered and worked off."""
        await self.sandbox.control("deliveries/drain")
        while await self.worker.work_once():
            pass

    async def load(self, customer_id: str) -> Subscription:
        found = await self.ledger.load_subscription(customer_id)
        assert found is not None
        return found


@pytest.fixture
async def shop(
    ledger: Ledger, sandbox: Sandbox, stand_in: StandIn, held_policy: HeldPolicy, published: list[str]
) -> AsyncIterator[Shop]:
    async with opened(StripeOptions(secret_key=sandbox.key, base_url=sandbox.url)) as billing:
        await ledger.replace_facts({STRIPE_ACCOUNT: await billing.account.find_id() or ""}, now=NOW, actor="test")
        sync = Sync(
            ledger=ledger,
            billing=billing,
            policy=held_policy,
            publish=publishing(ledger, published),
            clock=sandbox.clock,
        )
        made = Shop(
            sandbox=sandbox,
            billing=billing,
            ledger=ledger,
            sync=sync,
            worker=EventWorker(ledger=ledger, sync=sync, clock=sandbox.clock, url=f"{stand_in.url}/webhook"),
            webhook=stand_in,
            secret=await sandbox.listen(f"{stand_in.url}/webhook"),
        )
        stand_in.handler = made.receive
        yield made


@pytest.fixture
async def slow_billing() -> AsyncIterator[tuple[Callable[[Shop], Sync], asyncio.Event, asyncio.Event]]:
    """A sync whose answers from the sandbox are held back by a proxy until they are released."""
    reached, release = asyncio.Event(), asyncio.Event()
    proxy = StandIn()
    proxy.account_id = None
    made: list[Billing] = []

    def build(shop: Shop) -> Sync:
        ask = through(shop.sandbox.url)

        async def held_back(request: Request) -> Answer:
            answer = await ask(request)
            reached.set()
            await release.wait()
            return answer

        async def publish(_: str) -> None:
            return None

        proxy.handler = held_back
        billing = Billing(StripeOptions(secret_key=shop.sandbox.key, base_url=proxy.url, timeout_s=15))
        made.append(billing)
        return Sync(
            ledger=shop.ledger,
            billing=billing,
            policy=HeldPolicy(current=shop.sync.policy),
            publish=publish,
            clock=shop.sandbox.clock,
        )

    async with proxy.listening():
        yield build, reached, release
        for billing in made:
            await billing.aclose()
