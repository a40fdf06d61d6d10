from __future__ import annotations

import pytest

pytestmark = pytest.mark.slow

ADMIN = "/_tiergate/admin"


def admin_routes(gateway):
    schema = gateway.browser().get("/_tiergate/docs/openapi.json").json()
    return [
        (method.upper(), path.replace("{", "").replace("}", ""))
        for path, item in schema["paths"].items()
        if path.startswith(ADMIN)
        for method in item
    ]


def test_every_admin_route_wants_the_admin_token(gateway):
    _, _, customer = gateway.customer()
    routes = admin_routes(gateway)
    assert len(routes) >= 14
    for method, path in routes:
        assert gateway.browser().request(method, path).status_code == 401, path
        assert customer.request(method, path).status_code == 403, path
        assert gateway.server.request(method, path).status_code == 403, path
        assert gateway.bearer("wrong-token-of-some-length").request(method, path).status_code == 401, path


def test_what_is_created_can_be_found_where_the_answer_says(gateway, new_user):
    created = gateway.admin.post(f"{ADMIN}/customers", json={"user_id": new_user()})
    assert created.status_code == 201
    assert gateway.admin.get(created.headers["location"]).json()["customer"]["user_id"] == created.json()["user_id"]
    issued = gateway.admin.post(f"{created.headers['location']}/keys")
    rotated = gateway.admin.post(f"{issued.headers['location']}/rotate")
    for answer in (issued, rotated):
        assert answer.status_code == 201
        assert gateway.admin.delete(answer.headers["location"]).json()["key_id"] == answer.json()["key_id"]


def test_a_customer_is_created_found_and_listed(gateway, new_user):
    user_id = new_user()
    created = gateway.admin.post(f"{ADMIN}/customers", json={"user_id": user_id})
    assert created.status_code == 201
    customer_id = created.json()["customer_id"]
    found = gateway.admin.get(f"{ADMIN}/customers", params={"user_id": user_id}).json()["customers"]
    assert [one["customer_id"] for one in found] == [customer_id]
    shown = gateway.admin.get(f"{ADMIN}/customers/{customer_id}").json()
    assert (shown["subscription"]["standing"], shown["subscription"]["tier"]) == ("lapsed", "free")
    again = gateway.admin.post(f"{ADMIN}/customers", json={"user_id": user_id})
    assert (again.status_code, again.json()["code"]) == (409, "user-exists")
    assert gateway.admin.post(f"{ADMIN}/customers", json={"user_id": "signup:x"}).status_code == 400
    missing = gateway.admin.get(f"{ADMIN}/customers/nobody")
    assert (missing.status_code, missing.json()["code"]) == (404, "customer-not-found")


def test_customers_come_in_pages(gateway):
    created = {gateway.customer()[0] for _ in range(3)}
    seen, after = set(), ""
    while after is not None:
        page = gateway.admin.get(f"{ADMIN}/customers", params={"limit": 2, "after": after}).json()
        assert len(page["customers"]) <= 2
        seen |= {one["customer_id"] for one in page["customers"]}
        after = page["next_after"]
    assert created <= seen
    assert gateway.admin.get(f"{ADMIN}/customers", params={"limit": 0}).status_code == 400
    assert gateway.admin.get(f"{ADMIN}/customers", params={"limit": 501}).status_code == 400


def test_a_suspension_holds_from_the_next_call_and_can_be_lifted(gateway, second_gateway):
    customer_id, _, client = gateway.customer()
    elsewhere = second_gateway.bearer(client.headers["authorization"].removeprefix("Bearer "))
    assert elsewhere.get("/v1/echo").status_code == 200
    blocked = gateway.admin.post(f"{ADMIN}/customers/{customer_id}/block", json={"because": "abuse"}).json()
    assert (blocked["blocked"], blocked["in_force"]) == (True, True)
    assert elsewhere.get("/v1/echo").json()["code"] == "account-suspended"
    gateway.admin.post(f"{ADMIN}/customers/{customer_id}/unblock").raise_for_status()
    assert elsewhere.get("/v1/echo").status_code == 200
    entries = gateway.admin.get(f"{ADMIN}/audit", params={"customer_id": customer_id}).json()["entries"]
    assert ("admin", "abuse") in [(entry["actor"], entry["because"]) for entry in entries]
    assert gateway.admin.post(f"{ADMIN}/customers/nobody/block").status_code == 404


