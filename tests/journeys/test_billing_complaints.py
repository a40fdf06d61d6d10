"""What customers and sellers complain about in billing elsewhere, played with real parts: none of it happens.

Each test names its complaint, and where it was made in public.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import psutil
import pytest

from gateway.billing.webhook import METADATA_USER
from gateway.cli.house import House, temporary_house_directory
from tests.journeys.buyers import DAY_S, GOOD_CARD, Buyer, Street, until
from tests.journeys.shopping import call, page
from tests.journeys.test_life import shown_demo
from tests.processes import descendants, program
from tests.web.page_steps import keys_in

pytestmark = [pytest.mark.journey, pytest.mark.slow]

FAILS_AT_RENEWAL = "4000000000000341"
ARRIVES_LATER = "000123456789"
OWN = ("python", "sh", "valkey-server")
"""Programs of the demo: this one, its guards, which end what a crash leaves, and the cache that a wheel brings."""


@pytest.fixture
def visitor(shop: Street) -> Iterator[httpx.Client]:
    """A browser without scripts, and with cookies of its own."""
    with httpx.Client(base_url=f"{shop.house.url}/_tiergate", timeout=30) as opened:
        yield opened


@pytest.fixture(autouse=True)
def quiet(shop: Street) -> Iterator[None]:
    """What a test breaks in the sandbox is mended after it."""
    yield
    shop.house.stripe("POST", "/_sandbox/faults", {})
    shop.house.stripe("POST", "/_sandbox/rules", {"final_action": "cancel"})
    shop.deliver()


def signed_in(visitor: httpx.Client, key: str) -> httpx.Client:
    assert visitor.post("/sign-in", data={"key": key}).status_code == 303
    return visitor


def pays(shop: Street, buyer: Buyer, card: str = GOOD_CARD) -> str:
    """Buy with the key; returns where Stripe sends the browser back to."""
    told = buyer.ask("POST", "/api/v1/create-checkout", json={"plan_id": "pro-monthly"}).raise_for_status().json()
    return shop.http.post(told["checkout_url"], data={"card_number": card}).headers["location"]


def call_anew(shop: Street, key: str) -> httpx.Response:
    """On a connection of its own, which either worker may take."""
    return httpx.get(f"{shop.house.url}/v1/echo", headers={"x-api-key": key}, timeout=30)


@contextmanager
def no_webhooks(shop: Street, fault: dict[str, object]) -> Iterator[None]:
    shop.house.stripe("POST", "/_sandbox/faults", fault)
    yield
    shop.house.stripe("POST", "/_sandbox/faults", {})


def test_whoever_owes_money_is_never_kept_from_the_card_form(shop, visitor):
    """The complaint: a subscription that is past due locks its owner out of the page where a card is changed.

    alaveteli #5517
    """
    shop.house.stripe("POST", "/_sandbox/rules", {"final_action": "unpaid"})
    buyer = shop.newcomer()
    pays(shop, buyer, FAILS_AT_RENEWAL)
    buyer.await_plan("pro-monthly")
    shop.advance(32 * DAY_S)
    assert buyer.ask("GET", "/api/v1/subscription").json()["status"] == "past_due"
    shop.advance(22 * DAY_S)
    refused = buyer.call()
    assert (refused.status_code, refused.json()["code"]) == (402, "payment-required")
    assert refused.json()["links"]["billing"] == page(shop, "account/portal/payment_method_update")
    assert buyer.ask("GET", "/api/v1/usage").status_code == 200
    assert buyer.ask("POST", "/api/v1/portal-session", json={}).status_code == 200
    account = signed_in(visitor, buyer.key).get("/account")
    assert "Update the payment method" in account.text
    portal = visitor.post("/account/portal")
    saved = shop.http.post(f"{portal.headers['location']}/card", data={"card_number": GOOD_CARD})
    assert saved.status_code == 303, saved.text
    shop.deliver()
    assert buyer.call().status_code == 200
    assert "Update the payment method" not in visitor.get("/account").text


def test_a_cancellation_in_the_portal_is_seen_however_stripe_writes_it(shop, visitor):
    """The complaint: the portal sets `cancel_at` and leaves `cancel_at_period_end` false, so nobody notices.

    better-auth #6961
    """
    buyer = shop.subscriber("pro-monthly")
    portal = buyer.ask("POST", "/api/v1/portal-session", json={}).json()["portal_url"]
    form = {"subscription": buyer.stripe_subscription}
    assert shop.http.post(f"{portal}/cancel", data=form).status_code == 303
    at_stripe = shop.house.stripe("GET", f"/v1/subscriptions/{buyer.stripe_subscription}")
    assert (at_stripe["cancel_at_period_end"], at_stripe["cancel_at"] is None) == (False, False)
    shop.deliver()
    assert buyer.ask("GET", "/api/v1/subscription").json()["cancel_at"] == at_stripe["cancel_at"]
    assert "The subscription is cancelled: it ends on " in signed_in(visitor, buyer.key).get("/account").text
    shop.http.post(f"{portal}/resume", data=form)
    shop.deliver()
    assert buyer.ask("GET", "/api/v1/subscription").json()["cancel_at"] is None
    shop.http.post(f"{portal}/cancel", data=form)
    shop.deliver()
    shop.advance_to(at_stripe["cancel_at"] + 3600)
    told = buyer.ask("GET", "/api/v1/subscription").json()
    assert (told["standing"], told["tier"]) == ("lapsed", "free")


def test_many_clicks_on_two_workers_make_one_customer_and_one_subscription(shop):
    """The complaint: a double click, or a second tab, gives one user two Stripe customers or two subscriptions.

    better-auth #2440, #3560
    """
    user_id = f"clicks-{time.time_ns()}"

    def click(_: int) -> httpx.Response:
        return httpx.post(
            f"{shop.house.url}/api/v1/create-checkout",
            json={"plan_id": "pro-monthly", "user_id": user_id},
            headers={"authorization": f"Bearer {shop.house.server_token}"},
            timeout=60,
        )

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(click, range(8)))
    links = [answer.json()["checkout_url"] for answer in answers if answer.status_code == 200]
    assert links, [answer.text for answer in answers]
    with ThreadPoolExecutor(8) as pool:
        paid = list(pool.map(lambda url: httpx.post(url, data={"card_number": GOOD_CARD}, timeout=60), links))
    assert sorted({answer.status_code for answer in paid}) in ([303], [303, 410])
    assert sum(answer.status_code == 303 for answer in paid) == 1
    customers = shop.house.stripe("GET", "/v1/customers", {"limit": 100})["data"]
    (cus,) = (one["id"] for one in customers if one["metadata"].get(METADATA_USER) == user_id)
    subscriptions = shop.house.stripe("GET", "/v1/subscriptions", {"customer": cus, "status": "all"})["data"]
    assert len(subscriptions) == 1
    assert click(0).json()["code"] == "already-subscribed"


def test_a_payment_that_takes_days_is_fulfilled_when_it_arrives_and_not_before(shop, visitor):
    """The complaint: whoever pays by bank debit is given access at once and never pays, or pays and never gets it.

    docs.stripe.com/payments/checkout/fulfill-orders, "delayed payment methods"
    """
    checkout = visitor.post("/pricing", data={"plan_id": "pro-monthly"}).headers["location"]
    success = shop.http.post(checkout, data={"card_number": ARRIVES_LATER}).headers["location"]
    waiting = visitor.get(success)
    assert "A bank debit takes days to be confirmed" in waiting.text
    assert not keys_in(waiting.text)
    shop.advance(4 * DAY_S + 60)
    (key,) = keys_in(visitor.get(success).text)
    first = call(shop, key)
    assert (first.status_code, '"period";r=999;' in first.headers["ratelimit"]) == (200, True)


OVERAGE_POLICY = """\
version: 1
default_tier: free
tiers:
  free: {limits: [100 requests per billing period]}
  pro:
    limits: [5 requests per billing period]
    overage: {stripe_meter: api_overage, price: lookup_key api_overage, cap: none}
