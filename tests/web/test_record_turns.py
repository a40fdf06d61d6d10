"""How often one customer may have the ledger keep something for good; to end a key is never held up."""

from __future__ import annotations

KEYS = "/api/v1/api-keys"
MOST_TRIES = 300


def test_a_customer_who_issues_keys_without_a_pause_is_held_up_and_still_ends_them(gateway):
    _, user_id, client = gateway.customer()
    _, _, other = gateway.customer()
    for _ in range(MOST_TRIES):
        issued = client.post(KEYS, json={})
        if issued.status_code != 201:
            break
        key_id = issued.json()["key_id"]
        assert client.delete(f"{KEYS}/{key_id}").status_code == 200
    assert (issued.status_code, issued.json()["code"]) == (429, "too-many-changes")
    assert 1 <= int(issued.headers["retry-after"]) <= 60
    theirs = gateway.server.post(KEYS, json={"user_id": user_id})
    assert theirs.status_code == 201
    assert client.delete(f"{KEYS}/{theirs.json()['key_id']}").status_code == 200
    assert other.post(KEYS, json={}).status_code == 201


def test_a_page_of_the_account_is_held_up_as_the_api_is(gateway):
    _, _, client = gateway.customer()
    browser = gateway.browser()
    key, origin = client.headers["authorization"].removeprefix("Bearer "), {"origin": gateway.url}
    browser.post("/_tiergate/sign-in", data={"key": key}, headers=origin)
    own = client.get(KEYS).json()["keys"][0]["key_id"]
    for _ in range(MOST_TRIES):
        held_up = browser.post("/_tiergate/account/spend-cap", data={"amount": "1.00"}, headers=origin)
        if held_up.status_code == 429:
            break
    assert "too-many-changes" in held_up.text
    assert browser.post(f"/_tiergate/account/keys/{own}/rotate", headers=origin).status_code == 429
    assert browser.post(f"/_tiergate/account/keys/{own}/revoke", headers=origin).status_code < 400
