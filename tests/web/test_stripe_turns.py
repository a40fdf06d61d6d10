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
