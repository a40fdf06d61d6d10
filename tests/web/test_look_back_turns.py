"""How often one customer may look back at its use; another customer and the seller's server are not held up by it."""

from __future__ import annotations

HISTORY = "/api/v1/usage/history"
MOST_TRIES = 400


def test_a_customer_who_looks_back_without_a_pause_is_held_up(gateway):
    _, user_id, client = gateway.customer()
    _, _, other = gateway.customer()
    browser = gateway.browser()
    key, origin = client.headers["authorization"].removeprefix("Bearer "), {"origin": gateway.url}
    browser.post("/_tiergate/sign-in", data={"key": key}, headers=origin)
    for _ in range(MOST_TRIES):
        looked = client.get(HISTORY)
        if looked.status_code != 200:
            break
    assert (looked.status_code, looked.json()["code"]) == (429, "too-many-looks-back")
    assert 1 <= int(looked.headers["retry-after"]) <= 60
    for _ in range(MOST_TRIES):
        shown = browser.get("/_tiergate/account")
        if shown.status_code == 429:
            break
    assert "too-many-looks-back" in shown.text
    assert other.get(HISTORY).status_code == 200
    assert gateway.server.get(HISTORY, params={"user_id": user_id}).status_code == 200
    client.get("/v1/echo").raise_for_status()
