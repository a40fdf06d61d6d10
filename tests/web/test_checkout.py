from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

CHECKOUT = "/api/v1/create-checkout"
PRO = {"plan_id": "pro-monthly"}


def stripe_customers(sandbox, customer_id):
    listed = sandbox.ask("GET", "/v1/customers", params={"limit": 100})["data"]
    return [one["id"] for one in listed if one["metadata"].get("tiergate_customer_id") == customer_id]


def test_the_seller_starts_a_checkout_for_a_new_user(gateway, sandbox, new_user):
    user_id = new_user()
    told = gateway.server.post(CHECKOUT, json={**PRO, "user_id": user_id}).json()
    assert told["checkout_url"].startswith(sandbox.stripe_url)
    assert told["session_id"].startswith("cs_")
    found = gateway.admin.get("/_tiergate/admin/customers", params={"user_id": user_id}).json()["customers"]
    assert len(found) == 1
    assert stripe_customers(sandbox, found[0]["customer_id"]) == [found[0]["stripe_customer_id"]]


def test_a_double_click_on_two_workers_makes_one_customer(gateway, second_gateway, sandbox, new_user):
    user_id = new_user()
    clients = [gateway.server, second_gateway.server] * 4
    with ThreadPoolExecutor(len(clients)) as pool:
        answers = list(pool.map(lambda client: client.post(CHECKOUT, json={**PRO, "user_id": user_id}), clients))
    assert {answer.status_code for answer in answers} == {200}
    found = gateway.admin.get("/_tiergate/admin/customers", params={"user_id": user_id}).json()["customers"]
    assert len(found) == 1
    assert stripe_customers(sandbox, found[0]["customer_id"]) == [found[0]["stripe_customer_id"]]


def test_the_first_checkout_leaves_one_row_that_says_which_stripe_customer_it_bound(gateway, second_gateway, new_user):
    user_id = new_user()
    clients = [gateway.server, second_gateway.server] * 2
    with ThreadPoolExecutor(len(clients)) as pool:
        list(pool.map(lambda client: client.post(CHECKOUT, json={**PRO, "user_id": user_id}), clients))
    [row] = gateway.admin.get("/_tiergate/admin/customers", params={"user_id": user_id}).json()["customers"]
    entries = gateway.admin.get("/_tiergate/admin/audit", params={"customer_id": row["customer_id"]}).json()["entries"]
    [bound] = [entry for entry in entries if entry["action"] == "stripe-customer-bound"]
    assert (bound["actor"], bound["because"]) == ("checkout", "first checkout")
    assert (bound["before"], bound["after"]) == (None, {"stripe_customer_id": row["stripe_customer_id"]})


@pytest.mark.parametrize("extra", [{"price": "price_1"}, {"amount": 1}, {"currency": "usd"}, {"line_items": []}])
def test_nobody_brings_a_price(gateway, new_user, extra):
    answer = gateway.server.post(CHECKOUT, json={**PRO, "user_id": new_user(), **extra})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")
    assert next(iter(extra)) in answer.text


def test_an_unknown_plan_is_answered_with_those_there_are(gateway, new_user):
    answer = gateway.server.post(CHECKOUT, json={"plan_id": "gold", "user_id": new_user()})
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown-plan")
    assert "pro-monthly" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("route", "order"),
    [
        ("create-checkout", {}),
        ("subscription/change", {}),
        ("portal-session", {"flow": "subscription_update_confirm"}),
    ],
    ids=["checkout", "change", "portal"],
)
def test_a_plan_id_of_ten_kilobytes_is_no_plan_and_is_not_repeated(gateway, route, order):
    _, _, client = gateway.subscribed()
    answer = client.post(f"/api/v1/{route}", json={"plan_id": "x" * 10_240, **order})
    assert (answer.status_code, answer.json()["code"]) == (422, "unknown-plan")
    assert len(answer.content) < 1_000


