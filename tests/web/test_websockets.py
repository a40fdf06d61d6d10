"""WebSockets through the whole gateway: admitted, charged and forwarded like calls, under every server."""

from __future__ import annotations

import time

import pytest

from tests.fakes.websocket_thread import websocket_api
from tests.web.sockets import POLICY, closed, key_of, open_socket, refused, used

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def api():
    with websocket_api() as upstream:
        yield upstream


@pytest.fixture(scope="module")
def policy_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("policies")
    (folder / "policy.yaml").write_text(POLICY)
    return folder


@pytest.fixture(scope="module")
def settings(api, policy_dir):
    return {"TIERGATE_UPSTREAM_URL": f"http://127.0.0.1:{api.port}", "TIERGATE_POLICY_DIR": str(policy_dir)}


@pytest.fixture(
    scope="module", params=["ours", *(pytest.param(name, marks=pytest.mark.slow) for name in ("uvicorn", "granian"))]
)
def gateway(request, start_gateway_once, settings):
    return start_gateway_once(server=request.param, **settings)


@pytest.fixture
def customer(gateway):
    _, _, client = gateway.customer()
    return client


@pytest.fixture
def key(customer):
    return key_of(customer)


# Admitted and forwarded.


def test_messages_pass_both_ways_and_the_handshake_costs_one_call(gateway, customer, key):
    messages = ["héllo", b"\x00\xff", "", "x" * 60_000]
    with open_socket(gateway.url, "/chat", key) as socket:
        for message in messages:
            socket.send(message)
            assert socket.recv(timeout=10) == message
    assert used(customer) == 1


def test_the_upstream_learns_who_calls_and_never_the_key(gateway, api, key):
    fields = {"X-Tiergate-Customer": "mallory", "X-Forwarded-Proto": "gopher", "Origin": "https://a.example"}
    with open_socket(gateway.url, "/v2/chat?x=%41", key, fields={**fields, "X-Drop": "1"}) as socket:
        answered = socket.response.headers
    request = api.requests[-1]
    assert request.path == "/chat?x=%41"
    headers = request.headers
    assert key not in str(headers)
    assert headers.get_all("X-Tiergate-Customer") != ["mallory"]
    assert headers["X-Tiergate-Tier"] == "free"
    assert headers["X-Forwarded-For"].split(", ")[-1] == "127.0.0.1"
    assert (headers["Origin"], headers["X-Set"]) == ("https://a.example", "by-policy")
    assert "X-Drop" not in headers
    assert len(headers["traceparent"]) == 55
    if "tiergate-decision" in answered:  # Granian adds no fields to the answer that opens a WebSocket
        assert headers["X-Tiergate-Decision"] == answered["Tiergate-Decision"]
        assert answered["X-Answered"] == "by-policy"
        assert '"period";r=99;' in answered["RateLimit"]


def test_a_key_may_come_as_a_bearer_token(gateway, key):
    with open_socket(gateway.url, "/chat", fields={"Authorization": f"Bearer {key}"}) as socket:
        socket.send("hello")
        assert socket.recv(timeout=10) == "hello"


@pytest.mark.parametrize(
    ("offers", "forwarded", "chosen"),
    [
        pytest.param(("tiergate.key.<key>",), None, None, id="alone"),
        pytest.param(("tiergate", "tiergate.key.<key>"), None, "tiergate", id="with-our-name"),
        pytest.param(("tiergate.key.<key>", "other", "chat", "tiergate"), "other, chat", "chat", id="with-others"),
    ],
)
def test_a_key_may_come_as_a_subprotocol_that_nobody_else_sees(gateway, api, key, offers, forwarded, chosen):
    offers = tuple(offer.replace("<key>", key) for offer in offers)
    with open_socket(gateway.url, "/chat", offers=offers) as socket:
        socket.send("hello")
        assert socket.recv(timeout=10) == "hello"
        assert socket.subprotocol == chosen
        assert key not in str(socket.response.headers)
    assert api.requests[-1].headers.get("Sec-WebSocket-Protocol") == forwarded
    assert key not in str(api.requests[-1].headers)
    assert key not in gateway.log.read_text()


def test_the_upstreams_close_reaches_the_caller(gateway, key):
    with open_socket(gateway.url, "/chat", key) as socket:
        socket.send("goodbye")
        assert closed(socket) == (4123, "as you wish é")


def test_a_decision_is_kept_and_says_how_long_it_lasted(gateway, customer, key, until):
    with open_socket(gateway.url, "/chat", key) as socket:
        decision_id = socket.response.headers.get("Tiergate-Decision")
        socket.send("hello")
        socket.recv(timeout=10)
    if decision_id is None:
        return  # Granian adds no fields to the answer that opens a WebSocket

    def told():
        return customer.get(f"/_tiergate/why/{decision_id}").json()

    until(lambda: told().get("status") == 101)
    assert (told()["method"], told()["path"], told()["verdict"]) == ("GET", "/chat", "admitted")


