"""Keys that may be used from some addresses only, over HTTP. The test itself is a trusted proxy of the gateway."""

from __future__ import annotations

from tests.web.page_steps import sign_in

KEYS = "/api/v1/api-keys"
OFFICE, HOME = {"x-forwarded-for": "203.0.113.7"}, {"x-forwarded-for": "198.51.100.7"}
OFFICE_NETWORK = "203.0.113.0/24"


def bound(gateway):
    """A customer whose only key is for the office."""
    _, _, client = gateway.customer(name="office", allow_ips=[OFFICE_NETWORK])
    return client


def test_a_key_for_some_addresses_opens_nothing_from_elsewhere(gateway):
    client = bound(gateway)
    key_id = client.get(KEYS, headers=OFFICE).json()["keys"][0]["key_id"]
    for answer in (
        client.get(KEYS, headers=HOME),
        client.post(KEYS, json={}, headers=HOME),
        client.post(f"{KEYS}/{key_id}/rotate", headers=HOME),
        client.delete(f"{KEYS}/{key_id}", headers=HOME),
        client.get("/api/v1/usage", headers=HOME),
        client.get("/api/v1/subscription", headers=HOME),
        client.post("/api/v1/create-checkout", json={"plan_id": "pro-monthly"}, headers=HOME),
    ):
        told = answer.json()
        assert (answer.status_code, told["code"]) == (403, "address-not-allowed")
        assert "198.51.100.7" in told["detail"]
        assert "203.0.113" not in answer.text
        assert told["links"]["keys"].endswith("/_tiergate/account#keys-title")
    assert client.get("/api/v1/usage", headers=OFFICE).status_code == 200


def test_the_word_of_a_caller_about_its_address_is_not_taken(gateway):
    client = bound(gateway)
    spoofed = {"x-forwarded-for": "203.0.113.7, 198.51.100.7"}
    assert client.get(KEYS, headers=spoofed).status_code == 403


def test_a_list_is_shown_and_kept_through_a_rotation(gateway):
    client = bound(gateway)
    [key] = client.get(KEYS, headers=OFFICE).json()["keys"]
    assert key["allow_ips"] == [OFFICE_NETWORK]
    successor = client.post(f"{KEYS}/{key['key_id']}/rotate", headers=OFFICE).json()
    assert successor["allow_ips"] == [OFFICE_NETWORK]
    assert gateway.bearer(successor["key"]).get(KEYS, headers=HOME).status_code == 403


def test_a_key_for_some_addresses_issues_keys_for_no_others(gateway):
    client = bound(gateway)
    assert client.post(KEYS, json={}, headers=OFFICE).json()["allow_ips"] == [OFFICE_NETWORK]
    narrower = client.post(KEYS, json={"allow_ips": ["203.0.113.7/32"]}, headers=OFFICE).json()
    assert narrower["allow_ips"] == ["203.0.113.7"]
    for wider in (["203.0.112.0/23"], ["203.0.113.7", "::/0"]):
        answer = client.post(KEYS, json={"allow_ips": wider}, headers=OFFICE)
        assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed")


def test_a_key_for_some_addresses_gets_no_successor_of_a_key_for_all(gateway):
    customer_id, _, _ = gateway.customer()
    keys = f"/_tiergate/admin/customers/{customer_id}/keys"
    [free] = gateway.admin.get(keys).json()["keys"]
    client = gateway.bearer(gateway.admin.post(keys, json={"allow_ips": [OFFICE_NETWORK]}).json()["key"])
    answer = client.post(f"{KEYS}/{free['key_id']}/rotate", headers=OFFICE)
    assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed")
    assert client.delete(f"{KEYS}/{free['key_id']}", headers=OFFICE).status_code == 200


def test_the_account_page_issues_keys_for_some_addresses_and_shows_them(gateway):
    _, _, client = gateway.customer()
    browser = sign_in(gateway, client.headers["authorization"].removeprefix("Bearer "))
    form = {"name": "office", "allow_ips": "203.0.113.0/24, 2001:db8::/32"}
    assert browser.post("/_tiergate/account/keys", data=form).status_code == 200
    assert "only from 203.0.113.0/24, 2001:db8::/32" in browser.get("/_tiergate/account").text
    assert {tuple(key["allow_ips"]) for key in client.get(KEYS).json()["keys"]} == {
        (),
        ("203.0.113.0/24", "2001:db8::/32"),
    }
    refused = browser.post("/_tiergate/account/keys", data={"name": "x", "allow_ips": "203.0.113.7/24"})
    assert refused.status_code == 400
    assert "203.0.113.0/24" in refused.text


def test_a_browser_elsewhere_is_not_signed_in_with_such_a_key(gateway):
    client = bound(gateway)
    form = {"key": client.headers["authorization"].removeprefix("Bearer ")}
    browser = gateway.browser()
    refused = browser.post("/_tiergate/sign-in", data=form, headers=HOME)
    assert refused.status_code == 403
    assert "198.51.100.7" in refused.text
    assert browser.post("/_tiergate/sign-in", data=form, headers=OFFICE).status_code == 303
    assert browser.get("/_tiergate/account", headers=OFFICE).status_code == 200
    taken_away = browser.get("/_tiergate/account", headers=HOME)
    assert (taken_away.status_code, taken_away.headers["location"]) == (303, "/_tiergate/sign-in")
