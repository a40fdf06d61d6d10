from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.core.account import LAST_INSTANT
from tests.web.page_steps import sign_in

KEYS = "/api/v1/api-keys"


def client_of(gateway, key):
    return gateway.bearer(key)


def test_a_new_key_can_be_ended_where_the_answer_says(gateway):
    _, _, client = gateway.customer()
    issued = client.post("/api/v1/api-keys", json={})
    rotated = client.post(f"{issued.headers['location']}/rotate")
    for answer in (issued, rotated):
        assert answer.status_code == 201
        assert client.delete(answer.headers["location"]).json()["key_id"] == answer.json()["key_id"]


def test_a_key_is_shown_once_and_works_at_once(gateway, second_gateway):
    _, _, client = gateway.customer()
    issued = client.post(KEYS, json={"name": "laptop"})
    assert issued.status_code == 201
    told = issued.json()
    assert told["key"].endswith(told["last4"])
    for worker in (gateway, second_gateway):
        assert client_of(worker, told["key"]).get("/v1/echo").status_code == 200
    listed = client.get(KEYS)
    assert {key["name"] for key in listed.json()["keys"]} == {"default", "laptop"}
    assert told["key"] not in listed.text


def test_a_revoked_key_is_refused_by_the_next_request_of_every_worker(gateway, second_gateway):
    _, _, client = gateway.customer()
    told = client.post(KEYS, json={}).json()
    clients = [client_of(worker, told["key"]) for worker in (gateway, second_gateway)]
    assert [one.get("/v1/echo").status_code for one in clients] == [200, 200]
    answer = client.delete(f"{KEYS}/{told['key_id']}")
    assert answer.json() == {"key_id": told["key_id"], "revoked": True, "in_force": True}
    assert [one.get("/v1/echo").status_code for one in clients] == [401, 401]
    assert [one.get(KEYS).status_code for one in clients] == [401, 401]
    again = client.delete(f"{KEYS}/{told['key_id']}")
    assert (again.status_code, again.json()["code"]) == (404, "key-not-found")


def test_a_key_can_be_revoked_by_query_too(gateway):
    _, _, client = gateway.customer()
    told = client.post(KEYS, json={}).json()
    assert client.delete(KEYS, params={"key_id": told["key_id"]}).json()["revoked"]
    assert client.delete(KEYS).status_code == 400


def test_rotation_keeps_the_old_key_for_the_overlap(gateway):
    _, _, client = gateway.customer(name="server", scopes=[])
    key_id = client.get(KEYS).json()["keys"][0]["key_id"]
    successor = client.post(f"{KEYS}/{key_id}/rotate").json()
    assert successor["name"] == "server"
    assert client_of(gateway, successor["key"]).get("/v1/echo").status_code == 200
    assert client.get("/v1/echo").status_code == 200
    old = next(key for key in client.get(KEYS).json()["keys"] if key["key_id"] == key_id)
    assert time.time() + 86_000 < old["expires_at"] < time.time() + 87_000


def test_a_key_is_rotated_once_and_then_its_successor_is(gateway):
    _, _, client = gateway.customer()
    key_id = client.get(KEYS).json()["keys"][0]["key_id"]
    successor = client.post(f"{KEYS}/{key_id}/rotate").json()
    again = client.post(f"{KEYS}/{key_id}/rotate")
    assert (again.status_code, again.json()["code"]) == (409, "key-replaced")
    assert successor["key_id"] in again.json()["detail"]
    listed = {key["key_id"]: (key["replaced_by"], key["expires_at"]) for key in client.get(KEYS).json()["keys"]}
    assert listed[key_id][0] == successor["key_id"]
    assert listed[successor["key_id"]] == (None, None)
    elsewhere = client_of(gateway, successor["key"])
    assert elsewhere.post(f"{KEYS}/{successor['key_id']}/rotate").json()["expires_at"] is None


def test_a_successor_ends_when_the_key_was_to_end_and_not_with_the_overlap(gateway):
    ends_at = int(time.time()) + 5 * 86_400
    _, _, client = gateway.customer(expires_at=ends_at)
    key_id = client.get(KEYS).json()["keys"][0]["key_id"]
    assert client.post(f"{KEYS}/{key_id}/rotate").json()["expires_at"] == ends_at


