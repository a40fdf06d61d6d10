from __future__ import annotations

import contextlib
import sqlite3

import httpx
import pytest

from gateway.ledger import migrate


def test_health_answers_get_and_head(gateway):
    answer = gateway.browser().get("/_tiergate/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")
    head = gateway.browser().head("/_tiergate/health")
    assert (head.status_code, head.content) == (200, b"")


def test_ready_names_every_part_it_needs(gateway):
    answer = gateway.admin.get("/_tiergate/ready")
    assert answer.status_code == 200
    assert {check["name"]: check["ok"] for check in answer.json()["checks"]} == {
        "cache": True,
        "ledger": True,
        "migrations": True,
        "policy": True,
    }


def test_ready_tells_details_to_the_admin_token_only(gateway):
    stranger = httpx.get(f"{gateway.url}/_tiergate/ready", timeout=60).json()["checks"]
    assert all(check.keys() == {"name", "ok"} for check in stranger)
    assert all(check["detail"] for check in gateway.admin.get("/_tiergate/ready").json()["checks"])


@pytest.mark.slow
def test_without_a_cache_the_process_is_alive_and_not_ready(start_gateway):
    lonely = start_gateway(is_ready=False, TIERGATE_REDIS_URL="unix:///nowhere/cache.sock")
    answer = lonely.admin.get("/_tiergate/ready")
    assert (answer.status_code, answer.json()["status"]) == (503, "not-ready")
    assert "retry-after" in answer.headers
    cache = next(check for check in answer.json()["checks"] if check["name"] == "cache")
    assert not cache["ok"]
    assert "TIERGATE_REDIS_URL" in cache["fix"]