# Refused.


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/none", (501, "upgrade-not-supported")),
        ("/_tiergate/health", (501, "upgrade-not-supported")),
        ("/api/v1/plans", (501, "upgrade-not-supported")),
        ("/%5Ftiergate/health", (400, "ambiguous-target")),
        ("/a/../b", (400, "ambiguous-target")),
    ],
)
def test_what_has_no_websocket_is_told_so_and_costs_nothing(gateway, api, customer, key, path, expected):
    before = len(api.requests)
    status, problem, _ = refused(gateway.url, path, key)
    assert (status, problem["code"]) == expected
    assert (used(customer), len(api.requests)) == (0, before)


def test_without_a_key_there_is_none(gateway, api):
    before = len(api.requests)
    status, problem, fields = refused(gateway.url, "/chat")
    assert (status, problem["code"]) == (401, "invalid-api-key")
    assert problem["decision_id"] == fields["Tiergate-Decision"]
    assert fields["WWW-Authenticate"] == 'Bearer realm="api"'
    assert len(api.requests) == before


def test_two_different_keys_are_refused(gateway, customer, key):
    status, problem, _ = refused(gateway.url, "/chat", key, offers=("tiergate.key.tg_test_another",))
    assert (status, problem["code"]) == (400, "malformed-request")
    assert used(customer) == 0


def test_a_page_of_a_site_that_policy_does_not_name_is_refused(gateway, customer, key):
    for origin in ({"Origin": "https://app.example"}, {"Origin": gateway.url}, {}):
        with open_socket(gateway.url, "/pages", key, fields=origin):
            pass
    for origin in ("https://evil.example", "null", "https://app.example.evil.example"):
        status, problem, _ = refused(gateway.url, "/pages", key, fields={"Origin": origin})
        assert (status, problem["code"]) == (403, "origin-not-allowed")
    with open_socket(gateway.url, "/chat", key, fields={"Origin": "https://evil.example"}):
        pass
    assert used(customer) == 4


def test_what_the_upstream_answers_instead_is_passed_on_and_billed(gateway, customer, key):
    status, _, fields = refused(gateway.url, "/refuse", key)
    assert (status, fields["X-Reason"]) == (403, "none")
    assert "Tiergate-Decision" in fields
    assert used(customer) == 1


# Charged.


def test_each_message_is_charged_before_it_is_forwarded(gateway, api, customer, key, until):
    with open_socket(gateway.url, "/counted", key) as socket:
        for number in range(5):
            socket.send(str(number))
            assert socket.recv(timeout=10) == str(number)
        socket.send("one too many")
        assert closed(socket) == (1008, "quota-exceeded")
    assert (used(customer), used(customer, "messages")) == (1, 5)
    until(lambda: api.connections[-1].close_code == 1001)


def test_a_message_faster_than_a_rate_waits(gateway, key):
    began_at = time.monotonic()
    with open_socket(gateway.url, "/paced", key) as socket:
        for number in range(4):
            socket.send(str(number))
        assert [socket.recv(timeout=10) for _ in range(4)] == ["0", "1", "2", "3"]
    assert time.monotonic() - began_at > 0.9


def test_a_revoked_key_ends_a_websocket_with_the_next_message(gateway, customer, key):
    [told] = customer.get("/api/v1/api-keys").json()["keys"]
    with open_socket(gateway.url, "/counted", key) as socket:
        socket.send("hello")
        assert socket.recv(timeout=10) == "hello"
        assert customer.delete(f"/api/v1/api-keys/{told['key_id']}").is_success
        socket.send("hello again")
        assert closed(socket) == (1008, "invalid-api-key")


# Bounded.


def test_a_message_over_the_policys_bound_ends_it(gateway, key):
    with open_socket(gateway.url, "/chat", key) as socket:
        socket.send("x" * 65_537)
        assert closed(socket)[0] == 1009


@pytest.mark.parametrize("path", ["/short", "/brief"])
def test_the_times_of_policy_hold(gateway, key, path):
    with open_socket(gateway.url, path, key) as socket:
        assert closed(socket)[0] == 1001


def test_open_websockets_and_messages_are_counted(gateway, key, until):
    def metric(name: str) -> float:
        text = gateway.admin.get("/_tiergate/metrics").text
        return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))

    until(lambda: metric("tiergate_websockets_open") == 0)
    before = metric("tiergate_websocket_messages_total{")
    with open_socket(gateway.url, "/chat", key) as socket:
        socket.send("hello")
        socket.recv(timeout=10)
        assert metric("tiergate_websockets_open") == 1
    until(lambda: metric("tiergate_websockets_open") == 0)
    assert metric("tiergate_websocket_messages_total{") == before + 2