def test_a_word_of_ten_kilobytes_is_no_word_and_is_not_repeated(gateway):
    _, _, client = gateway.customer()
    answer = client.post("/api/v1/portal-session", json={"flow": "x" * 10_240})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")
    assert len(answer.content) < 1_000


@pytest.mark.parametrize("user_id", ["", " ", "bob ", "x" * 201, "two\nlines", "signup:abc", "\x00"])
def test_a_user_id_that_no_customer_can_have_is_refused(gateway, user_id):
    answer = gateway.server.post(CHECKOUT, json={**PRO, "user_id": user_id})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")


@pytest.mark.parametrize("name", ["", " ", " bob", "x" * 201, "two\nlines", "\x00"])
def test_nobody_new_calls_itself_what_no_user_can_be_called(gateway, name):
    answer = gateway.browser().post(CHECKOUT, json={**PRO, "user_id": name})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")
    assert "1 to 200 printable characters" in answer.json()["detail"]
    entries = gateway.admin.get("/_tiergate/admin/audit", params={"limit": 500}).json()["entries"]
    assert {"name": name} not in [entry["after"] for entry in entries]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"plan_id": 1, "user_id": "a"}', b'"text"', b"\xff", b'{"user_id": "a"}']
)
def test_a_body_that_is_no_order_is_refused(gateway, body):
    answer = gateway.server.post(CHECKOUT, content=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"plan_id": "\xe9"}', b'{"plan_id": "\\ud800"}'], ids=["deep", "latin-1", "surrogate"]
)
@pytest.mark.parametrize("route", ["create-checkout", "portal-session", "subscription/change", "api-keys"])
def test_a_body_that_cannot_be_decoded_is_the_callers_mistake(gateway, route, body):
    answer = gateway.server.post(f"/api/v1/{route}", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")


def test_a_huge_body_is_refused(gateway):
    answer = gateway.server.post(CHECKOUT, content=b'{"plan_id": "' + b"x" * 1_100_000 + b'"}')
    assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")


def test_a_customer_buys_for_itself_only(gateway, new_user):
    customer_id, user_id, client = gateway.customer()
    assert client.post(CHECKOUT, json=PRO).status_code == 200
    assert client.post(CHECKOUT, json={**PRO, "user_id": user_id}).status_code == 200
    answer = client.post(CHECKOUT, json={**PRO, "user_id": new_user()})
    assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed")
    assert gateway.server.post(CHECKOUT, json={**PRO, "customer_id": customer_id}).status_code == 200


def test_a_restricted_key_buys_nothing(gateway):
    for restriction in ({"scopes": ["GET /v1/**"]}, {"limits": ["5 per day"]}):
        _, _, client = gateway.customer(**restriction)
        for path, body in ((CHECKOUT, PRO), ("/api/v1/portal-session", {}), ("/api/v1/subscription/change", PRO)):
            answer = client.post(path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (403, "scope-missing")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"authorization": "Bearer wrong-token-of-some-length"}, "not-authorized"),
        ({"authorization": "Bearer tg_test_nonsense"}, "invalid-api-key"),
        ({"authorization": "Bearer"}, "not-authorized"),
        ({"x-api-key": "nonsense"}, "invalid-api-key"),
        ({"x-api-key": ""}, "invalid-api-key"),
    ],
)
def test_wrong_credentials_are_not_taken_for_none(gateway, new_user, headers, code):
    answer = gateway.browser().post(CHECKOUT, json={**PRO, "user_id": new_user()}, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, code)
    assert "www-authenticate" in answer.headers


def test_a_token_beside_a_key_is_ambiguous(gateway):
    _, _, client = gateway.customer()
    key = client.headers["authorization"].removeprefix("Bearer ")
    answer = gateway.admin.post(CHECKOUT, json=PRO, headers={"x-api-key": key})
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed-request")