plans:
  pro-monthly: {tier: pro, price: lookup_key pro_monthly}
routes:
  - match: "* /v1/**"
"""


@pytest.fixture
def metered() -> Iterator[Street]:
    """Two workers that bill what is beyond a quota."""
    with temporary_house_directory() as directory:
        policies = directory / "policies"
        policies.mkdir()
        (policies / "policy.yaml").write_text(OVERAGE_POLICY)
        house = House(directory, policy_dir=policies, workers=2)
        house.start()
        made = Street(house)
        try:
            yield made
        finally:
            made.http.close()
            house.stop()


def test_a_report_that_stripe_has_already_holds_up_no_other(metered):
    """The complaint: one "duplicate identifier" from Stripe's meter, and no usage is reported ever after.

    langfuse #16292
    """
    house = metered.house
    buyer = metered.subscriber("pro-monthly")
    lost = {"path": "/v1/billing/meter_events", "status": 500}
    house.stripe("POST", "/_sandbox/faults", {"api": [lost | {"after": True}, lost | {"times": 2}]})
    buyer.calls(5 + 3)
    until(lambda: metered.advance(61) or not house.stripe("GET", "/_sandbox/faults")["api"])
    assert counted_at_stripe(metered, buyer) > 0, "it was taken, and every answer to that was lost"
    until(lambda: metered.advance(61) or counted_at_stripe(metered, buyer) == 3)
    until(lambda: metered.advance(61) or reports(metered, "known") == 1)
    buyer.calls(4)
    until(lambda: metered.advance(61) or counted_at_stripe(metered, buyer) == 3 + 4)
    assert (reports(metered, "refused"), reports(metered, "dead")) == (0, 0)


def reports(street: Street, result: str) -> float:
    """How many reports came out so, in all workers."""
    answer = street.http.get(
        f"{street.house.url}/_tiergate/metrics", headers={"authorization": f"Bearer {street.house.admin_token}"}
    )
    wanted = f'tiergate_meter_reports_total{{result="{result}"}} '
    return sum(float(line.removeprefix(wanted)) for line in answer.text.splitlines() if line.startswith(wanted))


def counted_at_stripe(street: Street, buyer: Buyer) -> float:
    """Units of the meter, of this customer, in the running billing period."""
    cus = street.house.stripe("GET", f"/v1/subscriptions/{buyer.stripe_subscription}")["customer"]
    since, until_now = buyer.period()["window_starts_at"] // 60 * 60, int(street.now()) // 60 * 60 + 60
    span = {"customer": cus, "start_time": since, "end_time": until_now}
    told = street.house.stripe("GET", "/v1/billing/meters/mtr_api_overage/event_summaries", span)
    return sum(float(one["aggregated_value"]) for one in told["data"])


def test_the_demo_is_our_own_processes_and_one_valkey_on_loopback_in_little_memory():
    """The complaint: to try it out one needs a broker, two databases, a collector and gigabytes of memory.

    OpenMeter #615
    """
    demo, _ = shown_demo()
    try:
        family = [demo.pid, *descendants(demo.pid)]
        names = sorted(program(pid) for pid in family)
        assert [name for name in names if not name.startswith(OWN)] == []
        assert sum(name.startswith("valkey-server") for name in names) == 1
        assert len(names) <= 8, names
        assert sum(psutil.Process(pid).memory_full_info().uss for pid in family) < 300e6, "bytes of their own"
        places = {
            end.ip
            for pid in family
            for connection in psutil.Process(pid).net_connections("inet")
            for end in (connection.laddr, connection.raddr)
            if end
        }
        assert places <= {"127.0.0.1", "::1"}
    finally:
        demo.send_signal(signal.SIGINT)
        demo.communicate(timeout=40)


def test_the_buyer_can_ask_what_is_used_and_what_is_left_and_it_costs_nothing(shop, visitor):
    """The complaint: there is no endpoint where the buyer sees the usage; only the seller's dashboard has it.

    APISIX #7587
    """
    buyer = shop.subscriber("pro-monthly")
    buyer.calls(3)
    for _ in range(2):
        row = buyer.period()
        assert (row["used"], row["limit"], row["remaining"]) == (3, 1000, 997)
        assert row["window_starts_at"] <= shop.now() < row["window_ends_at"]
    assert "3 of 1,000 used" in signed_in(visitor, buyer.key).get("/account").text
    until(lambda: sum(line["requests"] for line in history(buyer)) == 3)


def history(buyer: Buyer) -> list[dict[str, int]]:
    told = buyer.ask("GET", "/api/v1/usage/history").raise_for_status().json()
    lines: list[dict[str, int]] = told["lines"]
    return lines


@pytest.mark.parametrize("fault", [{"pause": True}, {"drop": ["*"]}], ids=["late", "lost"])
def test_the_very_first_call_after_paying_has_what_was_paid_for_without_any_webhook(shop, visitor, fault):
    """The complaint: for a minute after paying, every call is answered "customer not found".

    Kong: keys and consumers reach the data plane by polling
    """
    with no_webhooks(shop, fault):
        checkout = visitor.post("/pricing", data={"plan_id": "pro-monthly"}).headers["location"]
        success = shop.http.post(checkout, data={"card_number": GOOD_CARD}).headers["location"]
        (key,) = keys_in(visitor.get(success).text)
        answers = [call_anew(shop, key) for _ in range(4)]
        assert {answer.status_code for answer in answers} == {200}
        assert '"period";r=999;' in answers[0].headers["ratelimit"]


@pytest.mark.parametrize("fault", [{"pause": True}, {"drop": ["*"]}], ids=["late", "lost"])
def test_a_customer_with_a_key_has_the_new_tier_at_the_first_call_after_coming_back(shop, fault):
    """The complaint is the same, of somebody who had a key before paying, in use on both workers."""
    buyer = shop.newcomer()
    for _ in range(4):
        assert '"period";r=9' in call_anew(shop, buyer.key).headers["ratelimit"]
    with no_webhooks(shop, fault):
        back = pays(shop, buyer)
        assert "Thank you" in shop.http.get(back).text
        for _ in range(4):
            assert '"period";r=99' in call_anew(shop, buyer.key).headers["ratelimit"]
        assert buyer.period()["limit"] == 1000