def test_a_double_click_on_two_workers_rotates_once(gateway, second_gateway):
    _, _, client = gateway.customer()
    key_id = client.get(KEYS).json()["keys"][0]["key_id"]
    elsewhere = client_of(second_gateway, client.headers["authorization"].removeprefix("Bearer "))
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda one: one.post(f"{KEYS}/{key_id}/rotate"), [client, elsewhere] * 2))
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
    assert len(client.get(KEYS).json()["keys"]) == 2


def test_rotation_without_overlap_ends_the_old_key_now(gateway):
    _, _, client = gateway.customer()
    key_id = client.get(KEYS).json()["keys"][0]["key_id"]
    successor = client.post(f"{KEYS}/{key_id}/rotate", json={"overlap_s": 0}).json()
    assert client.get("/v1/echo").status_code == 401
    assert client_of(gateway, successor["key"]).get("/v1/echo").status_code == 200


@pytest.mark.parametrize("overlap_s", [-1, 30 * 86_400 + 1, "soon", None])
def test_an_overlap_has_bounds(gateway, overlap_s):
    _, _, client = gateway.customer()
    key_id = client.get(KEYS).json()["keys"][0]["key_id"]
    answer = client.post(f"{KEYS}/{key_id}/rotate", json={"overlap_s": overlap_s})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")


@pytest.mark.parametrize(
    "body",
    [
        {"name": ""},
        {"name": "x" * 81},
        {"scopes": ["nonsense"]},
        {"scopes": ["GET /v1/**"] * 21},
        {"scopes": ["GET /v1/" + "x" * 200]},
        {"scopes": ["GET\n/v1/**"]},
        {"limits": ["5 per" + " " * 200 + "day"]},
        {"limits": ["5 per\nday"]},
        {"limits": ["5 per month"]},
        {"limits": ["lots"]},
        {"limits": ["5 per day"] * 11},
        {"allow_ips": ["localhost"]},
        {"allow_ips": ["203.0.113.7/24"]},
        {"allow_ips": ["203.0.113.7, 203.0.113.8"]},
        {"allow_ips": [f"203.0.113.{last}" for last in range(21)]},
        {"allow_ips": "203.0.113.7"},
        {"expires_at": 1},
        {"expires_at": -1},
        {"expires_at": LAST_INSTANT + 1},
        {"expires_at": 2**53},
        {"expires_at": 2**63},
        {"expires_at": 10**30},
        {"expires_at": "tomorrow"},
        {"owner": "me"},
    ],
    ids=lambda body: str(body)[:60],
)
def test_a_key_that_cannot_be_is_refused(gateway, body):
    _, _, client = gateway.customer()
    answer = client.post(KEYS, json=body)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")


def test_a_key_may_last_to_the_end_of_the_year_9999(gateway):
    _, _, client = gateway.customer(expires_at=LAST_INSTANT)
    key = client.headers["authorization"].removeprefix("Bearer ")
    assert client.get("/v1/echo").status_code == 200
    assert "31 December 9999" in sign_in(gateway, key).get("/_tiergate/account").text


def test_a_restricted_key_manages_no_keys(gateway):
    for restriction in ({"scopes": ["GET /v1/**"]}, {"limits": ["5 per day"]}):
        _, _, client = gateway.customer(**restriction)
        assert client.get(KEYS).status_code == 200
        key_id = client.get(KEYS).json()["keys"][0]["key_id"]
        for answer in (
            client.post(KEYS, json={}),
            client.delete(f"{KEYS}/{key_id}"),
            client.post(f"{KEYS}/{key_id}/rotate"),
        ):
            assert (answer.status_code, answer.json()["code"]) == (403, "scope-missing")


def test_nobody_touches_anothers_keys(gateway):
    _, user_id, client = gateway.customer()
    _, _, stranger = gateway.customer()
    key_id = client.get(KEYS).json()["keys"][0]["key_id"]
    assert stranger.get(KEYS, params={"user_id": user_id}).status_code == 403
    assert stranger.delete(f"{KEYS}/{key_id}").status_code == 404
    assert stranger.post(f"{KEYS}/{key_id}/rotate").status_code == 404
    assert gateway.browser().get(KEYS).status_code == 401
    assert client.get("/v1/echo").status_code == 200