def test_anybody_may_sign_up_where_that_is_open(gateway, sandbox):
    browser = gateway.browser()
    answer = browser.post(CHECKOUT, json={**PRO, "user_id": "ada@example.com"})
    assert answer.status_code == 200
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith("tiergate_claim_")
    assert all(part in cookie for part in ("httponly", "samesite=lax", "path=/_tiergate;", "max-age=2592000"))
    session = sandbox.ask("GET", f"/v1/checkout/sessions/{answer.json()['session_id']}")
    customer_id = session["client_reference_id"]
    created = gateway.admin.get(f"/_tiergate/admin/customers/{customer_id}").json()["customer"]
    assert created["user_id"] == f"signup:{customer_id}"
    entries = gateway.admin.get("/_tiergate/admin/audit", params={"customer_id": customer_id}).json()["entries"]
    assert {"name": "ada@example.com"} in [entry["after"] for entry in entries]


def test_who_signs_up_cannot_take_a_sellers_user(gateway):
    customer_id, user_id, _ = gateway.customer()
    known = gateway.browser().post(CHECKOUT, json={**PRO, "user_id": user_id})
    unknown = gateway.browser().post(CHECKOUT, json={**PRO, "user_id": "nobody-has-this"})
    assert known.status_code == unknown.status_code == 200
    assert known.json().keys() == unknown.json().keys()
    row = gateway.admin.get(f"/_tiergate/admin/customers/{customer_id}").json()["customer"]
    assert row["stripe_customer_id"] is None
    assert gateway.browser().post(CHECKOUT, json={**PRO, "customer_id": customer_id}).status_code == 401


def test_every_checkout_has_a_claim_cookie_of_its_own_that_calls_of_the_api_do_not_carry(gateway):
    browser = gateway.browser()
    first = browser.post(CHECKOUT, json=PRO).cookies
    second = browser.post(CHECKOUT, json=PRO).cookies
    assert len(first) == len(second) == 1
    assert first.keys() != second.keys()
    assert dict(first).values() != dict(second).values()
    assert "tiergate_claim" not in browser.get("/v1/echo").request.headers.get("cookie", "")


@pytest.mark.parametrize(
    "foreign",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site", "origin": "http://127.0.0.1"},
    ],
    ids=["origin", "null-origin", "cross-site", "same-site"],
)
def test_another_site_cannot_sign_its_visitors_up(gateway, foreign):
    answer = gateway.browser().post(CHECKOUT, json=PRO, headers=foreign)
    assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed")
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "text/plain; application/json"])
def test_what_a_form_can_send_signs_nobody_up(gateway, new_user, kind):
    order = {"content": b'{"plan_id": "pro-monthly"}', "headers": {"content-type": kind}}
    answer = gateway.browser().post(CHECKOUT, **order)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")
    assert "application/json" in answer.json()["detail"]
    assert "set-cookie" not in answer.headers
    order["content"] = f'{{"plan_id": "pro-monthly", "user_id": "{new_user()}"}}'.encode()
    assert gateway.server.post(CHECKOUT, **order).status_code == 200


def test_sign_ups_are_paced_by_address(gateway):
    browser = gateway.browser()
    answers = [browser.post(CHECKOUT, json=PRO) for _ in range(12)]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert {answer.json()["code"] for answer in refused} == {"too-many-signups"}
    assert 1 <= int(refused[0].headers["retry-after"]) <= 60
    assert gateway.browser().post(CHECKOUT, json=PRO).status_code == 200


@pytest.mark.slow
def test_sign_up_can_be_closed(start_gateway, new_user):
    closed = start_gateway(TIERGATE_SIGNUP="closed")
    answer = closed.browser().post(CHECKOUT, json=PRO)
    assert (answer.status_code, answer.json()["code"]) == (401, "not-authorized")
    assert closed.server.post(CHECKOUT, json={**PRO, "user_id": new_user()}).status_code == 200