@pytest.mark.slow
def test_a_ledger_that_went_away_is_told_and_takes_no_instance_out(start_gateway, tmp_path, until):
    """Calls of customers that the cache knows are served, so a load balancer must go on sending them."""
    file = tmp_path / "ledger.sqlite3"
    gateway = start_gateway(TIERGATE_LEDGER_URL=f"sqlite:///{file}")
    _, _, client = gateway.customer()
    assert client.get("/v1/echo").status_code == 200
    file.rename(tmp_path / "away")
    answer = gateway.admin.get("/_tiergate/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    missing = [check for check in answer.json()["checks"] if not check["ok"]]
    assert [(check["name"], check["fix"]) for check in missing] == [("migrations", "Run `tiergate migrate`.")]
    assert client.get("/v1/echo").status_code == 200
    (tmp_path / "away").rename(file)
    until(lambda: gateway.admin.get("/_tiergate/ready").json()["status"] == "ready")


def test_metrics_are_for_the_admin_token_wherever_the_caller_is(gateway):
    """A proxy on this machine that adds no forwarding field looks like a caller on this machine."""
    told = gateway.admin.get("/_tiergate/metrics")
    assert (told.status_code, told.headers["content-type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert httpx.get(f"{gateway.url}/_tiergate/metrics", timeout=60).status_code == 401
    assert gateway.server.get("/_tiergate/metrics").status_code == 403


def test_metrics_show_dependencies_and_never_a_customer(gateway):
    customer_id, user_id, client = gateway.customer()
    assert client.get("/v1/echo").status_code == 200
    told = gateway.admin.get("/_tiergate/metrics").text
    assert 'tiergate_dependency_up{dependency="cache"} 1.0' in told
    assert 'tiergate_dependency_up{dependency="ledger"} 1.0' in told
    assert 'tiergate_dependency_up{dependency="stripe"} 1.0' in told
    assert "tiergate_inbox_events" in told
    assert customer_id not in told
    assert user_id not in told


def test_a_decision_is_explained_to_the_seller_and_to_its_customer(gateway):
    customer_id, user_id, client = gateway.customer()
    refused = client.post("/v1/render/x")
    decision_id = refused.headers["tiergate-decision"]
    for asker in (client, gateway.admin):
        told = asker.get(f"/_tiergate/why/{decision_id}").json()
        assert (told["verdict"], told["customer_id"], told["user_id"]) == (
            "feature-not-in-tier",
            customer_id,
            user_id,
        )
        assert told["advice"]


def test_another_worker_explains_the_decision_too(gateway, second_gateway, until):
    _, _, client = gateway.customer()
    decision_id = client.get("/v1/echo").headers["tiergate-decision"]
    gateway.admin.get(f"/_tiergate/why/{decision_id}").raise_for_status()

    until(lambda: second_gateway.admin.get(f"/_tiergate/why/{decision_id}").status_code == 200)


def test_a_decision_about_somebody_else_is_not_there(gateway):
    _, _, client = gateway.customer()
    _, _, stranger = gateway.customer()
    decision_id = client.get("/v1/echo").headers["tiergate-decision"]
    answers = [
        stranger.get(f"/_tiergate/why/{decision_id}"),
        stranger.get("/_tiergate/why/dec_0000000000"),
        gateway.admin.get("/_tiergate/why/nonsense"),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(404, "decision-not-found")] * 3
    assert gateway.browser().get(f"/_tiergate/why/{decision_id}").status_code == 401
    assert gateway.server.get(f"/_tiergate/why/{decision_id}").status_code == 403


@pytest.mark.parametrize("path", ["/_tiergate/errors", "/_tiergate/errors/quota-exceeded"])
def test_problem_codes_are_explained_as_json_and_as_a_page(gateway, path):
    assert gateway.browser().get(path).headers["content-type"].startswith("application/json")
    page = gateway.browser().get(path, headers={"accept": "text/html,*/*"})
    assert page.headers["content-type"].startswith("text/html")
    assert "The quota is used up" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]


def test_the_type_of_a_problem_leads_to_its_explanation(gateway):
    problem = gateway.browser().get("/_tiergate/nothing-here").json()
    assert gateway.browser().get(problem["type"]).json()["code"] == problem["code"] == "not-found"
    assert gateway.browser().get("/_tiergate/errors/no-such-code").status_code == 404


def test_a_wrong_method_is_told_which_are_right(gateway):
    answer = gateway.browser().delete("/_tiergate/errors")
    assert (answer.status_code, answer.json()["code"]) == (405, "method-not-allowed")
    assert "GET" in answer.headers["allow"]


def test_answers_of_ours_are_not_stored(gateway):
    for path in ("/_tiergate/health", "/_tiergate/nothing-here", "/api/v1/plans"):
        assert gateway.browser().get(path).headers["cache-control"] == "no-store"


def test_the_documentation_is_where_it_is_said_to_be(gateway):
    schema = gateway.browser().get("/_tiergate/docs").json()
    assert schema["info"]["title"] == "Tiergate"
    assert "/api/v1/create-checkout" in schema["paths"]
    assert gateway.browser().get("/schema").status_code == 401  # metered: it belongs to the proxied API


def test_metrics_tell_how_far_access_is_in_step_with_stripe(gateway):
    text = gateway.admin.get("/_tiergate/metrics").raise_for_status().text
    for name in (
        "tiergate_sync_oldest_seconds",
        "tiergate_reconciliation_finished_timestamp_seconds",
        "tiergate_reconciliation_held_since_timestamp_seconds",
        "tiergate_reconciliation_drift_total",
        "tiergate_undelivered_events_total",
    ):
        assert f"\n{name} " in text, name


@pytest.mark.slow
def test_with_the_key_of_another_account_calls_are_served_and_nothing_is_sold_and_everybody_is_told(
    start_gateway, tmp_path, until
):
    """Where the ledger says that it is of another account: the sandbox has one only."""
    file = tmp_path / "ledger.sqlite3"
    migrate(f"sqlite:///{file}")
    with contextlib.closing(sqlite3.connect(file)) as ledger, ledger:
        ledger.execute("INSERT INTO installation VALUES ('stripe-account', 'acct_elsewhere', 0)")
    wrong = start_gateway(TIERGATE_LEDGER_URL=f"sqlite:///{file}")
    _, user_id, client = wrong.customer()
    refused = wrong.server.post("/api/v1/create-checkout", json={"plan_id": "pro-monthly", "user_id": user_id})
    assert (refused.status_code, refused.json()["code"]) == (503, "billing-unavailable")
    assert "acct_" not in refused.text
    assert client.get("/v1/echo").status_code == 200
    until(lambda: wrong.metric("tiergate_stripe_account_wrong") == 1, patience_s=60)
    answer = wrong.admin.get("/_tiergate/ready")
    told = next(check for check in answer.json()["checks"] if check["name"] == "stripe account")
    assert (answer.status_code, answer.json()["status"], told["ok"]) == (200, "degraded", False)
    assert "acct_elsewhere" in told["detail"]
    assert "tiergate ledger accept stripe" in told["fix"]
