"""Changes of a running subscription over HTTP: who may, what is refused, and two workers at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.web.conftest import POLICIES
from tests.web.page_steps import sign_in

pytestmark = pytest.mark.slow

CHANGE = "/api/v1/subscription/change"
SHIPPED = "switching: {downgrade: at period end, proration: now}"
SWITCHING = "switching: {downgrade: at period end or now, proration: next invoice}"


@pytest.fixture(scope="module")
def workers(start_gateway_once, tmp_path_factory):
    """Two gateways that share one ledger, and whose downgrades wait for the period's end."""
    directory = tmp_path_factory.mktemp("policies")
    shipped = (POLICIES / "tiergate.yaml").read_text()
    assert SHIPPED in shipped
    (directory / "policy.yaml").write_text(shipped.replace(SHIPPED, SWITCHING))
    return [start_gateway_once(TIERGATE_POLICY_DIR=str(directory)) for _ in range(2)]


@pytest.fixture
def gateway(workers):
    return workers[0]


def at_stripe(gateway, user_id):
    """The customer's only subscription, and its schedules that are running."""
    [row] = gateway.admin.get("/_tiergate/admin/customers", params={"user_id": user_id}).json()["customers"]
    params = {"customer": row["stripe_customer_id"]}
    [subscription] = gateway.sandbox.ask("GET", "/v1/subscriptions", params=params)["data"]
    schedules = gateway.sandbox.ask("GET", "/v1/subscription_schedules", params=params)["data"]
    return subscription, [one for one in schedules if one["status"] == "active"]


def test_a_downgrade_is_previewed_planned_shown_and_taken_back(gateway):
    _, _, client = gateway.subscribed("enterprise-monthly")
    told = client.post(CHANGE, json={"plan_id": "pro-monthly"}).json()
    assert (told["direction"], told["when"], told["when_allowed"]) == ("downgrade", "period-end", ["period-end", "now"])
    period_ends_at = client.get("/api/v1/subscription").json()["period_ends_at"]
    assert told["takes_effect_at"] == period_ends_at
    assert [line["amount"] for line in told["lines"]] == [2900]
    made = client.post(CHANGE, json={"plan_id": "pro-monthly", "preview": False}).json()
    assert (made["applied"], made["scheduled"], made["when"]) == (False, True, "period-end")
    planned = {"plan_id": "pro-monthly", "at": period_ends_at, "seats": 1, "add_ons": []}
    assert made["subscription"]["scheduled_change"] == planned
    shown = client.get("/api/v1/subscription").json()
    assert (shown["tier"], shown["scheduled_change"]) == ("enterprise", planned)
    kept = client.delete(CHANGE)
    assert (kept.status_code, kept.json()["scheduled_change"], kept.json()["tier"]) == (200, None, "enterprise")
    assert client.delete(CHANGE).status_code == 200, "nothing is planned, and nothing happens"


def test_a_downgrade_now_is_made_now_where_policy_leaves_the_choice(gateway):
    _, _, client = gateway.subscribed("enterprise-monthly")
    made = client.post(CHANGE, json={"plan_id": "pro-monthly", "preview": False, "when": "now"}).json()
    assert (made["applied"], made["subscription"]["tier"]) == (True, "pro")
    refused = client.post(CHANGE, json={"plan_id": "enterprise-monthly", "when": "period-end"})
    assert (refused.status_code, refused.json()["code"]) == (422, "change-time-refused")
    assert client.post(CHANGE, json={"plan_id": "enterprise-monthly", "when": "yesterday"}).status_code == 400