def test_who_has_a_subscription_gets_no_second(gateway, sandbox):
    _, user_id, client = gateway.customer()
    told = client.post(CHECKOUT, json=PRO).json()
    sandbox.pay(told["checkout_url"])
    for again in (client.post(CHECKOUT, json=PRO), gateway.server.post(CHECKOUT, json={**PRO, "user_id": user_id})):
        assert (again.status_code, again.json()["code"]) == (409, "already-subscribed")
        assert again.json()["links"]["billing"].endswith("/_tiergate/account")
    assert client.get("/api/v1/subscription").json()["standing"] == "good"


def test_of_two_checkouts_of_a_customer_only_the_later_can_be_paid(gateway, sandbox):
    _, _, client = gateway.customer()
    first, second = (client.post(CHECKOUT, json=PRO).json() for _ in range(2))
    assert sandbox.ask("GET", f"/v1/checkout/sessions/{first['session_id']}")["status"] == "expired"
    assert sandbox.pay(second["checkout_url"]).status_code == 303
    subscriptions = sandbox.ask("GET", "/v1/subscriptions", params={"customer": customer_of(sandbox, second)})
    assert len(subscriptions["data"]) == 1


def test_of_many_checkouts_at_once_on_two_workers_one_can_be_paid(gateway, second_gateway, sandbox, new_user):
    user_id = new_user()
    clients = [gateway.server, second_gateway.server] * 2
    with ThreadPoolExecutor(len(clients)) as pool:
        list(pool.map(lambda client: client.post(CHECKOUT, json={**PRO, "user_id": user_id}), clients))
    found = gateway.admin.get("/_tiergate/admin/customers", params={"user_id": user_id}).json()["customers"]
    sessions = sandbox.ask(
        "GET", "/v1/checkout/sessions", params={"customer": found[0]["stripe_customer_id"], "limit": 100}
    )["data"]
    assert sorted(one["status"] for one in sessions) == ["expired"] * 3 + ["open"]


def test_a_customer_deleted_at_stripe_can_buy_again(gateway, sandbox):
    _, user_id, client = gateway.subscribed()
    row = gateway.admin.get("/_tiergate/admin/customers", params={"user_id": user_id}).json()["customers"][0]
    sandbox.ask("DELETE", f"/v1/customers/{row['stripe_customer_id']}")
    portal = client.post("/api/v1/portal-session", json={})
    assert (portal.status_code, portal.json()["code"]) == (409, "no-subscription")
    told = client.post(CHECKOUT, json=PRO).json()
    assert "checkout_url" in told, told
    assert sandbox.pay(told["checkout_url"]).status_code == 303
    assert customer_of(sandbox, told) != row["stripe_customer_id"]
    assert client.post(CHECKOUT, json=PRO).json()["code"] == "already-subscribed"
    assert client.get("/api/v1/subscription").json()["tier"] == "pro"


def customer_of(sandbox, told):
    return sandbox.ask("GET", f"/v1/checkout/sessions/{told['session_id']}")["customer"]


def test_a_change_between_monthly_and_yearly_keeps_the_count(gateway):
    _, _, client = gateway.subscribed("pro-yearly")
    for plan_id in ("pro-monthly", "pro-yearly", "pro-monthly"):
        client.get("/v1/echo").raise_for_status()
        client.post("/api/v1/subscription/change", json={"plan_id": plan_id, "preview": False}).raise_for_status()
    period = next(limit for limit in client.get("/api/v1/usage").json()["limits"] if limit["name"] == "period")
    assert (period["limit"], period["used"]) == (1_000, 3)


def test_a_suspended_customer_buys_nothing(gateway):
    customer_id, _, client = gateway.customer()
    gateway.admin.post(f"/_tiergate/admin/customers/{customer_id}/block").raise_for_status()
    answer = client.post(CHECKOUT, json=PRO)
    assert (answer.status_code, answer.json()["code"]) == (403, "account-suspended")


