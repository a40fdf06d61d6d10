"""What callers and operators see while the cache cannot decide, and after."""

from __future__ import annotations

import json

import pytest

from tests.caches import line_to
from tests.web.policy_files import TIERS, write_policy

pytestmark = pytest.mark.slow

ROUTES = """\
routes:
  - {match: POST /v1/render/priced, cost: request json n at most 5}
  - {match: GET /v1/stream, group: paced}
  - match: "* /v1/**"
"""
LOCAL = 3


@pytest.fixture(scope="module")
def line(stage, world):
    """The way to the cache."""
    made = line_to(world["TIERGATE_REDIS_URL"])
    stage.do(made.open())
    yield made
    stage.do(made.close())


@pytest.fixture(scope="module")
def cut_off(start_shared, tmp_path_factory, line):
    tiers = TIERS.replace("  pro:\n", f"  pro:\n    when_cache_fails: local {LOCAL}\n")
    tiers = tiers.replace("[1_000 per second,", "[1_000 per second, 1 per minute burst 2 on paced,")
    tiers = tiers.replace("  enterprise:\n", "  enterprise:\n    when_cache_fails: allow\n")
    return start_shared(
        TIERGATE_POLICY_DIR=str(write_policy(tmp_path_factory.mktemp("policies"), ROUTES, tiers=tiers)),
        TIERGATE_REDIS_URL=line.url,
        TIERGATE_DECISION_LOG="all",
    )


@pytest.fixture
def outage(stage, line, until, cut_off):
    """Ends by itself when the test has; `until` the gateway has noticed."""

    def begin():
        stage.do(line.close())

    yield begin
    if not line.is_open:
        stage.do(line.open())
    until(lambda: cut_off.browser().get("/_tiergate/ready").json()["status"] == "ready")


def used(client):
    rows = client.get("/api/v1/usage").raise_for_status().json()["limits"]
    return next(row["used"] for row in rows if row["name"] == "period")


def decision(gateway, answer):
    return gateway.admin.get(f"/_tiergate/why/{answer.headers['tiergate-decision']}").raise_for_status().json()


def test_who_pays_goes_on_for_its_allowance_and_is_told_and_it_is_counted_and_seen(cut_off, outage, stage, line, until):
    _, _, client = cut_off.subscribed("pro-monthly")
    assert "ratelimit" in client.get("/v1/echo").headers
    before = cut_off.metric("tiergate_outage_admitted_total", mode="local")
    outage()
    answers = [client.get("/v1/echo") for _ in range(LOCAL + 2)]
    assert [answer.status_code for answer in answers] == [200] * LOCAL + [503] * 2
    assert "when_cache_fails: local" in answers[0].headers["tiergate-warning"]
    assert "ratelimit" not in answers[0].headers
    problem = answers[-1].json()
    assert (problem["code"], answers[-1].headers["retry-after"]) == ("temporary-reduced-capacity", "2")
    assert "is used up" in problem["detail"]
    assert cut_off.metric("tiergate_outage_admitted_total", mode="local") == before + LOCAL
    assert {decision(cut_off, answer)["outage"] for answer in answers} == {"local"}
    logged = [json.loads(text) for text in cut_off.log.read_text().splitlines() if '"outage": "local"' in text]
    assert [one["verdict"] for one in logged] == ["admitted"] * LOCAL + ["temporary-reduced-capacity"] * 2
    stage.do(line.open())
    until(lambda: cut_off.browser().get("/_tiergate/ready").json()["status"] == "ready")
    until(lambda: used(client) == 1 + LOCAL)
    assert "tiergate-warning" not in client.get("/v1/echo").headers


def test_a_worker_that_goes_on_without_a_cache_stays_in_the_load_balancer_and_says_what_is_wrong(cut_off, outage):
    _, _, client = cut_off.customer()
    client.get("/v1/echo").raise_for_status()
    outage()
    answer = cut_off.admin.get("/_tiergate/ready")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
    cache = next(check for check in answer.json()["checks"] if check["name"] == "cache")
    assert not cache["ok"]
    assert (
        cache["detail"] == "Nobody listens there. Known customers of pro, enterprise go on meanwhile, as policy says."
    )
    assert "TIERGATE_REDIS_URL" in cache["fix"]


def test_who_does_not_pay_waits(cut_off, outage):
    _, _, client = cut_off.customer()
    client.get("/v1/echo").raise_for_status()
    outage()
    answer = client.get("/v1/echo")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert "this tier waits" in answer.json()["detail"]
    assert decision(cut_off, answer)["outage"] == "deny"


