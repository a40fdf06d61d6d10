"""What a gateway says of the calls it decided: metrics, exact at every scrape, and the record of each decision."""

from __future__ import annotations

import re

import pytest

from tests.fakes.raw_caller import RawCaller, request
from tests.web.policy_files import write_policy

pytestmark = pytest.mark.slow

TIERS = """\
version: 1
default_tier: free
tiers:
  free:
    limits: [1_000 per second, 10 requests per billing period]
  pro:
    features: [exports]
    limits: [1_000 per second, 1_000 requests per billing period]
plans:
  pro-monthly: {tier: pro, price: lookup_key pro_monthly}
"""
ROUTES = """\
routes:
  - {match: /v1/costly/**, cost: 4}
  - {match: /v1/exports/**, requires: exports}
  - {match: "* /v1/**"}
"""
SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")


@pytest.fixture(scope="module")
def counting(start_shared, tmp_path_factory, stage):
    directory = write_policy(tmp_path_factory.mktemp("policies"), ROUTES, tiers=TIERS)
    return start_shared(
        TIERGATE_UPSTREAM_URL=stage.add("api").url, TIERGATE_POLICY_DIR=str(directory), TIERGATE_DECISION_LOG="all"
    )


@pytest.fixture
def scrape(counting):
    """Every sample by its name and labels."""

    def look() -> dict[tuple[str, str], float]:
        text = counting.admin.get("/_tiergate/metrics").raise_for_status().text
        found = [SAMPLE.fullmatch(line) for line in text.splitlines() if not line.startswith("#")]
        return {(match[1], match[2] or ""): float(match[3]) for match in found if match}

    return look


def grown(before, after, name):
    """By labels: what was added."""
    changes = {labels: value - before.get((each, labels), 0) for (each, labels), value in after.items() if each == name}
    return {labels: change for labels, change in changes.items() if change}


def label(route, tier, verdict):
    return f'route="{route}",tier="{tier}",verdict="{verdict}"'


def test_every_decision_and_response_is_counted_once_at_the_next_scrape(counting, scrape):
    _, _, client = counting.customer()
    before = scrape()
    for _ in range(3):
        assert client.get("/v1/x").status_code == 200
    assert client.get("/v1/failure").status_code == 500
    assert client.get("/v1/costly/x").status_code == 200
    assert client.get("/v1/costly/x").status_code == 429
    assert client.get("/v1/exports/x").status_code == 403
    assert client.get("/nowhere").status_code == 404
    assert counting.browser().get("/v1/x").status_code == 401
    with RawCaller(counting.url) as caller:
        assert caller.ask("GET /v1//x").status == 400
        assert caller.send(request("BREW /v1/x")).read().status == 501
    after = scrape()
    assert grown(before, after, "tiergate_decisions_total") == {
        label("* /v1/**", "free", "admitted"): 4,
        label("* /v1/costly/**", "free", "admitted"): 1,
        label("* /v1/costly/**", "free", "quota-exceeded"): 1,
        label("* /v1/exports/**", "-", "feature-not-in-tier"): 1,
        label("-", "-", "route-not-found"): 1,
        label("-", "-", "invalid-api-key"): 1,
        label("-", "-", "ambiguous-target"): 1,
        label("-", "-", "method-not-supported"): 1,
    }
    assert grown(before, after, "tiergate_responses_total") == {'status="2xx"': 4, 'status="4xx"': 4, 'status="5xx"': 1}
    assert grown(before, after, "tiergate_refunds_total") == {'result="given-back"': 1}
    assert grown(before, scrape(), "tiergate_decisions_total") == grown(before, after, "tiergate_decisions_total")


def test_durations_are_counted_where_they_belong(counting, scrape):
    _, _, client = counting.customer()
    before = scrape()
    for _ in range(5):
        client.get("/v1/x")
    client.get("/nowhere")
    after = scrape()
    for name, count in (("tiergate_decision_seconds", 6), ("tiergate_upstream_seconds", 5)):
        assert grown(before, after, f"{name}_count") == {"": count}
        assert 0 < grown(before, after, f"{name}_sum")[""] < 60
        bounds = {labels: value for (each, labels), value in after.items() if each == f"{name}_bucket"}
        assert sorted(bounds.values()) == list(bounds.values())
        assert grown(before, after, f"{name}_bucket")['le="+Inf"'] == count


def why(counting, decision_id):
    return counting.admin.get(f"/_tiergate/why/{decision_id}").raise_for_status().json()


def test_an_admitted_call_leaves_a_record_with_its_limits_and_how_it_ended(counting, until):
    customer_id, user_id, client = counting.customer()
    decision_id = client.get("/v1/costly/x?secret=1").headers["tiergate-decision"]
    until(lambda: why(counting, decision_id).get("duration_ms"))
    told = why(counting, decision_id)
    assert (told["verdict"], told["method"], told["path"], told["status"]) == ("admitted", "GET", "/v1/costly/x", 200)
    assert (told["customer_id"], told["user_id"], told["tier"], told["route"]) == (
        customer_id,
        user_id,
        "free",
        "* /v1/costly/**",
    )
    second, period = told["limits"]
    assert (second["name"], second["quota"], second["cost"], second["remaining"]) == ("second", 1000, 4, 996)
    assert (period["name"], period["quota"], period["cost"], period["remaining"]) == ("period", 10, 4, 6)
    assert period["allowed"]
    assert 0 < told["decision_ms"] <= told["duration_ms"]
    assert not told.get("refunded")


def test_a_refused_call_leaves_a_record_of_the_limit_that_refused_it(counting):
    _, _, client = counting.customer()
    for _ in range(2):
        client.get("/v1/costly/x")
    refused = client.get("/v1/costly/x")
    told = why(counting, refused.json()["decision_id"])
    assert (told["verdict"], told["status"], told["detail"]) == ("quota-exceeded", 429, refused.json()["detail"])
    second, period = told["limits"]
    assert second["allowed"]
    assert (period["allowed"], period["remaining"], period["cost"]) == (False, 2, 4)
    assert period["reset_s"] > 0


def test_a_call_that_was_given_back_says_so(counting, until):
    _, _, client = counting.customer()
    decision_id = client.get("/v1/failure").headers["tiergate-decision"]
    until(lambda: why(counting, decision_id).get("refunded"))
    assert why(counting, decision_id)["status"] == 500


def test_the_log_says_the_same_of_each_decision_once(counting, until):
    _, _, client = counting.customer()
    ids = [client.get(path).headers["tiergate-decision"] for path in ("/v1/x", "/v1/exports/x", "/nowhere")]
    until(lambda: counting.log.read_text().count(ids[-1]))
    lines = [line for line in counting.log.read_text().splitlines() if '"event": "decision"' in line]
    assert [sum(decision_id in line for line in lines) for decision_id in ids] == [1, 1, 1]
    assert client.headers["authorization"].partition(" ")[2] not in counting.log.read_text()
