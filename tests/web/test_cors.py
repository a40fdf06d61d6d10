"""Browsers of other origins, through a running gateway, told as a browser tells it."""

from __future__ import annotations

import httpx
import pytest
from click.testing import CliRunner

from gateway.cli.main import cli
from tests.web.policy_files import write_policy

pytestmark = pytest.mark.slow

PAGE = "https://app.example.com"
RULES = """\
cors:
  origins: [https://app.example.com]
  credentials: yes
routes:
  - {match: /v1/off/**, cors: off}
  - match: GET /v1/open/**
    cors: {origins: '*', methods: [GET], headers: '*', max_age: 1h}
  - {match: POST /v1/open/**, cors: off}
  - {match: /v1/slow/**, timeout: 100ms}
  - {match: GET /v1/slashes/**, encoded_slashes: yes}
  - {match: "* /v1/**"}
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return write_policy(tmp_path_factory.mktemp("policies"), RULES)


@pytest.fixture(scope="module")
def api(stage):
    return stage.add("api")


@pytest.fixture(scope="module")
def crossing(start_shared, directory, api):
    return start_shared(TIERGATE_UPSTREAM_URL=api.url, TIERGATE_POLICY_DIR=str(directory))


@pytest.fixture
def preflight(crossing):
    def ask(path, method="GET", origin=PAGE, **more):
        asked = {"origin": origin, "access-control-request-method": method} | more
        return crossing.browser().options(path, headers={name.replace("_", "-"): text for name, text in asked.items()})

    return ask


def crossing_fields(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


def test_a_preflight_is_answered_without_a_key_a_charge_or_the_upstream(crossing, preflight, api):
    before = len(api.requests)
    answer = preflight("/v1/x", "POST", access_control_request_headers="x-api-key,content-type")
    assert (answer.status_code, answer.content) == (204, b"")
    assert crossing_fields(answer) == {
        "access-control-allow-origin": PAGE,
        "access-control-allow-credentials": "true",
        "access-control-allow-methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
        "access-control-allow-headers": "authorization, content-type, x-api-key",
        "access-control-max-age": "600",
    }
    assert "origin" in answer.headers["vary"]
    assert "date" in answer.headers
    assert {"content-length", "transfer-encoding", "content-type"}.isdisjoint(answer.headers)
    assert len(api.requests) == before
    assert crossing.metric("tiergate_decisions_total", route="-", tier="-", verdict="preflight") >= 1


@pytest.mark.parametrize("origin", ["https://evil.example", "http://app.example.com", PAGE + ".evil.example", "null"])
def test_a_page_of_another_origin_is_allowed_nothing(crossing, preflight, origin):
    answer = preflight("/v1/x", origin=origin)
    assert answer.status_code == 204
    assert crossing_fields(answer) == {}
    _, _, client = crossing.customer()
    called = client.get("/v1/x", headers={"origin": origin})
    assert called.status_code == 200
    assert crossing_fields(called) == {}
    assert "origin" in called.headers["vary"]


def test_a_response_and_every_refusal_can_be_read_by_the_page(crossing):
    _, _, client = crossing.customer(limits=["1 requests per day"])
    answers = [
        client.get("/v1/slow/silence", headers={"origin": PAGE}),
        client.get("/v1/x", headers={"origin": PAGE}),
        crossing.browser().get("/v1/x", headers={"origin": PAGE}),
        client.get("/nowhere", headers={"origin": PAGE}),
        client.get("/v1/x%2Fy", headers={"origin": PAGE}),
        client.get("/v1/x", headers={"origin": PAGE}),
        client.get("/v1/x?" + "q" * 8192, headers={"origin": PAGE}),
    ]
    assert [answer.status_code for answer in answers] == [504, 200, 401, 404, 400, 429, 414]
    for answer in answers:
        assert answer.headers.get_list("access-control-allow-origin") == [PAGE], answer.status_code
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert "ratelimit" in answer.headers["access-control-expose-headers"]
        assert "origin" in answer.headers["vary"]


def test_what_the_upstream_says_about_other_origins_gives_way_to_policy(crossing):
    _, _, client = crossing.customer()
    answer = client.get("/v1/fields", headers={"origin": PAGE})
    assert answer.headers.get_list("access-control-allow-origin") == [PAGE]
    assert {"Accept", "origin"} <= set(answer.headers.get_list("vary", split_commas=True))


def test_where_policy_is_silent_the_upstreams_own_word_passes(crossing):
    _, _, client = crossing.customer()
    answer = client.get("/v1/off/fields", headers={"origin": PAGE})
    assert answer.headers.get_list("access-control-allow-origin") == ["*"]
    assert "access-control-expose-headers" not in answer.headers


def test_a_route_may_be_open_to_any_page_or_closed_by_method(crossing, preflight):
    answer = preflight("/v1/open/x", origin="https://any.example", access_control_request_headers="x-a, x-b")
    assert crossing_fields(answer) == {
        "access-control-allow-origin": "*",
        "access-control-allow-methods": "GET",
        "access-control-allow-headers": "x-a, x-b",
        "access-control-max-age": "3600",
    }
    assert preflight("/v1/open/x", "POST").status_code == 401
    _, _, client = crossing.customer()
    assert crossing_fields(client.get("/v1/open/x", headers={"origin": PAGE}))["access-control-allow-origin"] == "*"
    assert crossing_fields(client.post("/v1/open/x", headers={"origin": PAGE})) == {}


def test_a_preflight_where_cors_is_off_is_a_call_like_any_other(preflight, api):
    before = len(api.requests)
    answer = preflight("/v1/off/x")
    assert (answer.status_code, answer.json()["code"]) == (401, "invalid-api-key")
    assert crossing_fields(answer) == {}
    assert len(api.requests) == before


@pytest.mark.parametrize("headers", [{}, {"origin": PAGE}, {"access-control-request-method": "GET"}], ids=str)
def test_an_options_request_that_is_no_preflight_needs_a_key_and_reaches_the_upstream(crossing, headers):
    assert crossing.browser().options("/v1/x", headers=headers).status_code == 401
    _, _, client = crossing.customer()
    answer = client.options("/v1/x", headers=headers)
    assert answer.json()["line"] == "OPTIONS /v1/x HTTP/1.1"


def test_our_own_routes_are_not_opened_by_the_policys_cors(preflight):
    for path in ("/api/v1/usage", "/_tiergate/health"):
        assert crossing_fields(preflight(path)) == {}


@pytest.mark.parametrize(
    ("method", "path", "says"),
    [
        ("GET", "/v1/x", f"{PAGE}, with credentials"),
        ("GET", "/v1/open/x", "any origin"),
        ("POST", "/v1/open/x", "none"),
        ("GET", "/v1/off/x", "none"),
    ],
)
def test_the_explanation_says_what_a_page_is_told(directory, preflight, method, path, says):
    told = CliRunner().invoke(cli, ["policy", "explain", method, path, "--dir", str(directory)])
    [line] = [line for line in told.output.splitlines() if line.startswith("cors ")]
    assert line.split(None, 1)[1].startswith(says)
    assert (preflight(path, method).status_code == 204) is (says != "none")