@pytest.mark.parametrize(
    "targets",
    [("pro-monthly",), ("pro-monthly", "pro-yearly"), ("pro-monthly", "enterprise-monthly")],
    ids=["the same", "two downgrades", "one of them the plan that there is"],
)
def test_clicks_on_two_workers_leave_one_item_and_one_schedule_at_most(workers, gateway, targets):
    _, user_id, _ = gateway.subscribed("enterprise-monthly")
    orders = [{"plan_id": plan_id, "preview": False, "user_id": user_id} for plan_id in targets] * 4
    servers = [worker.server for worker in workers]

    def order(n):
        return servers[n % 2].post(CHANGE, json=orders[n % len(orders)])

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(order, range(8)))
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    subscription, schedules = at_stripe(gateway, user_id)
    [item] = subscription["items"]["data"]
    assert item["price"]["lookup_key"] == "enterprise_monthly"
    params = {"user_id": user_id}
    shown = gateway.server.get("/api/v1/subscription", params=params).json()["scheduled_change"]
    if shown is None:
        assert ("enterprise-monthly" in targets, schedules) == (True, [])
        return
    [schedule] = schedules
    assert shown["plan_id"] in targets
    assert schedule["phases"][1]["items"][0]["price"] == f"price_{shown['plan_id'].replace('-', '_')}"


def test_an_upgrade_and_a_downgrade_at_once_end_in_one_of_the_orders_in_which_they_can_come(workers, gateway):
    _, user_id, _ = gateway.subscribed("pro-yearly")
    orders = [{"plan_id": plan, "preview": False, "user_id": user_id} for plan in ("enterprise-monthly", "pro-monthly")]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda n: workers[n].server.post(CHANGE, json=orders[n]), range(2)))
    assert {answer.status_code for answer in answers} == {200}
    subscription, schedules = at_stripe(gateway, user_id)
    [item] = subscription["items"]["data"]
    assert item["price"]["lookup_key"] == "enterprise_monthly"
    assert len(schedules) <= 1
    shown = gateway.server.get("/api/v1/subscription", params={"user_id": user_id}).json()
    assert shown["tier"] == "enterprise"
    assert (shown["scheduled_change"] is None) == (not schedules)


def test_clicks_for_an_upgrade_on_two_workers_are_charged_once(workers, gateway):
    _, user_id, _ = gateway.subscribed("pro-monthly")
    order = {"plan_id": "pro-yearly", "preview": False, "user_id": user_id}
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: workers[n % 2].server.post(CHANGE, json=order), range(6)))
    assert {answer.status_code for answer in answers} == {200}
    subscription, _ = at_stripe(gateway, user_id)
    assert [item["price"]["lookup_key"] for item in subscription["items"]["data"]] == ["pro_yearly"]
    invoices = gateway.sandbox.ask("GET", "/v1/invoices", params={"subscription": subscription["id"]})["data"]
    assert len(invoices) == 2, "the first one, and one for the change"


@pytest.mark.parametrize("key", [{"scopes": ["GET /v1/**"]}, {"limits": ["1 per second"]}])
def test_a_key_that_is_less_than_the_account_changes_nothing(gateway, key):
    _, _, client = gateway.customer(**key)
    for answer in (
        client.post(CHANGE, json={"plan_id": "pro-monthly"}),
        client.post(CHANGE, json={"plan_id": "pro-monthly", "preview": False}),
        client.delete(CHANGE),
    ):
        assert (answer.status_code, answer.json()["code"]) == (403, "scope-missing")


def test_nobody_changes_the_plan_of_another(gateway):
    customer_id, user_id, _ = gateway.subscribed("enterprise-monthly")
    _, _, stranger = gateway.subscribed("pro-monthly")
    for name in ({"user_id": user_id}, {"customer_id": customer_id}):
        order = {"plan_id": "pro-monthly", "preview": False, **name}
        for answer in (stranger.post(CHANGE, json=order), stranger.delete(CHANGE, params=name)):
            assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed")
    for answer in (
        gateway.browser().post(CHANGE, json={"plan_id": "pro-monthly", "user_id": user_id}),
        gateway.browser().delete(CHANGE, params={"user_id": user_id}),
    ):
        assert answer.status_code == 401
    assert at_stripe(gateway, user_id)[1] == []