def test_keys_of_a_customer_are_issued_rotated_and_revoked(gateway):
    customer_id, _, _ = gateway.customer()
    keys = f"{ADMIN}/customers/{customer_id}/keys"
    issued = gateway.admin.post(keys, json={"name": "second", "scopes": ["GET /v1/**"]}).json()
    client = gateway.bearer(issued["key"])
    assert client.get("/v1/echo").status_code == 200
    assert client.post("/v1/echo").json()["code"] == "scope-missing"
    rotated = gateway.admin.post(f"{keys}/{issued['key_id']}/rotate", json={"overlap_s": 0}).json()
    assert (rotated["name"], rotated["scopes"]) == ("second", ["GET /v1/**"])
    assert client.get("/v1/echo").status_code == 401
    assert gateway.admin.delete(f"{keys}/{rotated['key_id']}").status_code == 200
    assert gateway.bearer(rotated["key"]).get("/v1/echo").status_code == 401
    assert len(gateway.admin.get(keys, params={"include_revoked": True}).json()["keys"]) == 3
    assert gateway.admin.get(f"{ADMIN}/customers/nobody/keys").status_code == 404
    assert gateway.admin.post(f"{ADMIN}/customers/nobody/keys").status_code == 404


def test_events_are_listed_shown_and_replayed(gateway, until):
    gateway.subscribed()
    page = gateway.admin.get(f"{ADMIN}/events", params={"limit": 1}).json()
    event_id = page["events"][0]["event_id"]
    assert page["counts"].keys() == {"pending", "claimed", "dead"}
    assert page["next_before"] == page["events"][0]["position"]

    def is_done():
        return gateway.admin.get(f"{ADMIN}/events/{event_id}").json()["event"]["status"] == "done"

    until(is_done)
    replayed = gateway.admin.post(f"{ADMIN}/events/{event_id}/replay").json()
    assert replayed == {"event_id": event_id, "status": "pending"}
    until(is_done)
    missing = gateway.admin.post(f"{ADMIN}/events/evt_nothing/replay")
    assert (missing.status_code, missing.json()["code"]) == (404, "event-not-found")


@pytest.mark.parametrize("path", ["events", "audit"])
@pytest.mark.parametrize("before", ["0", "-1", str(2**63), str(10**30), "x"])
def test_a_page_begins_at_a_position_that_there_can_be(gateway, path, before):
    answer = gateway.admin.get(f"{ADMIN}/{path}", params={"before": before})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")
    assert "before" in answer.text
    assert gateway.admin.get(f"{ADMIN}/{path}", params={"before": 2**63 - 1}).status_code == 200


@pytest.mark.parametrize(
    "query", ["customers?after=%00", "customers?after=a%20b", "audit?customer_id=%00", "events?status=%00"]
)
def test_a_filter_that_can_match_nothing_is_refused(gateway, query):
    answer = gateway.admin.get(f"{ADMIN}/{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")


def test_a_customer_is_synchronised_on_request(gateway, until):
    customer_id, _, _ = gateway.subscribed()

    def result_and_tier():
        told = gateway.admin.post(f"{ADMIN}/customers/{customer_id}/sync").json()
        return told["result"], told["subscription"]["tier"]

    until(lambda: result_and_tier() == ("applied", "pro"))  # `superseded` while events are being worked on
    unbound, _, _ = gateway.customer()
    assert gateway.admin.post(f"{ADMIN}/customers/{unbound}/sync").json()["result"] == "unbound"
    assert gateway.admin.post(f"{ADMIN}/customers/nobody/sync").status_code == 404


@pytest.mark.parametrize("token", ["tg_", "admin", "\xff"])
def test_no_odd_token_is_the_admins(gateway, token):
    headers = {"authorization": f"Bearer {token}".encode("latin-1")}
    assert gateway.browser().get(f"{ADMIN}/customers", headers=headers).status_code in {400, 401, 403}


def test_the_seller_sees_how_far_the_reconciliation_is(gateway, until):
    until(lambda: gateway.admin.get("/_tiergate/admin/reconciliation").json()["started_at"])
    view = gateway.admin.get("/_tiergate/admin/reconciliation").raise_for_status().json()
    assert (view["is_going_on"], view["finished_at"], view["drifted"]) == (False, None, 0)
    gateway.subscribed()
    oldest_at = gateway.admin.get("/_tiergate/admin/reconciliation").json()["oldest_sync_at"]
    assert oldest_at >= view["started_at"] - 3600