@pytest.mark.slow
def test_a_stripe_that_is_away_is_said_to_be(start_gateway, new_user):
    alone = start_gateway(TIERGATE_STRIPE_URL="http://127.0.0.1:9")
    answer = alone.server.post(CHECKOUT, json={**PRO, "user_id": new_user()})
    assert (answer.status_code, answer.json()["code"]) == (503, "billing-unavailable")
    assert "retry-after" in answer.headers
    plans = alone.browser().get("/api/v1/plans").json()
    assert plans["prices_as_of"] is None
    assert {plan["price"] for plan in plans["plans"]} == {None}
    assert alone.browser().get("/_tiergate/ready").status_code == 200


def test_plans_are_public_with_prices_and_limits_in_words(gateway):
    told = gateway.browser().get("/api/v1/plans").json()
    plan = next(plan for plan in told["plans"] if plan["plan_id"] == "pro-monthly")
    assert (plan["price"]["amount"], plan["price"]["currency"], plan["price"]["interval"]) == (2900, "usd", "month")
    assert "1_000 requests per billing period" in plan["limits"]
    assert [tier["tier"] for tier in told["tiers"]] == ["free", "pro", "enterprise"]
    assert [tier["tier"] for tier in told["tiers"] if tier["is_default"]] == ["free"]
    assert told["prices_as_of"] > 1_700_000_000


def test_the_portal_opens_for_who_has_been_at_the_checkout(gateway):
    _, user_id, client = gateway.customer()
    before = client.post("/api/v1/portal-session", json={})
    assert (before.status_code, before.json()["code"]) == (409, "no-subscription")
    client.post(CHECKOUT, json=PRO).raise_for_status()
    for answer in (
        client.post("/api/v1/portal-session"),
        gateway.server.post("/api/v1/portal-session", json={"user_id": user_id}),
    ):
        assert httpx.get(answer.json()["portal_url"], timeout=60).status_code == 200


def test_the_seller_names_one_customer(gateway):
    customer_id, user_id, _ = gateway.customer()
    for params, status in (
        ({}, 400),
        ({"user_id": user_id, "customer_id": customer_id}, 400),
        ({"user_id": user_id}, 200),
        ({"customer_id": customer_id}, 200),
        ({"user_id": "nobody-at-all"}, 404),
    ):
        assert gateway.server.get("/api/v1/subscription", params=params).status_code == status
    assert gateway.browser().get("/api/v1/subscription", params={"user_id": user_id}).status_code == 401


def test_a_plan_change_is_previewed_and_then_holds_at_once(gateway):
    _, _, client = gateway.subscribed()
    client.get("/v1/echo").raise_for_status()
    told = client.post("/api/v1/subscription/change", json={"plan_id": "enterprise-monthly"}).json()
    assert told["applied"] is False
    assert told["amount_due"] == sum(line["amount"] for line in told["lines"]) > 0
    assert client.get("/api/v1/subscription").json()["tier"] == "pro"
    order = {"plan_id": "enterprise-monthly", "preview": False}
    changed = client.post("/api/v1/subscription/change", json=order).json()
    assert (changed["applied"], changed["subscription"]["tier"]) == (True, "enterprise")
    answer = client.get("/v1/echo")
    usage = client.get("/api/v1/usage").json()
    period = next(limit for limit in usage["limits"] if limit["name"] == "period")
    a_moment = 3600 * 1_000_000 // (period["window_ends_at"] - period["window_starts_at"])
    assert 1_000_000 - a_moment <= period["limit"] <= 1_000_000, "each plan's share, of which the first had moments"
    assert period["used"] == 2
    assert f'"period";q={period["limit"]};' in answer.headers["ratelimit-policy"]


def test_nothing_can_be_changed_without_a_subscription(gateway):
    _, _, client = gateway.customer()
    answer = client.post("/api/v1/subscription/change", json={"plan_id": "enterprise-monthly"})
    assert (answer.status_code, answer.json()["code"]) == (409, "no-subscription")
    unknown = client.post("/api/v1/subscription/change", json={"plan_id": "gold"})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown-plan")
    assert "enterprise-monthly" in unknown.json()["detail"]