@pytest.mark.parametrize("field", ["price", "price_id", "amount", "proration", "coupon", "proration_date"])
def test_a_caller_names_a_plan_and_nothing_about_money(gateway, field):
    _, _, client = gateway.subscribed("pro-monthly")
    answer = client.post(CHANGE, json={"plan_id": "enterprise-monthly", field: "1"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")


def test_a_plan_that_is_not_sold_is_changed_to_by_nobody(gateway):
    _, _, client = gateway.subscribed("pro-monthly")
    for plan_id in ("gold", "tier:enterprise", ""):
        answer = client.post(CHANGE, json={"plan_id": plan_id, "preview": False})
        assert (answer.status_code, answer.json()["code"]) == (422, "unknown-plan")


def test_without_a_subscription_there_is_nothing_to_take_back(gateway):
    _, _, client = gateway.customer()
    assert client.delete(CHANGE).json()["scheduled_change"] is None


def test_the_account_page_plans_a_change_and_takes_it_back(gateway):
    customer_id, _, _ = gateway.subscribed("enterprise-monthly")
    key = gateway.admin.post(f"/_tiergate/admin/customers/{customer_id}/keys", json={}).json()["key"]
    browser = sign_in(gateway, key)
    page = browser.get("/_tiergate/account/change?plan_id=pro-monthly").text
    assert "until then everything stays as it is" in page
    assert "Change at once instead" in page
    assert (
        "Change at the end of the period instead"
        in browser.get("/_tiergate/account/change?plan_id=pro-monthly&when=now").text
    )
    done = browser.post("/_tiergate/account/change", data={"plan_id": "pro-monthly", "when": "period-end"})
    assert done.headers["location"] == "/_tiergate/account?done=planned"
    assert "Changes to" in browser.get("/_tiergate/account").text
    kept = browser.post("/_tiergate/account/change/keep")
    assert kept.headers["location"] == "/_tiergate/account?done=kept"
    assert "Changes to" not in browser.get("/_tiergate/account").text


@pytest.mark.parametrize(
    ("order", "status", "code"),
    [
        ({}, 400, "invalid-request"),
        ({"preview": False}, 400, "invalid-request"),
        ({"seats": "two"}, 400, "invalid-request"),
        ({"add_ons": "exports"}, 400, "invalid-request"),
        ({"seats": 100_000_000}, 422, "seats-not-sold"),
        ({"seats": -1}, 422, "seats-not-sold"),
        ({"add_ons": ["no-such-add-on"]}, 422, "add-on-not-sold"),
    ],
)
def test_seats_and_add_ons_are_what_policy_sells(gateway, order, status, code):
    _, _, client = gateway.subscribed("pro-monthly")
    answer = client.post(CHANGE, json=order)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    shown = client.get("/api/v1/subscription").json()
    assert (shown["seats"], shown["add_ons"]) == (1, [])


def test_a_refusal_because_of_a_payment_says_where_it_can_be_made(gateway, until):
    _, user_id, client = gateway.customer()
    told = client.post("/api/v1/create-checkout", json={"plan_id": "pro-monthly"}).raise_for_status().json()
    gateway.sandbox.pay(told["checkout_url"], "000123456789")
    until(lambda: client.get("/api/v1/subscription").json()["flags"] == ["first_payment_pending"])
    subscription, _ = at_stripe(gateway, user_id)
    [invoice] = gateway.sandbox.ask("GET", "/v1/invoices", params={"subscription": subscription["id"]})["data"]
    refused = client.post(CHANGE, json={"plan_id": "enterprise-monthly"})
    assert (refused.status_code, refused.json()["code"]) == (402, "payment-required")
    assert refused.json()["payment_url"] == invoice["hosted_invoice_url"]
    browser = sign_in(gateway, client.headers["authorization"].removeprefix("Bearer "))
    page = browser.get("/_tiergate/account/change?plan_id=enterprise-monthly")
    assert page.status_code == 402
    assert f'href="{invoice["hosted_invoice_url"]}">Pay the invoice' in page.text
