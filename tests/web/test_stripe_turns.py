"""How often one customer may have Stripe asked: a request too many is refused, and only that customer's."""

from __future__ import annotations

STATEMENT = "/api/v1/statement"
MOST_TRIES = 200


def test_a_customer_who_asks_about_billing_without_a_pause_is_held_up_and_nobody_else(gateway):
    _, user_id, client = gateway.customer()
    _, _, other = gateway.customer()
    answers = (client.get(STATEMENT) for _ in range(MOST_TRIES))
    refused = next(answer for answer in answers if answer.status_code != 200)
    assert (refused.status_code, refused.json()["code"]) == (429, "too-many-billing-requests")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    refused = client.post("/api/v1/portal-session")
    assert refused.json()["code"] in {"too-many-billing-requests", "no-subscription"}, "a turn may have come meanwhile"
    assert other.get(STATEMENT).status_code == 200
    assert gateway.server.get(STATEMENT, params={"user_id": user_id}).status_code == 200
    assert client.get("/v1/echo").status_code == 200


def test_a_new_customer_sees_the_statement_of_the_period_that_runs(gateway):
    browser = gateway.browser()
    _, _, client = gateway.customer()
    key = client.headers["authorization"].removeprefix("Bearer ")
    browser.post("/_tiergate/sign-in", data={"key": key}, headers={"origin": gateway.url})
    page = browser.get("/_tiergate/account/statement")
    assert page.status_code == 200, page.text
    assert "There is no invoice of this period, and nothing was used beyond the plan." in page.text
    assert "Statement" in page.text


def test_the_pricing_page_has_the_same_pace_and_so_has_the_way_back_from_a_checkout(gateway):
    _, _, client = gateway.customer()
    browser = gateway.browser()
    key = client.headers["authorization"].removeprefix("Bearer ")
    browser.post("/_tiergate/sign-in", data={"key": key}, headers={"origin": gateway.url})
    told = client.post("/api/v1/create-checkout", json={"plan_id": "pro-monthly"}).json()
    back = f"/_tiergate/success?session_id={told['session_id']}"
    refused = next(page for page in _pages_without_turns(client, browser) if page.status_code != 303)
    assert refused.status_code == 429
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert gateway.browser().get(back).status_code == 200, "whoever comes back waits on the page"


def _pages_without_turns(client, browser):
    """Orders on the pricing page, each when the customer has just used up its turns."""
    for _ in range(MOST_TRIES):
        while client.get(STATEMENT).status_code == 200:
            pass
        yield browser.post("/_tiergate/pricing", data={"plan_id": "pro-monthly"})


def test_a_checkout_that_is_loaded_over_and_over_takes_the_turns_of_its_customer_and_address(gateway):
    _, _, client = gateway.customer()
    told = client.post("/api/v1/create-checkout", json={"plan_id": "pro-monthly"}).json()
    visitor = gateway.browser()
    for _ in range(MOST_TRIES):
        for _ in range(10):
            page = visitor.get(f"/_tiergate/success?session_id={told['session_id']}")
            assert page.status_code == 200
            assert page.headers["refresh"]
        if client.get(STATEMENT).status_code == 429:
            return
    raise AssertionError("Stripe was asked for each of them")


def test_a_statement_of_years_counts_for_more_than_one_of_a_month(gateway):
    _, _, client = gateway.customer()
    years = {"period": "2026-01-01..2030-12-01"}
    codes = [client.get(STATEMENT, params=years).status_code for _ in range(2)]
    assert codes == [200, 429]
