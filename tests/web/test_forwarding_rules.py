"""What a route says about its calls, through a running gateway: paths, fields, Host, time-outs, body caps."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

import httpx
import pytest

from tests.fakes.raw_caller import RawCaller
from tests.web.policy_files import write_policy

pytestmark = pytest.mark.slow

GROUPS = """\
upstreams:
  default: {servers: "%(url)s"}
  prefixed: {servers: "%(url)s/base"}
  keeps: {servers: "%(url)s", host: preserve}
  names: {servers: "%(url)s", host: internal.test}
  away: {servers: "http://127.0.0.1:%(silent)d"}
"""
ROUTES = """\
routes:
  - {match: /v1/strip/**, rewrite: strip /v1}
  - {match: /v1/all/**, rewrite: strip /v1/all}
  - {match: /v1/prefix/**, rewrite: prefix /api}
  - {match: /v1/both/**, rewrite: strip /v1/both prefix /api, upstream: prefixed}
  - {match: /v1/keeps/**, upstream: keeps}
  - {match: /v1/names/**, upstream: names}
  - match: /v1/edited/**
    request_headers:
      set: {Authorization: {file: token}, X-Source: gateway}
      add: {X-Many: [two, three]}
      remove: [Cookie, X-Gone]
    response_headers:
      set: {Cache-Control: private}
      add: {Link: ["</terms>; rel=terms-of-service"]}
      remove: [Server, X-Powered-By]
  - {match: "GET /v1/slashes/{name}", encoded_slashes: yes}
  - {match: /v1/first-byte/**, timeout: 2s}
  - {match: /v1/idle/**, timeout: {idle: 2s}}
  - {match: /v1/total/**, timeout: {total: 2s}}
  - {match: /v1/connect/**, upstream: away, timeout: {connect: 50ms}}
  - {match: /v1/small/**, max_body: 10B}
  - {match: /v1/big/**, max_body: 3KB}
  - {match: "* /v1/**"}
"""
TIERS = """\
version: 1
default_tier: free
tiers:
  free:
    limits: [1_000 per second, 1_000 requests per billing period]
  pro:
    limits: [1_000 per second, 1_000 requests per billing period]
    upstream: {timeout: 2s, max_body: 2KB}
plans:
  pro-monthly: {tier: pro, price: lookup_key pro_monthly}
"""


@pytest.fixture(scope="module")
def silent():
    """A port that answers no connection, as a host that is not there: its queue is full."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(3):
            filler = stack.enter_context(socket.socket())
            filler.settimeout(0)
            filler.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


@pytest.fixture(scope="module")
def api(stage):
    return stage.add("api")


@pytest.fixture(scope="module")
def ruled(start_shared, tmp_path_factory, api, silent):
    directory = tmp_path_factory.mktemp("policies")
    (directory / "token").write_text("Bearer of-the-seller\n")
    write_policy(directory, GROUPS % {"url": api.url, "silent": silent}, ROUTES, tiers=TIERS)
    return start_shared(TIERGATE_UPSTREAM_URL="", TIERGATE_POLICY_DIR=str(directory), TIERGATE_MAX_BODY_BYTES="1000")


@pytest.fixture(scope="module")
def client(ruled):
    return ruled.customer()[2]


def target(answer):
    assert answer.status_code == 200, answer.text
    return answer.json()["line"].split(" ")[1]


def seen(answer, name):
    assert answer.status_code == 200, answer.text
    return [value for field, value in answer.json()["fields"] if field == name]


def left(client):
    """Requests left of the quota."""
    rows = client.get("/api/v1/usage").raise_for_status().json()["limits"]
    return next(row["limit"] - row["used"] for row in rows if row["name"] == "period")


@pytest.mark.parametrize(
    ("sent", "got"),
    [
        ("/v1/strip/x/", "/strip/x/"),
        ("/v1/strip/x?a=%2fb&&c=?d", "/strip/x?a=%2fb&&c=?d"),
        ("/v1/strip/%C3%A9+%7E", "/strip/%C3%A9+%7E"),
        ("/v1/all/x", "/x"),
        ("/v1/prefix/x?", "/api/v1/prefix/x"),
        ("/v1/both/x?q", "/base/api/x?q"),
    ],
)
def test_a_rewrite_changes_the_beginning_of_the_path_and_no_byte_behind_it(client, sent, got):
    key = client.headers["authorization"]
    with RawCaller(str(client.base_url)) as caller:
        answer = caller.ask(f"GET {sent}", f"Authorization: {key}")
    assert answer.json()["line"] == f"GET {got} HTTP/1.1"


@pytest.mark.parametrize(("route", "host"), [("x", "own"), ("keeps", "api.test:81"), ("names", "internal.test")])
def test_the_upstream_gets_its_own_host_the_callers_or_the_one_policy_names(client, api, route, host):
    answer = client.get(f"/v1/{route}/x", headers={"host": "api.test:81"})
    assert seen(answer, "host") == [f"127.0.0.1:{api.port}" if host == "own" else host]


@pytest.mark.parametrize("host", ["", "Host:\r\n"])
def test_the_upstream_gets_its_own_host_where_the_caller_has_none_to_keep(client, api, host):
    key = client.headers["authorization"]
    with RawCaller(str(client.base_url)) as caller:
        answer = caller.send(f"GET /v1/keeps/x HTTP/1.0\r\n{host}Authorization: {key}\r\n\r\n".encode()).read()
    assert [value for field, value in answer.json()["fields"] if field == "host"] == [f"127.0.0.1:{api.port}"]


def test_request_fields_are_removed_set_and_added_for_the_upstream(client):
    sent = [
        ("cookie", "a=1"),
        ("cookie", "b=2"),
        ("x-many", "one"),
        ("x-gone", "1"),
        ("x-source", "forged"),
        ("x-kept", "1"),
    ]
    answer = client.get("/v1/edited/x", headers=[*sent, ("X-Source", "again")])
    assert seen(answer, "authorization") == ["Bearer of-the-seller"]
    assert seen(answer, "x-source") == ["gateway"]
    assert seen(answer, "x-many") == ["one", "two", "three"]
    assert seen(answer, "cookie") == seen(answer, "x-gone") == []
    assert seen(answer, "x-kept") == ["1"]
    assert client.headers["authorization"].partition(" ")[2] not in answer.text


def test_response_fields_are_edited_and_what_is_not_named_stays(client):
    answer = client.get("/v1/edited/fields")
    assert answer.headers.get_list("cache-control") == ["private"]
    assert answer.headers.get_list("link") == ["</terms>; rel=terms-of-service"]
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert {"server", "x-powered-by"}.isdisjoint(answer.headers)
    assert client.get("/v1/fields").headers.get_list("server") == ["secretive"]


def test_an_encoded_slash_passes_as_part_of_a_segment_on_the_route_that_takes_it_only(client):
    key = client.headers["authorization"]

    def ask(path):
        with RawCaller(str(client.base_url)) as caller:
            return caller.ask(f"GET {path}", f"Authorization: {key}")

    assert ask("/v1/slashes/a%2Fb").json()["line"] == "GET /v1/slashes/a%2Fb HTTP/1.1"
    for path in (
        "/v1/slashes/a%2F..%2Fb",
        "/v1/slashes/a%2Fb/c",
        "/v1/x/a%2Fb",
        "/v1/slashes%2Fa",
        "/v1/slashes/a%5Cb",
    ):
        answer = ask(path)
        assert (answer.status, answer.code) == (400, "ambiguous-target"), path


@pytest.mark.parametrize("path", ["/v1/first-byte/silence", "/v1/total/silence"])
def test_a_call_that_takes_longer_than_its_route_says_is_a_504_that_costs_nothing(client, path):
    before = left(client)
    answer = client.get(path)
    assert (answer.status_code, answer.json()["code"]) == (504, "upstream-timeout")
    assert left(client) == before


@pytest.mark.parametrize("path", ["/v1/idle/part", "/v1/total/stream"])
def test_a_response_that_takes_longer_than_its_route_says_is_cut_and_never_ended(client, path):
    with client.stream("GET", path) as answer, pytest.raises(httpx.RemoteProtocolError):
        answer.read()


@pytest.mark.parametrize("path", ["/v1/first-byte/stream", "/v1/idle/stream"])
def test_a_stream_that_goes_on_outlasts_the_times_for_its_beginning_and_for_silence(client, path):
    with client.stream("GET", path) as answer:
        events = answer.iter_raw()
        outlasts_at = time.monotonic() + 2.5
        while time.monotonic() < outlasts_at:
            assert next(events)


def test_a_server_that_accepts_no_connection_is_given_up_as_soon_as_the_route_says(client):
    before = left(client)
    answer = client.get("/v1/connect/x")
    assert (answer.status_code, answer.json()["code"]) == (502, "upstream-unreachable")
    assert left(client) == before


def test_a_tiers_time_holds_where_the_route_says_nothing(ruled):
    _, _, pro = ruled.subscribed()
    assert pro.get("/v1/silence").status_code == 504


@pytest.mark.parametrize("chunked", [False, True], ids=["announced", "chunked"])
def test_the_largest_body_is_the_routes_else_the_tiers_else_the_settings(ruled, client, chunked):
    _, _, pro = ruled.subscribed()
    for caller, path, most in (
        (client, "/v1/x", 1000),
        (client, "/v1/small/x", 10),
        (client, "/v1/big/x", 3000),
        (pro, "/v1/x", 2000),
        (pro, "/v1/small/x", 10),
        (pro, "/v1/big/x", 3000),
    ):
        body = b"x" * most
        assert len(caller.post(path, content=[body] if chunked else body).json()["body"]) == most
        before = left(caller)
        answer = caller.post(path, content=[body + b"x"] if chunked else body + b"x")
        assert (answer.status_code, answer.json()["code"]) == (413, "body-too-large")
        assert left(caller) == before