def test_with_allow_nothing_is_counted(cut_off, outage, stage, line, until):
    _, _, client = cut_off.subscribed("enterprise-monthly")
    client.get("/v1/echo").raise_for_status()
    outage()
    answers = [client.get("/v1/echo") for _ in range(20)]
    assert {answer.status_code for answer in answers} == {200}
    assert "when_cache_fails: allow" in answers[0].headers["tiergate-warning"]
    stage.do(line.open())
    until(lambda: cut_off.browser().get("/_tiergate/ready").json()["status"] == "ready")
    assert used(client) == 1


def test_a_failed_call_is_owed_nothing(cut_off, outage, stage, line, until):
    _, _, client = cut_off.subscribed("pro-monthly")
    client.get("/v1/echo").raise_for_status()
    outage()
    assert client.get("/v1/error?status=500").status_code == 500
    answer = client.get("/v1/echo")
    assert answer.status_code == 200
    stage.do(line.open())
    until(lambda: cut_off.browser().get("/_tiergate/ready").json()["status"] == "ready")
    until(lambda: used(client) == 2)


@pytest.mark.parametrize("plan_id", ["pro-monthly", "enterprise-monthly"], ids=["local", "allow"])
def test_whoever_is_faster_than_a_pace_waits_in_an_outage_too(cut_off, outage, plan_id):
    _, _, client = cut_off.subscribed(plan_id)
    client.get("/v1/echo").raise_for_status()
    outage()
    answers = [client.get("/v1/stream?n=1") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 429]
    problem = answers[-1].json()
    assert (problem["code"], problem["violated-policies"]) == ("rate-limited", ["paced-minute"])
    assert 30 <= int(answers[-1].headers["retry-after"]) <= 60
    assert decision(cut_off, answers[-1])["outage"] in {"local", "allow"}
    assert client.get("/v1/echo").status_code == 200, "what was refused took nothing of what may be used meanwhile"


def test_a_call_that_says_its_price_in_its_body_is_let_in_and_counted_at_that_price(
    cut_off, outage, stage, line, until
):
    _, _, client = cut_off.subscribed("pro-monthly")
    client.get("/v1/echo").raise_for_status()
    _, _, stranger = cut_off.customer()
    outage()
    assert client.post("/v1/render/priced", json={"n": 2}).status_code == 200
    assert client.post("/v1/render/priced", json={"n": 9}).json()["code"] == "cost-unreadable"
    refused = client.post("/v1/render/priced", json={"n": 2})
    assert (refused.status_code, refused.json()["code"]) == (503, "temporary-reduced-capacity"), "2 of 3 are used"
    unknown = stranger.post("/v1/render/priced", json={"n": 1})
    assert (unknown.status_code, unknown.json()["code"]) == (503, "temporary-reduced-capacity")
    stage.do(line.open())
    until(lambda: cut_off.browser().get("/_tiergate/ready").json()["status"] == "ready")
    until(lambda: used(client) == 1 + 2)


def test_usage_is_told_as_it_was_last_kept_and_says_so(cut_off, outage, stage, line, until):
    _, user_id, client = cut_off.subscribed("pro-monthly")
    for _ in range(5):
        client.get("/v1/echo").raise_for_status()
    assert client.get("/api/v1/usage").json()["notice"] is None
    until(lambda: sum(one["units"] for one in client.get("/api/v1/usage/history").json()["lines"]) == 5)
    outage()
    client.get("/v1/echo").raise_for_status()
    for answer in (client.get("/api/v1/usage"), cut_off.server.get("/api/v1/usage", params={"user_id": user_id})):
        told = answer.raise_for_status().json()
        row = next(row for row in told["limits"] if row["name"] == "period")
        assert (told["source"], told["tier"]) == ("ledger", "pro")
        assert "calls since then are counted later" in told["notice"]
        assert (row["used"], row["remaining"]) in {(n, 1_000 - n) for n in range(6)}, "what was settled"
        assert row["exhausts_at"] is None or row["exhausts_at"] > told["as_of"], "a forecast of what is known"
    stage.do(line.open())
    until(lambda: cut_off.browser().get("/_tiergate/ready").json()["status"] == "ready")
    until(lambda: used(client) == 6)
    assert client.get("/api/v1/usage").json()["notice"] is None
