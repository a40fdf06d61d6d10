"""A gateway of real processes that is killed at a step and goes on, with the sandbox as Stripe."""

from __future__ import annotations

import contextlib
import secrets
import signal
import sqlite3
import subprocess
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from gateway.billing import SUBSCRIBED_TYPES
from gateway.cli.house import NO_TLS, House
from gateway.cli.part import Part
from gateway.clock import SimulatedClock
from tests.journeys.buyers import GOOD_CARD, until
from tests.kills.watching import FOLDER_VARIABLE, Plan, sign_of

_ROOT = Path(__file__).parents[2]
_DAY_S = 86_400
_PLAIN: dict[str, Any] = {"timeout": 30, "verify": NO_TLS}
INCLUDED = 4
"""Calls of a billing period in the plan of a policy that sells overage."""
OVERAGE = f"""\
version: 1
default_tier: free
tiers:
  free: {{limits: [1_000 per second burst 1_000, 4 requests per billing period]}}
  pro:
    limits: [1_000 per second burst 1_000, {INCLUDED} requests per billing period]
    overage: {{stripe_meter: calls, price: lookup_key pro_overage, cap: 100 units}}
plans:
  pro-monthly: {{tier: pro, price: lookup_key pro_monthly}}
routes:
  - match: "* /v1/**"
"""
CLAIMS_END_S = 200.0
"""Longer than the claim of a worker that was killed lasts, and than Stripe waits before it delivers again."""


class WatchedHouse(House):
    """A house whose gateway runs under watch."""

    started = 0
    """Processes that came to serve so far."""
    announced = False
    """Whether the first start has come to its end: a worker that dies before ends it for all."""

    def hear(self, line: str) -> None:
        """A line of the log."""
        self.started += '"Application startup complete."' in line
        self.announced |= '"gateway serves"' in line

    def environment(self) -> dict[str, str]:
        return super().environment() | {FOLDER_VARIABLE: str(self.directory / "kills"), "PYTHONPATH": str(_ROOT)}

    def _spawn(self, name: str, arguments: list[str], env: dict[str, str], stdout: int) -> Part:
        if name != "gateway":
            return super()._spawn(name, arguments, env, stdout)
        part = self._parts.get(name)
        if part is None:
            part = super()._spawn(name, ["-m", "tests.kills.served"], env, subprocess.PIPE)
        assert part.process.stdin is not None
        part.process.stdin.write("serve\n")
        part.process.stdin.flush()
        self.say(part)
        return part

    def say(self, part: Part) -> str:
        """The next line of those who start the gateway: it serves, or it has ended."""
        assert part.process.stdout is not None
        line = part.process.stdout.readline().strip()
        assert line, part.last_words()
        return line

    def await_end(self) -> int:
        """Until the process that serves has ended. How: as `os.waitpid` tells it."""
        return int(self.say(self._parts["gateway"]).removeprefix("ended "))