def test_the_sellers_server_manages_the_keys_of_its_users(gateway):
    _, user_id, client = gateway.customer()
    told = gateway.server.post(KEYS, json={"user_id": user_id, "name": "theirs"}).json()
    assert client_of(gateway, told["key"]).get("/v1/echo").status_code == 200
    named = {"user_id": user_id}
    assert len(gateway.server.get(KEYS, params=named).json()["keys"]) == 2
    assert gateway.server.delete(f"{KEYS}/{told['key_id']}", params=named).status_code == 200
    assert len(client.get(KEYS).json()["keys"]) == 1
    assert len(client.get(KEYS, params={"include_revoked": True}).json()["keys"]) == 2
    assert gateway.server.get(KEYS).status_code == 400


def listed_in_pages(client, path, **params):
    """Key ids of all pages of two."""
    found, after = [], {}
    while after is not None:
        page = client.get(path, params={**params, "limit": 2, **after}).raise_for_status().json()
        assert page.keys() == {"customer_id", "keys", "next_after"}
        assert len(page["keys"]) <= 2
        found += [key["key_id"] for key in page["keys"]]
        after = None if page["next_after"] is None else {"after": page["next_after"]}
    return found


def test_a_long_list_of_keys_comes_in_pages_for_the_customer_and_the_seller(gateway):
    customer_id, user_id, client = gateway.customer()
    first = client.get(KEYS).json()["keys"][0]["key_id"]
    made = [first, *(client.post(KEYS, json={}).json()["key_id"] for _ in range(4))]
    for key_id in made[3:]:
        client.delete(f"{KEYS}/{key_id}").raise_for_status()
    own_path, admin_path = KEYS, f"/_tiergate/admin/customers/{customer_id}/keys"
    for include, wanted in ((True, made), (False, made[:3])):
        for found in (
            listed_in_pages(client, own_path, include_revoked=include),
            listed_in_pages(gateway.server, own_path, include_revoked=include, user_id=user_id),
            listed_in_pages(gateway.admin, admin_path, include_revoked=include),
        ):
            assert sorted(found) == sorted(wanted)
    whole = client.get(KEYS, params={"include_revoked": True}).json()
    assert (len(whole["keys"]), whole["next_after"]) == (5, None)


@pytest.mark.parametrize(
    "wrong", [{"limit": 0}, {"limit": 501}, {"limit": "x"}, {"after": "x"}, {"after": "1-"}, {"after": "9" * 99 + "-a"}]
)
def test_a_page_of_keys_that_there_cannot_be_is_refused(gateway, wrong):
    customer_id, _, client = gateway.customer()
    for answer in (
        client.get(KEYS, params=wrong),
        gateway.admin.get(f"/_tiergate/admin/customers/{customer_id}/keys", params=wrong),
    ):
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid-request")


def test_a_key_that_ends_issues_none_that_outlives_it(gateway):
    ends_at = int(time.time()) + 5 * 86_400
    _, _, client = gateway.customer(expires_at=ends_at)
    assert client.post(KEYS, json={}).json()["expires_at"] == ends_at
    assert client.post(KEYS, json={"expires_at": ends_at - 1}).json()["expires_at"] == ends_at - 1
    answer = client.post(KEYS, json={"expires_at": ends_at + 1})
    assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed")


def test_a_key_in_its_overlap_gets_no_successor_that_outlives_it_by_way_of_another(gateway):
    _, _, client = gateway.customer()
    key_id = client.get(KEYS).json()["keys"][0]["key_id"]
    successor = client.post(f"{KEYS}/{key_id}/rotate").json()
    answer = client.post(f"{KEYS}/{successor['key_id']}/rotate")
    assert (answer.status_code, answer.json()["code"]) == (403, "not-allowed")
    assert [key["replaced_by"] for key in client.get(KEYS).json()["keys"]].count(None) == 1


def test_the_seller_issues_keys_without_regard_to_those_there_are(gateway):
    customer_id, _, _ = gateway.customer(expires_at=int(time.time()) + 86_400, allow_ips=["198.51.100.1"])
    told = gateway.admin.post(f"/_tiergate/admin/customers/{customer_id}/keys", json={}).json()
    assert (told["expires_at"], told["allow_ips"]) == (None, [])
