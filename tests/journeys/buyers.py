"""Buyers in a world of real processes: they subscribe, use up what they bought, and change their plan at Stripe."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from redis import Redis

from gateway.cache import CacheServer
from gateway.cli.house import NO_TLS, House
from gateway.clock import SimulatedClock

DAY_S = 86_400
PATIENCE_S = 60.0
GOOD_CARD = "4242424242424242"


def until(holds: Callable[[], object]) -> None:
    """Wait for what a background task brings about."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.05)


@dataclass
class Street:
    """A house, its clock, and the buyers in front of it."""

    house: House
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30, verify=NO_TLS))

    def now(self) -> float:
        """Unix seconds, as gateway and sandbox have them."""
        return SimulatedClock(self.house.clock_file).now()

    def advance_to(self, instant: float) -> None:
        """Move the clock of gateway and sandbox, with all that falls due, and deliver what happened on the way."""
        if instant > self.now():
            self.house.stripe("POST", "/_sandbox/clock/advance", {"until": instant})
        self.deliver()

    def advance(self, seconds: float) -> None:
        self.advance_to(self.now() + seconds)

    def deliver(self) -> None:
        """Every webhook has arrived, and was worked on."""
        until(lambda: self.house.stripe("POST", "/_sandbox/deliveries/drain", {"timeout_s": 25})["drained"])
        until(self.house.inbox_is_worked_off)

    def newcomer(self) -> Buyer:
        """A customer with a key and without a subscription."""
        made = self.house.admin("POST", "customers", json={"user_id": f"user-{secrets.token_hex(6)}"})
        issued = self.house.admin("POST", f"customers/{made['customer_id']}/keys")
        return Buyer(self, made["customer_id"], issued["key"])

    def subscriber(self, plan_id: str) -> Buyer:
        buyer = self.newcomer()
        buyer.subscribe(plan_id)
        return buyer

    def lose_cache(self, buyer: Buyer) -> None:
        """FLUSHALL, when what this buyer used is settled: what is older than a settlement is promised to be kept."""
        row = buyer.period()
        until(lambda: kept_in_ledger(self.house, buyer.customer_id, since=row["window_starts_at"]) == row["used"])
        with Redis.from_url(CacheServer.url_of(self.house.directory / "data")) as cache:
            cache.flushall()


def kept_in_ledger(house: House, customer_id: str = "", *, since: int) -> int:
    """Units of a customer's running billing period (of all, if none is named) that a loss of the cache cannot take."""
    ledger = house.directory / "data" / "ledger.sqlite3"
    query = (
        "SELECT COALESCE(SUM(used), 0) FROM usage_totals"
        " WHERE ? IN ('', customer_id) AND field = 'q:requests:period' AND window_starts_at >= ?"
    )
    with contextlib.closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        (used,) = connection.execute(query, [customer_id, since]).fetchone()
    return int(used)


@dataclass
class Buyer:
    """One customer of the API that is sold."""

    street: Street
    customer_id: str
    key: str
    stripe_subscription: str = ""

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self.street.http.request(
            method, self.street.house.url + path, headers={"x-api-key": self.key}, **options
        )

    def call(self, path: str = "/v1/echo") -> httpx.Response:
        return self.ask("GET", path)

    def calls(self, count: int) -> None:
        """So many calls, all let in."""
        for _ in range(count):
            answer = self.call()
            assert answer.status_code == 200, answer.text

    def use_up(self) -> int:
        """Call until the quota says no; returns how many calls were let in."""
        admitted = 0
        while (answer := self.call()).status_code == 200:
            admitted += 1
        assert (answer.status_code, answer.json()["code"]) == (429, "quota-exceeded"), answer.text
        return admitted

    def period(self) -> dict[str, Any]:
        """What `GET usage` says of the quota of the billing period."""
        rows = self.ask("GET", "/api/v1/usage").raise_for_status().json()["limits"]
        row: dict[str, Any] = next(row for row in rows if row["name"] == "period")
        return row

    def quota(self) -> tuple[int, int, int]:
        """Used, limit and remaining of the billing period."""
        row = self.period()
        return row["used"], row["limit"], row["remaining"]

    def subscribe(self, plan_id: str) -> None:
        told = self.ask("POST", "/api/v1/create-checkout", json={"plan_id": plan_id}).raise_for_status().json()
        self.street.http.post(told["checkout_url"], data={"card_number": GOOD_CARD})
        self.await_plan(plan_id)
        self.stripe_subscription = self.street.house.stripe("GET", f"/v1/checkout/sessions/{told['session_id']}")[
            "subscription"
        ]

    def await_plan(self, plan_id: str) -> None:
        """Until the gateway has heard from Stripe."""
        until(lambda: self.ask("GET", "/api/v1/subscription").json()["plan_id"] == plan_id)

    def change_in_portal(self, plan_id: str) -> None:
        """As the customer does it: the difference is paid at once. The gateway hears of it by webhooks only."""
        told = self.ask("POST", "/api/v1/portal-session", json={}).raise_for_status().json()
        form = {"subscription": self.stripe_subscription, "price": price_of(plan_id)}
        done = self.street.http.post(f"{told['portal_url']}/plan", data=form)
        assert done.status_code == 303, done.text
        self.await_plan(plan_id)
        self.street.deliver()

    def change_at_stripe(self, plan_id: str) -> None:
        """As the seller does it in Stripe's dashboard: settled on the next invoice."""
        house = self.street.house
        subscription = house.stripe("GET", f"/v1/subscriptions/{self.stripe_subscription}")
        form = {
            "items[0][id]": subscription["items"]["data"][0]["id"],
            "items[0][price]": price_of(plan_id),
            "proration_behavior": "create_prorations",
        }
        house.stripe("POST", f"/v1/subscriptions/{self.stripe_subscription}", form)
        self.await_plan(plan_id)
        self.street.deliver()


def price_of(plan_id: str) -> str:
    """The price that the sandbox has for a plan of the shipped names."""
    return f"price_{plan_id.replace('-', '_')}"