class Site:
    """The house, the plan for it, and what people do in front of it."""

    def __init__(self, house: WatchedHouse) -> None:
        self.house = house
        self.folder = house.directory / "kills"
        self.last_answer = ""
        """What the last checkout was answered."""
        self._plans = 0
        self._meter = ""
        self.kept = ""
        """A subscriber who lives through all kills."""
        self.command_died = False
        """Whether the last that was killed was a command, and the gateway goes on."""

    @property
    def ledger_url(self) -> str:
        return f"sqlite:///{self.house.directory / 'data' / 'ledger.sqlite3'}"

    def now(self) -> float:
        return SimulatedClock(self.house.clock_file).now()

    # -- killing ------------------------------------------------------------------------------

    def plan(self, path: str, number: int, fate: str) -> None:
        """Have the process killed at this step of the path."""
        self._plans += 1
        Plan(name=f"p{self._plans}", path=path, number=number, fate=fate).write(self.folder)

    @property
    def was_killed(self) -> bool:
        """Whether the plan was carried out."""
        return not (self.folder / "plan").exists()

    def is_at_rest(self, path: str) -> bool:
        """Whether no process is on this path."""
        return not list(self.folder.glob(sign_of(Path(), path, "*").name))

    def call_off(self) -> bool:
        """The plan is not carried out any more. Whether it had not been: who takes it away decides, here as there."""
        try:
            (self.folder / "plan").unlink()
        except FileNotFoundError:
            return False
        return True

    def revive(self) -> None:
        """Start the gateway again, if it was one process; of several, the supervisor does it."""
        if self.house.workers > 1 or self.command_died:
            self.command_died = False
            return
        assert self.house.await_end() == signal.SIGKILL
        for left in self.folder.glob(sign_of(Path(), "*", "*").name):
            left.unlink()
        self.house.start_gateway()

    def steps(self) -> dict[str, list[str]]:
        """What was taken under each plan, in order: path, kind and name."""
        taken = defaultdict(list)
        for line in (self.folder / "steps").read_text().splitlines():
            name, _, path, _, step = line.split(" ", 4)
            taken[name].append(f"{path}: {step}")
        return dict(taken)

    def processes(self) -> dict[str, set[str]]:
        """Who took steps under each plan."""
        taken = defaultdict(set)
        for line in (self.folder / "steps").read_text().splitlines():
            name, process, _ = line.split(" ", 2)
            taken[name].add(process)
        return dict(taken)

    # -- living -------------------------------------------------------------------------------

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response | None:
        """A request to the gateway as the seller's server, on a new connection; None if nobody answers."""
        headers = {"authorization": f"Bearer {self.house.server_token}"}
        with contextlib.suppress(httpx.HTTPError):
            return httpx.request(method, self.house.url + path, headers=headers, **_PLAIN, **options)
        return None

    def new_user(self) -> str:
        return f"user-{secrets.token_hex(6)}"

    def checkout(self, user_id: str) -> dict[str, Any] | None:
        """A checkout of this user; None if it was not begun, or nobody knows."""
        answer = self.ask("POST", "/api/v1/create-checkout", json={"plan_id": "pro-monthly", "user_id": user_id})
        self.last_answer = "nothing" if answer is None else f"{answer.status_code} {answer.text}"
        return answer.json() if answer is not None and answer.is_success else None

    def pay(self, checkout: dict[str, Any]) -> bool:
        """On the hosted page. Whether the page took it."""
        return httpx.post(checkout["checkout_url"], data={"card_number": GOOD_CARD}, **_PLAIN).status_code < 400

    def sign_up(self) -> tuple[dict[str, Any], httpx.Client]:
        """A checkout of somebody new, and the browser that began it."""
        browser = httpx.Client(**_PLAIN)
        told = browser.post(f"{self.house.url}/api/v1/create-checkout", json={"plan_id": "pro-monthly"})
        return told.raise_for_status().json(), browser

    def sign_in(self, key: str) -> httpx.Client:
        """The browser of somebody who has this key, signed in."""
        browser = httpx.Client(**_PLAIN)
        browser.post(f"{self.house.url}/_tiergate/sign-in", data={"key": key}, headers={"origin": self.house.url})
        assert "tiergate_session" in browser.cookies
        return browser

    def open_pages(self, user_id: str) -> list[dict[str, Any]]:
        """Checkout pages of a user that can still be paid."""
        owner = self.read("SELECT stripe_customer_id FROM customers WHERE user_id = ?", user_id)
        query = {"customer": owner, "status": "open", "limit": "100"}
        return [
            {"checkout_url": one["url"]} for one in self.house.stripe("GET", "/v1/checkout/sessions", query)["data"]
        ]

    def read(self, query: str, *values: object, **named: object) -> Any:
        """One value of the ledger. `named`: values of a query that names them, instead."""
        file = self.ledger_url.removeprefix("sqlite:///")
        with contextlib.closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as connection:
            row = connection.execute(query, named or values).fetchone()
        return None if row is None else row[0]

    def key_of(self, user_id: str) -> str:
        """A new API key of this user."""
        customer_id = self.read("SELECT customer_id FROM customers WHERE user_id = ?", user_id)
        key: str = self.house.admin("POST", f"customers/{customer_id}/keys")["key"]
        return key

    def call(self, key: str) -> bool:
        """One call of the API that is sold. Whether it was answered, and let in."""
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.house.url}/v1/echo", headers={"x-api-key": key}, **_PLAIN).status_code == 200
        return False

    def usage(self, key: str) -> dict[str, Any]:
        """What the gateway says that was used."""
        answer = httpx.get(f"{self.house.url}/api/v1/usage", headers={"x-api-key": key}, **_PLAIN)
        told: dict[str, Any] = answer.raise_for_status().json()
        return told

    def meter(self) -> str:
        """Stripe's meter of calls, with a price for what it counts; made when it is first asked for."""
        if not self._meter:
            made = {"display_name": "Calls", "event_name": "calls", "default_aggregation[formula]": "sum"}
            self._meter = self.house.stripe("POST", "/v1/billing/meters", made)["id"]
            recurring = {"recurring[interval]": "month", "recurring[usage_type]": "metered"}
            price = {"product": "prod_pro", "currency": "usd", "unit_amount": "100", "lookup_key": "pro_overage"}
            self.house.stripe("POST", "/v1/prices", price | recurring | {"recurring[meter]": self._meter})
        return self._meter

    def metered(self, user_id: str) -> int:
        """Units that Stripe will bill this user."""
        owner = self.read("SELECT stripe_customer_id FROM customers WHERE user_id = ?", user_id)
        today = int(self.now()) // _DAY_S * _DAY_S
        query = {"customer": owner, "start_time": today - 3 * _DAY_S, "end_time": today + _DAY_S}
        found = self.house.stripe("GET", f"/v1/billing/meters/{self.meter()}/event_summaries", query)["data"]
        return int(sum(one["aggregated_value"] for one in found))

    def lose_item(self, user_id: str) -> None:
        """The seller removes what bills a user's overage. No time passes, in which it would be reported."""
        owner = self.read("SELECT stripe_customer_id FROM customers WHERE user_id = ?", user_id)
        [has] = self.house.stripe("GET", "/v1/subscriptions", {"customer": owner})["data"]
        [metered] = [one for one in has["items"]["data"] if one["price"]["recurring"]["usage_type"] == "metered"]
        item = {"items[0][id]": metered["id"], "items[0][deleted]": "true"}
        self.house.stripe("POST", f"/v1/subscriptions/{has['id']}", item)
        until(self.is_delivered)
        until(self.is_worked_off)

    def subscriber(self) -> str:
        """A user whose subscription is in step."""
        user_id = self.new_user()
        checkout = self.checkout(user_id)
        assert checkout is not None
        assert self.pay(checkout)
        self.settle_down()
        return user_id

    def hold_events(self) -> None:
        """Nothing is delivered until events are let go."""
        self.house.stripe("POST", "/_sandbox/faults", {"pause": True})

    def lose_events(self) -> None:
        """What happens until events are let go never arrives; Stripe lists it."""
        self.house.stripe("POST", "/_sandbox/faults", {"drop": ["*"]})

    def let_events_go(self) -> None:
        self.house.stripe("POST", "/_sandbox/faults", {})

    def pass_time(self, seconds: float) -> None:
        """For the gateway and Stripe alike."""
        self.house.stripe("POST", "/_sandbox/clock/advance", {"seconds": seconds})

    def is_delivered(self) -> bool:
        """Whether nothing is left to send."""
        return bool(self.house.stripe("POST", "/_sandbox/deliveries/drain", {"timeout_s": 2})["drained"])

    def has_all(self) -> bool:
        """Whether what Stripe could not deliver of late was found and stored."""
        lost = self.house.stripe("GET", "/v1/events", {"delivery_success": "false", "limit": "60"})["data"]
        ours = [one["id"] for one in lost if one["type"] in SUBSCRIBED_TYPES]
        return all(self.read("SELECT 1 FROM inbox WHERE event_id = ?", event_id) for event_id in ours)

    def is_worked_off(self) -> bool:
        """Whether no event waits. Nobody says so while nobody serves."""
        with contextlib.suppress(httpx.HTTPError):
            return self.house.inbox_is_worked_off()
        return False

    def settle_down(self) -> None:
        """Everything is delivered and worked off, also what a process that is no more had claimed."""
        self.pass_time(CLAIMS_END_S)
        until(self.is_delivered)
        until(self.is_worked_off)


def make_house(
    directory: Path,
    *,
    workers: int,
    redis_url: str,
    policy: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> WatchedHouse:
    """Not started yet."""
    (directory / "kills").mkdir()
    (directory / "kills" / "steps").touch()
    all_settings = {
        "TIERGATE_REDIS_URL": redis_url,
        "TIERGATE_STRIPE_REQUESTS_PER_S": "1000",
        "TIERGATE_EVENT_SWEEP_INTERVAL_S": "5",
        "TIERGATE_RECONCILE_INTERVAL_S": "0",  # a command does it, and dies of it
        "TIERGATE_CACHE_DEADLINE_MS": "5000",
        "TIERGATE_DECISION_LOG": "none",
        **(settings or {}),
    }
    policies = _ROOT / "policies"
    if policy is not None:
        policies = directory / "policies"
        policies.mkdir()
        (policies / "policy.yaml").write_text(policy)
    house = WatchedHouse(directory, policy_dir=policies, workers=workers, settings=all_settings)
    house._on_line = house.hear
    return house
